"""Doubts: what the model was unsure of, and what looks unlike the rest, comes first."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.editing.doubts import doubt_of, jittered, measure_cells, oddness_of
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import ImageShapeError


def grid(n=6, size=10, gap=4):
    """Return a picture of equal squares, numbered from 1."""
    side = n * (size + gap) + gap
    labels = np.zeros((side, side), np.uint32)
    for i in range(n * n):
        y, x = gap + (i // n) * (size + gap), gap + (i % n) * (size + gap)
        labels[y : y + size, x : x + size] = i + 1
    return labels


def doubts_of(measures, records, stability=None):
    odd = oddness_of(measures)
    return {n: doubt_of(records.get(n), odd[n], (stability or {}).get(n)) for n in measures}


def records_of(measures, **values):
    return {label: CellRecord(label, (), "automatic", 0.9, 0.9, **values) for label in measures}


def test_cells_are_measured_by_their_own_numbers():
    labels = np.zeros((20, 30), np.uint16)
    labels[2:5, 4:9] = 700
    labels[10:20, 25:30] = 3
    measures = measure_cells(labels)
    assert sorted(measures) == [3, 700]
    assert measures[700].window == (2, 4, 5, 9)
    assert (measures[700].area, measures[700].fullness, measures[700].touches_border) == (15, 1.0, False)
    assert measures[700].centre == (3, 6)
    assert measures[3].touches_border


def test_an_empty_picture_has_no_cells():
    assert measure_cells(np.zeros((5, 5), np.uint32)) == {}
    assert doubts_of({}, {}) == {}


def test_a_stack_is_refused():
    with pytest.raises(ImageShapeError, match=r"expected \(Y, X\)"):
        measure_cells(np.zeros((2, 5, 5), np.uint32))


def test_equal_cells_are_equally_doubtful():
    measures = measure_cells(grid())
    assert len(set(doubts_of(measures, records_of(measures)).values())) == 1


@pytest.mark.parametrize(("score", "iou"), [(0.3, 0.9), (0.9, 0.3)])
def test_what_the_model_was_unsure_of_comes_first(score, iou):
    measures = measure_cells(grid())
    records = records_of(measures) | {7: CellRecord(7, (), "automatic", score, iou)}
    doubts = doubts_of(measures, records)
    assert max(doubts, key=doubts.get) == 7


def test_a_cell_of_odd_size_comes_first():
    labels = grid()
    labels[labels == 8] = 0
    labels[labels == 9] = 0
    labels[4:14, 60:64] = 9
    measures = measure_cells(labels)
    doubts = doubts_of(measures, records_of(measures))
    assert max(doubts, key=doubts.get) == 9


def test_a_cell_of_odd_shape_comes_first():
    labels = grid()
    hollow = labels == 8
    y, x = np.nonzero(hollow)
    labels[hollow] = 0
    labels[y.min() : y.max() + 1, x.min()] = 8
    labels[y.max(), x.min() : x.max() + 1] = 8
    measures = measure_cells(labels)
    doubts = doubts_of(measures, records_of(measures))
    assert max(doubts, key=doubts.get) == 8


def test_a_cell_that_the_picture_cuts_is_not_odd_for_its_size():
    labels = grid()
    labels[0:2, 0:10] = 99
    measures = measure_cells(labels)
    doubts = doubts_of(measures, records_of(measures))
    assert doubts[99] == doubts[1]


def test_an_unstable_cell_comes_first():
    measures = measure_cells(grid())
    doubts = doubts_of(measures, records_of(measures), {5: 0.2, 6: 0.95})
    order = sorted(doubts, key=doubts.get)
    assert (order[-1], order[0]) == (5, 6)


def test_what_a_person_painted_is_hardly_doubtful():
    measures = measure_cells(grid())
    records = {label: CellRecord(label) for label in measures}
    assert max(doubts_of(measures, records).values()) < 0.15
    assert max(doubts_of(measures, {}).values()) < 0.15


def test_doubts_are_between_0_and_1():
    measures = measure_cells(grid())
    records = {label: CellRecord(label, (), "automatic", 0.0, 0.0) for label in measures}
    assert all(0 <= doubt <= 1 for doubt in doubts_of(measures, records, dict.fromkeys(measures, 0.0)).values())


def test_jittered_boxes_have_the_size_of_the_cell_and_lie_beside_it():
    boxes = jittered((10, 20, 20, 40))
    assert (boxes[:, 2] - boxes[:, 0] == 9).all()
    assert (boxes[:, 3] - boxes[:, 1] == 19).all()
    assert boxes.mean(0).tolist() == [10, 20, 19, 39]
    assert len({tuple(box) for box in boxes.tolist()}) == 4
