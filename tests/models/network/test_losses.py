"""Losses have their known values at the ends of their ranges."""

import pytest
import torch

from napari_cellsam.models.network.losses import dice_loss, focal_loss, giou, quality_focal_loss

BOX = torch.tensor([0.0, 0.0, 4.0, 4.0])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0.0, 0.0, 4.0, 4.0), 1.0),
        ((0.0, 0.0, 4.0, 2.0), 0.5),
        ((4.0, 0.0, 8.0, 4.0), 0.0),
        ((8.0, 0.0, 12.0, 4.0), -1 / 3),
        ((2.0, 2.0, 6.0, 6.0), 4 / 28 - 8 / 36),
    ],
)
def test_generalized_iou_of_known_boxes(other, expected):
    assert float(giou(BOX, torch.tensor(other))) == pytest.approx(expected, abs=1e-6)


def test_generalized_iou_of_empty_boxes_is_finite():
    boxes = torch.zeros(3, 4, requires_grad=True)
    giou(boxes, boxes.detach()).sum().backward()
    assert bool(boxes.grad.isfinite().all())


def test_a_sure_right_answer_costs_nothing_and_a_sure_wrong_one_much():
    logits = torch.tensor([12.0, -12.0])
    for loss in (focal_loss, quality_focal_loss):
        assert loss(logits, torch.tensor([1.0, 0.0])).max() < 1e-6
        assert loss(logits, torch.tensor([0.0, 1.0])).min() > 2


def test_focal_loss_at_even_odds_is_a_quarter_of_its_weighted_cross_entropy():
    loss = focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert loss.tolist() == pytest.approx([0.25 * 0.25 * 0.6931, 0.75 * 0.25 * 0.6931], abs=1e-4)


def test_quality_focal_loss_is_least_at_its_target():
    target = torch.full((3,), 0.3)
    low, right, high = quality_focal_loss(torch.logit(torch.tensor([0.1, 0.3, 0.6])), target)
    assert right < 1e-9 < min(low, high)


def test_dice_loss_is_zero_for_the_right_mask_and_nearly_one_for_its_opposite():
    truth = (torch.rand(2, 8, 8) > 0.5).float()
    assert dice_loss(truth * 40 - 20, truth).max() < 1e-6
    assert dice_loss(20 - truth * 40, truth).min() > 0.9


def test_dice_loss_of_nothing_is_finite():
    assert bool(dice_loss(torch.full((1, 4, 4), -20.0), torch.zeros(1, 4, 4)).isfinite().all())
