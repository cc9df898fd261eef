"""Selected cells are corrected together, as one step, and follow what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import DISCS, discs

from napari_cellsam.errors import OptionError
from napari_cellsam.widgets._rewriting import _apart
from napari_cellsam.widgets._search_region import Region

PLACES = {1: (11, 11), 2: (42, 30), 3: (65, 65), 4: (65, 75)}


@pytest.fixture
def cells(session):
    """Let the labels have a square with a hole, a bar, and two squares that touch; return them."""
    session.set_clicking(True)
    labels = np.zeros((100, 110), np.uint32)
    labels[10:20, 10:20] = 1
    labels[14:16, 14:16] = 0
    labels[40:46, 10:60] = 2
    labels[60:70, 60:70] = 3
    labels[60:70, 70:80] = 4
    session.target.layer.data = labels.copy()
    session.settle()
    return labels


@pytest.fixture
def selection(session, cells):
    return session.selection


def labels_of(session):
    return np.asarray(session.target.layer.data)


def frames_of(session):
    return [layer for layer in session.viewer.layers if layer.name == "selected cells"]


def select(session, *labels):
    for label in labels:
        session.selection.toggle(*PLACES[label])


def test_cells_are_selected_one_by_one_and_framed(session, selection):
    active = session.viewer.layers.selection.active
    select(session, 1, 3)
    assert selection.cells == {1: (slice(10, 20), slice(10, 20)), 3: (slice(60, 70), slice(60, 70))}
    [frames] = frames_of(session)
    assert len(frames.data) == 2 and session.viewer.layers.selection.active == active
    select(session, 1)
    assert list(selection.cells) == [3] and len(frames_of(session)[0].data) == 1
    assert selection.clear() and not selection.clear()
    assert not frames_of(session) and len(session.history) == 0


def test_where_no_cell_is_none_is_selected(session, selection):
    with pytest.raises(OptionError, match="no cell under the cursor to select"):
        selection.toggle(90, 90)


def test_cells_of_which_most_lies_in_a_region_are_selected(session, selection):
    inside = Region.around([np.array([[55, 55], [55, 72], [75, 72], [75, 55]])], (100, 110))
    selection.select_in(inside)
    assert list(selection.cells) == [3]
    selection.select_in(Region.around([np.array([[80, 0], [80, 20], [95, 20], [95, 0]])], (100, 110)))
    assert selection.cells == {} and "no cells" in session.heard[-1]


def test_cells_in_a_region_are_selected_without_a_look_at_all_of_it_for_each(session, monkeypatch):
    cells = np.zeros((1000, 1000), np.uint32)
    cells.reshape(50, 20, 50, 20)[:, 4:16, :, 4:16] = np.arange(1, 2501).reshape(50, 1, 50, 1)
    session.viewer.add_image(np.zeros(cells.shape, np.uint8), name="many")
    session.bring_in(cells)
    session.settle()
    read, n_read = session.target.read, []
    monkeypatch.setattr(session.target, "read", lambda *args: (part := read(*args), n_read.append(part.size))[0])
    session.selection.select_in(Region((0, 0, 1000, 1000)))
    assert len(session.selection.cells) == 2500
    assert sum(n_read) < 50 * cells.size  # a look at all of it for each would be 2,500 times


@pytest.mark.parametrize("verb", ["grow", "shrink", "fill_holes", "smooth", "keep_largest", "delete"])
def test_a_verb_over_a_selected_cell_acts_on_all_as_one_step(session, selection, cells, verb):
    expected = cells.copy()
    for label in (1, 2, 4):  # one after the other, each by itself
        getattr(session.correcting, verb)(*PLACES[label])
    expected = labels_of(session).copy()
    while len(session.history):
        session.undo()
    assert np.array_equal(labels_of(session), cells)
    select(session, 1, 2, 4)
    getattr(session.correcting, verb)(*PLACES[2])
    assert np.array_equal(labels_of(session), expected)
    if not np.array_equal(expected, cells):
        assert len(session.history) == 1
        session.undo()
        assert np.array_equal(labels_of(session), cells)


def test_a_verb_over_another_cell_acts_on_that_alone(session, selection, cells):
    select(session, 1, 2)
    session.correcting.delete(*PLACES[3])
    assert set(np.unique(labels_of(session)).tolist()) == {0, 1, 2, 4}


def test_selected_cells_that_touch_grow_without_taking_from_each_other(session, selection, cells):
    select(session, 3, 4)
    session.correcting.grow(*PLACES[3])
    now = labels_of(session)
    assert (now[60:70, 60:70] == 3).all() and (now[60:70, 70:80] == 4).all()
    assert np.count_nonzero(now == 3) > 100 and np.count_nonzero(now == 4) > 100


def test_selected_cells_are_merged_at_once(session, selection, cells):
    select(session, 3, 4)
    session.correcting.merge(*PLACES[4])
    assert session.correcting.begun is None
    assert set(np.unique(labels_of(session)).tolist()) == {0, 1, 2, 4}
    assert np.count_nonzero(labels_of(session) == 4) == 200
    session.undo()
    assert np.array_equal(labels_of(session), cells)


def test_selected_cells_are_outlined_anew_as_one_step(session, selection):
    session.automatic.run()
    session.settle()
    before = labels_of(session).copy()
    labels = [record.label for record in session.cells if record.origin == "automatic"][:2]
    places = [tuple(np.argwhere(before == label)[0]) for label in labels]
    for place in places:  # somebody spoiled them
        session.correcting.shrink(*place)
    spoiled = labels_of(session).copy()
    session.verifying.verify_image()
    assert all(record.reviewed for record in session.cells)
    n_steps = len(session.history)
    places = [tuple(np.argwhere(spoiled == label)[0]) for label in labels]
    for place in places:
        selection.toggle(*place)
    session.correcting.redo(*places[0])
    session.settle()
    assert len(session.history) == n_steps + 1
    records = [session.cells.get((), label) for label in labels]
    assert [record.origin for record in records] == ["prompted", "prompted"]
    assert all(record.prompts[-1].box_yxyx is not None for record in records)
    assert not any(record.reviewed for record in records), "nobody has looked at the new outlines"
    session.undo()
    assert np.array_equal(labels_of(session), spoiled)


def test_a_selected_cell_whose_new_outline_lies_on_others_stays(session, selection):
    bright = discs() > 0
    mine = np.zeros(bright.shape, np.uint32)
    mine[bright] = 1
    mine[4:7, 4:34], mine[4:34, 4:7], mine[90:95, 50:60] = 2, 2, 3  # around the first disc, and elsewhere
    session.use_labels(session.viewer.add_labels(mine.copy(), name="mine"))
    session.settle()
    for place in ((5, 5), (92, 55)):
        selection.toggle(*place)
    session.correcting.redo(5, 5)
    session.settle()
    assert np.array_equal(labels_of(session) == 2, mine == 2)


def test_what_is_deleted_is_selected_no_more_and_what_grows_is_framed_anew(session, selection, qtbot):
    select(session, 1, 2, 3)
    session.correcting.grow(*PLACES[1])
    assert selection.cells[1] == (slice(9, 21), slice(9, 21))
    session.prompting.delete(*PLACES[2])
    assert list(selection.cells) == [1, 3]
    qtbot.waitUntil(lambda: len(frames_of(session)[0].data) == 2)
    session.correcting.delete(*PLACES[1])
    assert selection.cells == {}
    qtbot.waitUntil(lambda: not frames_of(session))


def test_what_a_run_takes_away_bit_by_bit_is_selected_no_more(session, selection):
    session.automatic.run(rule="new")
    session.settle()
    session.correcting.grow(60, 30)  # touched, so that it is kept
    kept = session.target.at((), 60, 30)
    for y, x in DISCS:
        selection.toggle(y, x)
    session.automatic.run(rule="replace")
    session.settle()
    assert list(selection.cells) == [kept]


def test_cells_of_another_image_with_the_same_numbers_are_not_selected(session, selection, cells, qtbot):
    image = session.source.layer
    another = session.viewer.add_image(np.zeros(cells.shape, np.uint8), name="another")
    session.bring_in(cells.copy())
    session.viewer.layers.selection.active = image
    select(session, 1, 3)
    session.viewer.layers.selection.active = another
    assert selection.cells == {}
    qtbot.waitUntil(lambda: not frames_of(session))
    session.correcting.delete(*PLACES[1])
    assert set(np.unique(labels_of(session)).tolist()) == {0, 2, 3, 4}


def test_escape_selects_nothing_and_changes_nothing(session, selection, cells):
    from napari_cellsam.widgets._actions import find_action, run_action

    select(session, 1, 2)
    run_action(session, find_action("restore_cell"))
    assert selection.cells == {}
    assert np.array_equal(labels_of(session), cells)


def test_in_3d_nothing_is_selected(session, selection, qtbot):
    select(session, 1, 2)
    session.shapes.draw_boxes()  # its end is told of while napari goes through its layers
    session.viewer.dims.ndisplay = 3
    assert selection.cells == {}
    qtbot.waitUntil(lambda: not frames_of(session))


def test_one_selected_cell_is_as_none(session, selection, cells):
    select(session, 1)
    session.correcting.merge(*PLACES[1])
    assert session.correcting.begun.label == 1


def test_windows_that_overlap_are_taken_together():
    windows = {
        1: (slice(0, 10), slice(0, 10)),
        2: (slice(50, 60), slice(50, 60)),
        3: (slice(8, 20), slice(8, 20)),
        4: (slice(15, 55), slice(15, 55)),
        5: (slice(0, 10), slice(10, 20)),
    }
    groups = _apart(windows)
    assert sorted(sorted(labels) for _, labels in groups) == [[1, 2, 3, 4, 5]]
    assert groups[0][0] == (slice(0, 60), slice(0, 60))
    alone = _apart({label: windows[label] for label in (1, 2, 5)})
    assert sorted(labels for _, labels in alone) == [[1], [2], [5]]
