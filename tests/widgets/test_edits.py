"""Edits, records and the history: pure values, without a window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import edit_between, erase, place
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.widgets._history import History
from napari_cellsam.widgets._records import CellTable

CROPS = arrays(np.uint32, (5, 6), elements=st.integers(0, 3))


def apply(labels, edit):
    at = tuple(edit.indices)
    part = edit.where_expected(labels[at])
    labels[part.indices] = part.after


def painted(labels, value, window):
    """Return an action that paints a window, and do it."""
    after = labels[window].copy()
    after[:] = value
    edit = edit_between((), (window[0].start, window[1].start), labels[window], after)
    labels[window] = after
    return Action(f"paint {value}", () if edit is None else (edit,))


@given(CROPS, CROPS)
def test_an_edit_turns_one_crop_into_the_other_and_its_inverse_turns_it_back(before, after):
    edit = edit_between((2,), (10, 20), before, after)
    stack = np.zeros((3, 40, 40), np.uint32)
    stack[2, 10:15, 20:26] = before
    original = stack.copy()
    if edit is None:
        assert (before == after).all()
        return
    apply(stack, edit)
    assert (stack[2, 10:15, 20:26] == after).all()
    assert stack[:2].sum() == 0
    apply(stack, edit.inverse())
    assert (stack == original).all()


def test_equal_crops_need_no_edit():
    crop = np.ones((2, 2), np.uint32)
    assert edit_between((), (0, 0), crop, crop) is None


def test_crops_of_two_shapes_are_refused():
    with pytest.raises(ImageShapeError, match=r"\(2, 2\) and \(2, 3\)"):
        edit_between((), (0, 0), np.zeros((2, 2), int), np.zeros((2, 3), int))


def test_an_edit_leaves_alone_what_has_changed_since():
    labels = np.zeros((1, 4), np.uint32)
    edit = edit_between((), (0, 0), labels, np.array([[5, 5, 0, 0]], np.uint32))
    labels[0] = [5, 9, 0, 0]
    apply(labels, edit.inverse())
    assert labels.tolist() == [[0, 9, 0, 0]]


def test_an_edit_knows_the_cells_that_it_touches():
    edit = edit_between((), (0, 0), np.array([[0, 1, 2]]), np.array([[3, 0, 2]]))
    assert edit.labels() == {1, 3}


def test_one_number_for_all_pixels_is_kept_once():
    edit = edit_between((), (0, 0), np.zeros((100, 100), int), np.full((100, 100), 7))
    assert edit.n_bytes == 2 * 4 * 100 * 100 + 8


def test_a_new_cell_takes_no_pixel_of_another_one():
    under = np.array([[0, 1, 2]], np.uint32)
    inside = np.ones((1, 3), bool)
    assert place(under, inside, 9).tolist() == [[9, 1, 2]]
    assert place(under, inside, 9, replaceable={2}).tolist() == [[9, 1, 9]]
    assert under.tolist() == [[0, 1, 2]]


def test_an_erased_cell_leaves_the_others():
    assert erase(np.array([[1, 2], [2, 0]], np.uint32), 2).tolist() == [[1, 0], [0, 0]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=12), st.data())
def test_undoing_everything_gives_the_beginning_and_redoing_everything_the_end(strokes, data):
    labels = np.zeros((6, 6), np.uint32)
    history = History()
    for value, y, x in strokes:
        history.push(painted(labels, value, np.s_[y : y + 3, x : x + 3]))
    end = labels.copy()
    for _ in strokes:
        for edit in history.undo().edits:
            apply(labels, edit)
    assert history.undo() is None
    assert labels.sum() == 0
    for _ in strokes:
        for edit in history.redo().edits:
            apply(labels, edit)
    assert history.redo() is None
    assert (labels == end).all()


def test_a_new_action_ends_what_could_be_redone():
    history = History()
    history.push(Action("one"))
    history.undo()
    history.push(Action("two"))
    assert history.redo_title is None
    assert history.undo_title == "two"


def test_actions_of_a_group_are_one_step_also_with_others_in_between():
    labels, history, run = np.zeros((4, 4), np.uint32), History(), object()

    def cells(value, row):
        action = painted(labels, value, np.s_[row : row + 1, 0:4])
        return Action("automatic", action.edits, group=run)

    history.push(cells(1, 0))
    history.push(painted(labels, 9, np.s_[3:4, 0:4]))
    history.push(cells(2, 1))
    assert len(history) == 2
    assert history.undo_title == "paint 9"
    for _ in range(2):
        for edit in history.undo().edits:
            apply(labels, edit)
    assert labels.sum() == 0


def test_the_oldest_actions_go_when_memory_is_spent_and_the_newest_stays():
    history = History(budget_bytes=3000)
    labels = np.zeros((64, 64), np.uint32)
    for value in range(1, 6):
        history.push(painted(labels, value, np.s_[0:10, 0:10]))
    assert len(history) == 1
    history.push(painted(labels, 7, np.s_[0:64, 0:64]))
    assert len(history) == 1
    assert history.undo_title == "paint 7"


def test_memory_is_counted_to_the_byte():
    history, run = History(), object()
    labels = np.zeros((8, 8), np.uint32)
    actions = [Action("run", painted(labels, v, np.s_[0:v, 0:8]).edits, group=run) for v in (1, 2, 3)]
    for action in actions:
        history.push(action)
    assert history.n_bytes == actions[0].then(actions[1]).then(actions[2]).n_bytes
    history.clear()
    assert (history.n_bytes, len(history), history.undo_title) == (0, 0, None)


def test_every_change_of_the_history_is_told():
    history, told = History(), []
    history.changed.connect(lambda: told.append((history.undo_title, history.redo_title)))
    history.push(Action("one"))
    history.undo()
    history.redo()
    assert told == [("one", None), (None, "one"), ("one", None)]


@pytest.mark.parametrize("n_bytes", [0, -1])
def test_a_history_needs_memory(n_bytes):
    with pytest.raises(OptionError, match=str(n_bytes)):
        History(n_bytes)


def test_records_change_and_change_back():
    table, told = CellTable(), []
    table.changed.connect(lambda: told.append(len(table)))
    found = CellRecord(3, (1,), "automatic", detector_score=0.9)
    edited = CellRecord(3, (1,), "edited", detector_score=0.9)
    changes = (RecordChange(None, found), RecordChange(found, edited))
    table.apply(changes)
    assert table.get((1,), 3) is edited
    table.apply(change.inverse() for change in reversed(changes))
    assert table.get((1,), 3) is None
    assert told == [1, 0]


@pytest.mark.parametrize(("label", "origin"), [(0, "manual"), (1, "guessed")])
def test_a_record_of_nothing_is_refused(label, origin):
    with pytest.raises(OptionError):
        CellRecord(label, origin=origin)


def test_a_change_from_nothing_to_nothing_is_refused():
    with pytest.raises(OptionError, match="before"):
        RecordChange(None, None)
