"""The command train, on synthetic pictures, for a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_cellsam.cli import main


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_training_leaves_weights_that_segment_can_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from napari_cellsam.models.weights import inspect_checkpoint

    shape = [
        "--minutes",
        "0.05",
        "--side",
        "64",
        "--batch",
        "2",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--precision",
        "fp32",
    ]
    assert _run("--out", str(tmp_path), *shape) == 0
    assert "compact.safetensors" in capsys.readouterr().out
    info = inspect_checkpoint(tmp_path / "compact.safetensors")
    assert (info.architecture, info.can_detect) == ("compact", True)


def test_a_side_that_is_no_multiple_of_32_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--out", str(tmp_path), "--side", "100") == 1
    assert "multiple of 32" in capsys.readouterr().err


def test_an_emphasis_without_a_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--out", str(tmp_path), "--emphasis", "phase") == 1
    assert "WORD=FACTOR" in capsys.readouterr().err
