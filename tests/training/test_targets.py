"""Targets are computed from small label images whose answer is visible."""

import math

import pytest
import torch

from napari_cellsam.training.targets import cells_of, dense_targets


def blocks(*boxes, shape=(32, 32)):
    """Return (1, H, W) labels with filled boxes y0, x0, y1, x1 (ends included), numbered from 1."""
    labels = torch.zeros(1, *shape, dtype=torch.int32)
    for number, (y0, x0, y1, x1) in enumerate(boxes, start=1):
        labels[0, y0 : y1 + 1, x0 : x1 + 1] = number
    return labels


def test_cells_are_measured():
    cells = cells_of(torch.cat((blocks((2, 4, 6, 12)), blocks((0, 0, 3, 3), (10, 10, 20, 30)))))
    assert cells.picture.tolist() == [0, 1, 1]
    assert cells.boxes.tolist() == [[4, 2, 12, 6], [0, 0, 3, 3], [10, 10, 30, 20]]
    assert cells.areas.tolist() == [45, 16, 231]
    assert cells.centres[0].tolist() == [8, 4] and cells.centres[2].tolist() == [20, 15]
    assert cells.index[0, 3, 5] == 1 and cells.index[1, 2, 2] == 2 and cells.index[1, 11, 11] == 3
    assert cells.index[0, 0, 0] == 0


def test_the_centre_of_a_crescent_lies_on_it():
    labels = blocks((4, 4, 27, 27))
    labels[0, 4:24, 10:28] = 0
    cells = cells_of(labels)
    x, y = cells.centres[0].long().tolist()
    assert labels[0, y, x] == 1


def test_numbers_with_gaps_become_rows():
    labels = blocks((2, 2, 9, 9), (20, 20, 29, 29))
    labels[labels == 2] = 900
    cells = cells_of(labels)
    assert len(cells.areas) == 2 and cells.index.max() == 2


def test_slivers_are_ignored():
    cells = cells_of(blocks((0, 0, 0, 10), (10, 10, 20, 20)), smallest=12)
    assert len(cells.areas) == 1
    assert cells.index[0, 0, 5] == -1 and cells.index[0, 15, 15] == 1
    target = dense_targets(cells)
    assert (target.cell[0, 0, 1:] <= 0).all() and target.inside[0, 0, 0].max() == 0


def test_pictures_without_cells_have_targets_of_nothing():
    cells = cells_of(torch.zeros(2, 32, 32, dtype=torch.int32))
    target = dense_targets(cells)
    assert len(cells.areas) == 0 and cells.boxes.shape == (0, 4)
    assert target.centre.shape == (2, 8, 8) and not target.centre.any()
    assert target.extent.shape == (2, 8, 8, 4) and not target.inside.any() and not target.cell.any()


def test_the_centre_target_is_one_at_the_cell_and_falls_around_it():
    target = dense_targets(cells_of(blocks((4, 4, 27, 27))))
    y, x = divmod(int(target.centre[0].argmax()), 8)
    assert target.centre[0, y, x] == 1 and abs(y * 4 + 1.5 - 15.5) <= 2 and abs(x * 4 + 1.5 - 15.5) <= 2
    assert 0 < target.centre[0, 1, 1] < 0.1 and target.centre[0, 0, 0] == 0


def test_the_extent_is_the_distance_to_the_box():
    target = dense_targets(cells_of(blocks((4, 8, 27, 30))))
    # Step (3, 4) has its centre at x 17.5, y 13.5.
    left, top, right, bottom = target.extent[0, 3, 4].exp().tolist()
    assert (left, top, right, bottom) == pytest.approx((9.5, 9.5, 12.5, 13.5), abs=1e-3)


def test_a_cell_smaller_than_a_step_owns_the_step_of_its_centre():
    cells = cells_of(blocks((8, 8, 11, 10)), smallest=4)  # 12 pixels, not on the sampled pixel of any step but one
    tiny = cells_of(blocks((13, 13, 14, 14)), smallest=4)
    assert dense_targets(cells).cell[0, 2, 2] == 1
    target = dense_targets(tiny)
    assert target.cell[0, 3, 3] == 1 and target.centre[0, 3, 3] == 1
    assert bool(target.extent.isfinite().all()) and target.extent[0, 3, 3].min() >= math.log(0.5) - 1e-6


def test_insides_are_shares_and_borders_lie_between_cells():
    target = dense_targets(cells_of(blocks((0, 0, 15, 15), (0, 16, 15, 31))))
    covered, border = target.inside[0]
    assert covered[:4].min() == 1 and covered[4:].max() == 0
    assert border[1, 4] == 1  # first step of the second cell
    assert border[1, 1] == 0 and border[4, 1] == 1 and border[6, 6] == 0
