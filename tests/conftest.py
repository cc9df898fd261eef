"""Fixtures and rules for all tests."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

_SHARED = "NAPARI_CELLSAM_SHARED"
_REQUIRE_SHARED = "NAPARI_CELLSAM_REQUIRE_SHARED"


def _find_shared() -> Path | None:
    """Return the folder of shared test material: the environment's, or ``shared`` beside the checkout."""
    told = os.environ.get(_SHARED)
    folder = Path(told) if told else Path(__file__).resolve().parents[2] / "shared"
    return folder if folder.is_dir() else None


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _has_screen() -> bool:
    """Whether a window can open: pytest-xvfb starts a screen of its own where Xvfb is installed."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or shutil.which("Xvfb"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of shared test material, for tests marked ``shared``."""
    folder = _find_shared()
    assert folder is not None, "a test that uses shared_dir needs the marker 'shared'"
    return folder


@pytest.fixture(scope="session")
def tiny_config():
    """Size of a compact model that computes at once: fields of 128 pixels, windows of 16 x 16 mask pixels."""
    from napari_cellsam.models.network.cellfinder import CellFinderConfig
    from napari_cellsam.models.network.compact import CompactConfig

    finder = CellFinderConfig(
        n_in=32, width=32, n_heads=4, n_hidden=32, n_encoder=1, n_decoder=2, n_anchors=0, n_classes=1, dropout=0.0
    )
    # oneDNN writes past its memory in the backward pass of 1x1 convolutions with stride 2 of fewer than 16 channels
    size = {"n_tokens": 4, "n_hidden": 32, "field": 128, "diameter": 30.0}
    return CompactConfig((16, 16, 16, 16), (1, 1, 1, 1), 32, 16, finder, **size)


@pytest.fixture
def tiny_compact(tiny_config):
    """A compact model of that size with random weights."""
    import torch

    from napari_cellsam.models.network.compact import CompactCellSam

    torch.manual_seed(0)
    return CompactCellSam(tiny_config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why."""
    reasons = {}
    if any(_marked(item, "gpu") for item in items) and not _has_gpu():
        reasons["gpu"] = "needs a GPU"
    if _find_shared() is None:
        reasons["shared"] = f"needs the shared test material: set {_SHARED}, or put it beside the checkout"
    for item in items:
        for marker, reason in reasons.items():
            if _marked(item, marker):
                item.add_marker(pytest.mark.skip(reason=reason))
        if "make_napari_viewer_proxy" in getattr(item, "fixturenames", ()) and not _has_screen():
            item.add_marker(pytest.mark.skip(reason="needs a screen: install Xvfb, or set DISPLAY"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test marked ``shared`` into a failure where the material is required, as it is in CI."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _is_required(item):
        report.outcome = "failed"
        report.longrepr = f"{_REQUIRE_SHARED} is set, but this test was skipped: {report.longrepr}"
    return report


def _is_required(item: pytest.Item) -> bool:
    """Whether the item must not be skipped; a GPU cannot be asked for."""
    required = os.environ.get(_REQUIRE_SHARED, "") not in ("", "0")
    return required and _marked(item, "shared") and not _marked(item, "gpu")


def _marked(item: pytest.Item, marker: str) -> bool:
    return item.get_closest_marker(marker) is not None
