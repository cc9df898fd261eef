"""What the weights in the package can do, on pictures that we draw ourselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_cellsam as ncs
from napari_cellsam.data.samples import draw_sample
from napari_cellsam.data.synthetic import synthesize
from napari_cellsam.metrics import match_labels
from napari_cellsam.training.validation import click_centres


@pytest.fixture(scope="module")
def compact() -> ncs.Model:
    return ncs.load_model("compact", device="cpu")


@pytest.mark.parametrize("name", ["fluorescent_nuclei", "fluorescent_cells", "phase_yeast", "phase_rods"])
def test_it_finds_the_cells_of_a_sample(compact: ncs.Model, name: str) -> None:
    result = compact.segment(ncs.load_sample(name))
    assert match_labels(draw_sample(name).labels, result.labels).counts.f1 > 0.75


def test_one_click_outlines_most_cells(compact: ncs.Model) -> None:
    labels = draw_sample("fluorescent_nuclei").labels
    numbers, centres = click_centres(labels)
    masks = compact.segment_prompts(
        ncs.load_sample("fluorescent_nuclei"), [ncs.Prompt(inside=[centre]) for centre in centres]
    )
    ious = []
    for number, mask in zip(numbers, masks, strict=True):
        answer, true = mask.full(labels.shape), labels == number
        ious.append((answer & true).sum() / (answer | true).sum())
    assert np.median(ious) > 0.75


@pytest.mark.parametrize("archetype", ["fluorescent_nuclei", "phase_yeast"])
def test_tiles_give_the_same_cells_as_the_whole(
    compact: ncs.Model, archetype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = synthesize(archetype, (512, 512), np.random.default_rng(11), diameter=28.0).pixels[..., :1]
    options = ncs.SegmentOptions(diameter=30.0)
    whole = compact.segment(pixels, options).labels
    compact.forget()
    monkeypatch.setattr(compact.backend, "side", 320)
    tiled = compact.segment(pixels, options).labels
    compact.forget()
    assert whole.max() > 20
    assert match_labels(whole, tiled, 0.8).counts.f1 >= 0.98


def test_an_empty_picture_has_no_cells(compact: ncs.Model) -> None:
    result = compact.segment(np.zeros((96, 130), np.uint8))
    assert result.n_cells == 0
    assert result.labels.shape == (96, 130)
    assert not result.labels.any()


def test_half_precision_agrees_with_full(compact: ncs.Model) -> None:
    full = ncs.load_model("compact", device="cpu", precision="fp32")
    half = ncs.load_model("compact", device="cpu", precision="bf16")
    image, options = ncs.load_sample("fluorescent_nuclei"), ncs.SegmentOptions(diameter=30.0)
    assert half.backend.dtype == torch.bfloat16  # type: ignore[attr-defined]
    a, b = (model.segment(image, options).labels for model in (full, half))
    assert match_labels(a, b, 0.8).counts.f1 > 0.93


@pytest.mark.gpu
def test_a_gpu_gives_the_same_cells() -> None:
    device = "cuda" if torch.cuda.is_available() else "mps"
    image, options = ncs.load_sample("fluorescent_nuclei"), ncs.SegmentOptions(diameter=30.0)
    a, b = (
        ncs.load_model("compact", device=where, precision="fp32").segment(image, options).labels
        for where in ("cpu", device)
    )
    assert match_labels(a, b, 0.8).counts.f1 > 0.97
