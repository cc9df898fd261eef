"""Every cell is answered for by one query, and the unknown by none."""

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from napari_cellsam.training.set_prediction import match, set_losses, unknown_share
from napari_cellsam.training.targets import cells_of


def crop():
    """Return cells of one crop of 64 pixels: one cell at the left; the right half is unknown."""
    labels = torch.zeros(1, 64, 64, dtype=torch.int32)
    labels[0, 8:25, 4:21] = 1  # from 4, 8 to 20, 24
    labels[0, :, 32:] = -1
    return cells_of(labels)


TRUE_BOX = [12 / 64, 16 / 64, 16 / 64, 16 / 64]
NEAR, FAR, HIDDEN = [0.2, 0.25, 0.25, 0.25], [0.25, 0.75, 0.2, 0.2], [0.75, 0.5, 0.2, 0.2]


def answer(boxes, scores=(0.0, 0.0, 0.0)):
    logits = torch.tensor([[[-9.0, score] for score in scores]], requires_grad=True)
    return logits, torch.tensor([boxes], requires_grad=True)


def test_the_nearest_query_answers_for_a_cell():
    logits, boxes = answer([FAR, NEAR, HIDDEN])
    picture, query, cell = match(logits, boxes, torch.tensor([TRUE_BOX]), torch.tensor([0]))
    assert (picture.tolist(), query.tolist(), cell.tolist()) == ([0], [1], [0])


def test_each_cell_gets_a_query_of_its_own_picture():
    logits, boxes = (part.detach().repeat(2, 1, 1) for part in answer([NEAR, NEAR, FAR]))
    picture, query, cell = match(logits, boxes, torch.tensor([TRUE_BOX, FAR, FAR]), torch.tensor([0, 0, 1]))
    assert picture.tolist() == [0, 0, 1] and query[1:].tolist() == [2, 2] and cell.tolist() == [0, 1, 2]


def test_of_more_cells_than_queries_some_are_left_out():
    logits, boxes = answer([NEAR], [0.0])
    assert len(match(logits, boxes, torch.tensor([TRUE_BOX, FAR]), torch.tensor([0, 0]))[0]) == 1


def test_a_right_and_sure_answer_costs_nothing():
    parts = set_losses([answer([TRUE_BOX, FAR, HIDDEN], (20, -20, -20))], crop())
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(
        {"score": 0, "box": 0, "overlap": 0}, abs=1e-5
    )


def test_only_a_query_in_the_unknown_may_say_what_it_likes():
    logits, boxes = answer([NEAR, FAR, HIDDEN])
    sum(set_losses([(logits, boxes)], crop()).values()).backward()
    assert logits.grad[0, 0, 1] < 0 < logits.grad[0, 1, 1]
    assert not logits.grad[0, 2].any()
    assert boxes.grad[0, 0].any() and not boxes.grad[0, 1:].any()


def test_the_losses_are_those_of_anchor_detr():
    logits, boxes = answer([NEAR, FAR, FAR], (0.3, -0.5, 1.0))
    wanted = torch.zeros(1, 3, 2)
    wanted[0, 0, 1] = 1
    parts = set_losses([(logits, boxes)], crop())
    focal = sigmoid_focal_loss(logits, wanted, 0.25, 2.0, reduction="sum")
    assert parts["score"].item() == pytest.approx(2 * focal.item(), rel=1e-5)
    shift = (torch.tensor(NEAR) - torch.tensor(TRUE_BOX)).abs().sum()
    assert parts["box"].item() == pytest.approx(5 * shift.item(), rel=1e-5)
    inner = (20 / 64 - 0.075) * (24 / 64 - 0.125)
    union = 1 / 16 + 1 / 16 - inner
    outer = (0.325 - 4 / 64) * 0.25
    assert parts["overlap"].item() == pytest.approx(2 * (1 - inner / union + (outer - union) / outer), rel=1e-4)


def test_every_layer_learns():
    layers = [answer([NEAR, FAR, HIDDEN]) for _ in range(3)]
    sum(set_losses(layers, crop()).values()).backward()
    assert all(logits.grad.any() and boxes.grad.any() for logits, boxes in layers)


def test_the_unknown_share_of_a_box_is_that_of_its_area_in_the_crop():
    unknown = torch.zeros(1, 64, 64, dtype=torch.bool)
    unknown[0, :, 32:] = True
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.5], HIDDEN, NEAR, [1.0, 0.5, 0.5, 0.5], [0.625, 0.5, 0.5, 0.5]]])
    assert unknown_share(boxes, unknown)[0].tolist() == [0.5, 1, 0, 1, 0.75]


def test_boxes_without_area_or_beyond_the_crop_have_a_share_too():
    unknown = torch.ones(1, 64, 64, dtype=torch.bool)
    boxes = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0], [torch.nan] * 4]])
    assert unknown_share(boxes, unknown)[0].tolist() == [1, 1, 1, 1]
