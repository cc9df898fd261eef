"""The pieces: in order, small, close together, and of pixels that differ."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.editing.edits import CropEdit
from napari_cellsam.widgets._pieces import pieces_of

BEFORE, AFTER = np.zeros(1, np.uint32), np.ones(1, np.uint32)


def square(y, x, side=10, plane=(), before=0, after=1):
    """Return an edit of a square."""
    rows, columns = np.mgrid[y : y + side, x : x + side].reshape(2, -1).astype(np.int32)
    return CropEdit(plane, rows, columns, np.full(1, before, np.uint32), np.full(1, after, np.uint32))


def sizes(edits):
    return [len(piece) for piece in pieces_of(edits)]


def test_no_edits_are_no_pieces():
    assert sizes([]) == []


def test_neighbours_are_one_piece_also_where_their_boxes_meet():
    corner = CropEdit((), np.array([5, 20], np.int32), np.array([20, 5], np.int32), BEFORE, AFTER)
    assert sizes([square(0, 0), square(0, 10), square(10, 10), corner]) == [4]


def test_edits_of_the_same_pixels_follow_each_other():
    assert sizes([square(0, 0), square(9, 9), square(30, 30)]) == [1, 2]


def test_edits_of_different_planes_are_apart():
    assert sizes([square(0, 0, plane=(0,)), square(0, 20, plane=(1,)), square(0, 40, plane=(1,))]) == [1, 2]


def test_a_piece_is_never_large():
    assert sizes([square(0, 20 * i) for i in range(50)]) == [12, 12, 12, 12, 2]
    assert sizes([square(0, 200 * i, side=120) for i in range(3)]) == [1, 1, 1]


def test_edits_far_from_each_other_are_apart():
    assert sizes([square(0, 0), square(5000, 5000), square(5000, 5020)]) == [1, 2]


@pytest.mark.parametrize("each", [False, True])
def test_a_large_edit_is_cut_into_parts_that_are_it_together(each):
    edit = square(0, 0, side=500)
    if each:
        numbers = np.arange(len(edit.rows), dtype=np.uint32)
        edit = CropEdit((3,), edit.rows, edit.columns, numbers, numbers + 1)
    parts = [part for piece in pieces_of([edit]) for part in piece]
    assert len(parts) == 13
    assert {part.plane for part in parts} == {edit.plane}
    for name in ("rows", "columns", "before", "after"):
        together = np.concatenate([np.broadcast_to(getattr(part, name), part.rows.shape) for part in parts])
        assert np.array_equal(together, np.broadcast_to(getattr(edit, name), edit.rows.shape))


def test_whatever_the_order_of_edits_pieces_do_the_same():
    rng = np.random.default_rng(1)
    picture = np.zeros((300, 300), np.uint32)
    edits, expected = [], picture.copy()
    for number in range(1, 120):
        y, x, side = rng.integers(0, 200), rng.integers(0, 200), rng.integers(1, 60)
        edits.append(square(int(y), int(x), int(side), after=number))
        expected[y : y + side, x : x + side] = number
    for piece in pieces_of(edits):
        for part in rng.permutation(np.array(piece, object)):  # the order in a piece does not matter
            picture[part.indices] = part.after
    assert np.array_equal(picture, expected)
