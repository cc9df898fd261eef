"""The objective is finite, reaches every parameter that learns, and wants one query per cell."""

import pytest
import torch

from napari_cellsam.training.objective import _best_queries, losses
from napari_cellsam.training.train import _set_mode


def batch(with_cells=True):
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 64, 64)
    labels = torch.zeros(2, 64, 64, dtype=torch.int32)
    if with_cells:
        labels[0, 5:25, 5:25], labels[0, 30:60, 30:50], labels[1, 20:40, 20:45] = 1, 2, 1
        labels[1, 0, 0:5] = 2  # a sliver
    return pictures, labels


def gradients(model):
    return {name: p.grad is not None and bool((p.grad != 0).any()) for name, p in model.named_parameters()}


@pytest.mark.parametrize("corrected", [False, True])
def test_the_first_stage_reaches_every_parameter(tiny_compact, corrected):
    _set_mode(tiny_compact, masks_only=False)
    pictures, labels = batch()
    for _ in range(20):  # clicks, boxes and answers differ from draw to draw
        parts = losses(tiny_compact, pictures, labels, corrected=corrected)
        sum(parts.values()).backward()
        with torch.no_grad():  # the last layers begin at zero and hide those before them
            for parameter in tiny_compact.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.01)
    assert set(parts) == {"centre", "extent", "inside", "score", "box", "mask", "quality"}
    assert all(part.ndim == 0 and bool(part.isfinite()) for part in parts.values())
    blind = [name for name, reached in gradients(tiny_compact).items() if not reached]
    # Previous masks are seen in corrections only.
    assert all("mask_downscaling" in name for name in blind) and bool(blind) is not corrected, blind


def test_the_second_stage_reaches_neck_and_masks_only(tiny_compact):
    _set_mode(tiny_compact, masks_only=True)
    pictures, labels = batch()
    for _ in range(8):
        parts = losses(tiny_compact, pictures, labels, masks_only=True)
        sum(parts.values()).backward()
        with torch.no_grad():  # the last layers begin at zero and hide those before them
            for parameter in tiny_compact.masks.retouch.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.01)
    assert set(parts) == {"mask", "quality"}
    for name, reached in gradients(tiny_compact).items():
        assert reached == name.startswith(("neck.", "masks.")), name


@pytest.mark.parametrize("masks_only", [False, True])
def test_pictures_without_cells_are_no_trouble(tiny_compact, masks_only):
    parts = losses(tiny_compact, *batch(with_cells=False), masks_only=masks_only)
    assert all(bool(part.isfinite()) for part in parts.values())
    assert "mask" not in parts and ("score" in parts) is not masks_only


def test_the_query_that_answers_best_is_wanted_for_each_cell():
    under = torch.tensor([[1, 1, 0, 2], [3, 3, 3, -1]])
    logits = torch.tensor([[0.0, 2.0, 9.0, -5.0], [0.0, 0.0, 0.0, 9.0]])
    overlap = torch.tensor([0.5, 0.5, 0.1, 0.2, 0.9, 0.3])  # of the six queries in cells, in order
    wanted = _best_queries(logits, overlap, under, 4)
    assert wanted.tolist() == [[0, 1, 0, 1], [0, 1, 0, 0]]


def test_of_equal_queries_one_is_wanted():
    under = torch.full((1, 5), 1)
    assert _best_queries(torch.zeros(1, 5), torch.zeros(5), under, 1).sum() == 1


def test_without_cells_no_query_is_wanted():
    under = torch.tensor([[0, -1]])
    assert not _best_queries(torch.zeros(1, 2), torch.zeros(0), under, 0).any()
