"""What is unknown costs nothing: no part of any loss, and no gradient, comes from it."""

import pytest
import torch

from napari_cellsam.models.network.losses import dice_loss
from napari_cellsam.training import objective
from napari_cellsam.training.crops import mosaic
from napari_cellsam.training.objective import losses
from napari_cellsam.training.targets import cells_of, dense_targets

EDGE = 32  # what is right of it is unknown


def batch():
    torch.manual_seed(0)
    labels = torch.zeros(1, 64, 64, dtype=torch.int32)
    labels[0, 6:26, 4:24] = 1
    labels[0, 34:60, 6:26] = 2
    labels[0, :, EDGE:] = -1
    return torch.rand(1, 3, 64, 64), labels


def remember(monkeypatch, owner, name):
    """Keep every tensor that a method of the model returns, with its gradient."""
    kept = []
    original = getattr(owner, name)

    def call(*args, **options):
        result = original(*args, **options)
        kept.append((args, result))
        for tensor in [t for t in result if isinstance(t, torch.Tensor)] + getattr(result, "logits", []):
            if tensor.requires_grad:
                tensor.retain_grad()
        return result

    monkeypatch.setattr(owner, name, call)
    return kept


def test_dense_maps_get_no_gradient_where_nothing_is_known(tiny_compact, monkeypatch):
    kept = remember(monkeypatch, tiny_compact, "propose")
    parts = losses(tiny_compact, *batch())
    (parts["centre"] + parts["extent"] + parts["inside"]).backward()
    [(_, maps)] = kept
    for tensor in maps:
        assert tensor.grad[..., : EDGE // 4].any(), "what is known teaches"
        assert not tensor.grad[..., EDGE // 4 :].any()


def test_queries_get_no_gradient_where_nothing_is_known(tiny_compact, monkeypatch):
    kept = remember(monkeypatch, tiny_compact, "find")
    parts = losses(tiny_compact, *batch())
    (parts["score"] + parts["box"]).backward()
    [(_, found)] = kept
    beyond = found.points[..., 0].round() >= EDGE
    assert beyond.any() and not beyond.all()
    for logits in found.logits:
        assert not logits.grad[beyond].any() and logits.grad[~beyond].any()


def test_masks_get_no_gradient_where_nothing_is_known(tiny_compact, monkeypatch):
    kept = []
    forward = tiny_compact.masks.forward

    def call(*args):
        logits, predicted = forward(*args)
        logits.retain_grad()
        kept.append((args[-1], logits))
        return logits, predicted

    monkeypatch.setattr(tiny_compact.masks, "forward", call)
    for _ in range(4):  # windows differ from draw to draw
        parts = losses(tiny_compact, *batch())
        parts["mask"].backward()
    n_beyond = 0
    for prompts, logits in kept:
        (x0, y0, x1, y1), n = prompts.windows.T[..., None], logits.shape[-1]
        left, right = x0 + torch.arange(n) / n * (x1 - x0), x0 + (torch.arange(n) + 1) / n * (x1 - x0)
        top, bottom = y0 + torch.arange(n) / n * (y1 - y0), y0 + (torch.arange(n) + 1) / n * (y1 - y0)
        across, down = (left.floor() >= EDGE) & (right <= 63), (top >= 0) & (bottom <= 63)
        beyond = down[:, :, None] & across[:, None]
        n_beyond += int(beyond.sum())
        assert not logits.grad[beyond].any() and logits.grad.any()
    assert n_beyond > 0, "some windows must reach into the unknown"


def test_the_guess_of_the_maps_in_the_unknown_does_not_change_the_losses():
    """Every tensor that enters a loss is multiplied by what is known."""
    target = torch.zeros(1, 8, 8)
    known = torch.ones(1, 8, 8)
    known[..., 4:] = 0
    one, other = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    other[..., 4:] = 9.0
    assert dice_loss(one, target, known).equal(dice_loss(other, target, known))
    assert not dice_loss(one, target).equal(dice_loss(other, target))
    assert objective._iou(one, target, known).equal(objective._iou(other, target, known))


def test_a_picture_of_which_nothing_is_known_teaches_nothing(tiny_compact):
    pictures, labels = batch()
    parts = losses(tiny_compact, pictures, torch.full_like(labels, -1))
    sum(parts.values()).backward()
    assert all(float(part.detach()) == 0 for part in parts.values())
    assert not any(p.grad.any() for p in tiny_compact.parameters() if p.grad is not None)


def test_unknown_pixels_are_no_cell_and_no_background():
    _, labels = batch()
    cells = cells_of(labels)
    assert (cells.index[..., EDGE:] == -1).all() and len(cells.areas) == 2
    target = dense_targets(cells)
    assert target.known[..., : EDGE // 4].all() and not target.known[..., EDGE // 4 :].any()


def test_the_end_of_what_is_known_is_no_border():
    labels = torch.ones(1, 32, 32, dtype=torch.int32)
    labels[..., 16:] = -1
    assert not dense_targets(cells_of(labels)).inside[:, 1].any()


@pytest.mark.parametrize("value", [-1, -7])
def test_a_mosaic_keeps_the_unknown_unknown(value):
    labels = torch.zeros(4, 32, 32, dtype=torch.int32)
    labels[:, :8], labels[:, 20:] = 3, value
    _, laid = mosaic(torch.zeros(4, 3, 32, 32), labels, 2, 2)
    assert laid.shape == (1, 64, 64) and int((laid < 0).sum()) == int((labels < 0).sum())
    assert len(laid[laid > 0].unique()) == 4
