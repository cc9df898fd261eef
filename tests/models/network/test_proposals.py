"""Anchor points are the local maxima of the centre map."""

import pytest
import torch

from napari_cellsam.models.network.proposals import DenseMaps, Proposals


def maps(centre):
    return DenseMaps(
        centre, torch.zeros(len(centre), 4, *centre.shape[2:]), torch.zeros(len(centre), 2, *centre.shape[2:])
    )


def test_peaks_come_best_first_in_pixels_of_the_picture():
    centre = torch.full((1, 1, 6, 8), -9.0)
    centre[0, 0, 1, 2], centre[0, 0, 4, 6], centre[0, 0, 4, 5] = 1.0, 3.0, 2.0  # the last is beside a higher one
    centre += torch.arange(48).view(6, 8) * 1e-3 - 0.1 * (centre < -8)
    points, logits = Proposals(16).peaks(maps(centre), 2)
    assert points.tolist() == [[[25.5, 17.5], [9.5, 5.5]]]
    assert logits[0].tolist() == pytest.approx([3.0, 1.0], abs=0.1)


def test_pictures_with_fewer_peaks_get_surplus_points_without_score():
    centre = torch.arange(64.0).view(1, 1, 8, 8).repeat(2, 1, 1, 1) * -0.01  # one peak, in the corner
    centre[0, 0, 6, 6] = 5.0
    points, logits = Proposals(16).peaks(maps(centre), 10)
    assert points.shape == (2, 2, 2)
    assert logits[0].isfinite().all() and logits[1, 0] == 0 and logits[1, 1] == -torch.inf


def test_never_more_points_than_asked_for():
    points, _ = Proposals(16).peaks(maps(torch.zeros(1, 1, 8, 8)), 5)
    assert points.shape == (1, 5, 2)


def test_a_new_head_expects_few_centres():
    dense = Proposals(16).eval()(torch.randn(1, 16, 8, 8))
    assert dense.centre.sigmoid().mean() < 0.05
    assert dense.extent.shape == (1, 4, 8, 8) and dense.inside.shape == (1, 2, 8, 8)
