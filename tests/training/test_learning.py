"""The objective teaches: a tiny model learns to find discs and to outline them."""

import numpy as np
import pytest
import torch

from napari_cellsam.engine import Model
from napari_cellsam.models.compact_backend import CompactBackend
from napari_cellsam.models.network.compact import CompactCellSam
from napari_cellsam.training.objective import losses
from napari_cellsam.types import Prompt, SegmentOptions


def scene(rng, side=96):
    """Return a picture (3, side, side) in 0-1 and labels of a few bright discs on a dim, noisy ground."""
    y, x = np.indices((side, side))
    labels = np.zeros((side, side), np.int32)
    while labels.max() < 5:
        cy, cx, radius = rng.uniform(8, side - 8), rng.uniform(8, side - 8), rng.uniform(7, 11)
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        if not labels[disc].any():
            labels[disc] = labels.max() + 1
    picture = np.zeros((3, side, side), np.float32)
    picture[2] = np.clip(0.2 + 0.6 * (labels > 0) + rng.normal(0, 0.05, labels.shape), 0, 1)
    return picture, labels


@pytest.mark.slow
def test_a_tiny_model_learns_to_find_discs(tiny_config):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = CompactCellSam(tiny_config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 20, (250 - step) / 100)
        pictures, labels = (
            torch.from_numpy(np.stack(part)) for part in zip(*(scene(rng) for _ in range(4)), strict=True)
        )
        optimizer.zero_grad()
        sum(losses(model, pictures, labels).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 8.0)
        optimizer.step()
    engine = Model(CompactBackend(model, torch.device("cpu"), torch.float32), "discs")
    options = SegmentOptions(diameter="native", clahe=False, box_score=0.4)
    n_right = n_found = 0
    ious = []
    for _ in range(6):
        picture, labels = scene(rng)
        found = engine.segment(picture[2], options)
        n_found += found.n_cells
        for number in range(1, 6):
            true = labels == number
            n_right += any(iou(true, found.labels == i) > 0.6 for i in range(1, found.n_cells + 1))
            centre = np.argwhere(true).mean(0)
            mask = engine.segment_prompts(picture[2], [Prompt(inside=[centre])], options)[0]
            ious.append(iou(true, mask.full(true.shape)))
    assert n_right >= 27 and n_found <= 33  # of 30
    assert np.median(ious) > 0.85


def iou(one, other):
    return (one & other).sum() / max((one | other).sum(), 1)
