"""The automatic run: its rules, its stacks, and all that may happen in its middle."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tests.widgets.conftest import DISCS, HANG_MS, RADIUS, discs

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.records import RecordChange
from napari_cellsam.errors import OptionError, ServiceUnavailableError
from napari_cellsam.types import Cell, Mask
from napari_cellsam.widgets import _cell_writer, _turn
from napari_cellsam.widgets._cell_writer import CellWriter
from napari_cellsam.widgets._run_progress import RunProgress
from napari_cellsam.widgets._search import Task, erasing
from napari_cellsam.widgets._search_region import Region
from napari_cellsam.widgets._turn import Turn

AREA = int((discs(centres=DISCS[:1]) > 0).sum())


def labels(session):
    return np.asarray(session.target.layer.data)


def cells(session):
    """Return which of the discs are cells, first to last."""
    return [bool(labels(session)[place]) for place in DISCS]


def run(session, **options):
    session.automatic.run(**options)
    session.settle()


@pytest.fixture
def halfway(session, client, qtbot):
    """Return a function that begins a run and comes back when it has written one cell, and waits for the next."""
    answer, arrived = client._wait, threading.Event()

    def wait(call):
        if arrived.is_set():
            client.hold()
        arrived.set()
        answer(call)

    def begin(**options):
        arrived.clear()
        client._wait = wait
        session.automatic.run(**options)
        qtbot.waitUntil(lambda: session.automatic.n_written == 1, timeout=HANG_MS)

    def go_on():
        client._wait = answer
        client.release.set()
        session.settle()

    begin.go_on = go_on
    return begin


@pytest.fixture
def stack(viewer, make_session):
    """Return a session on three planes: with four discs, two and none."""
    viewer.add_image(np.stack([discs(), discs(centres=DISCS[:2]), np.zeros((100, 110), np.uint8)]), name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    return session


# --- rules


def test_a_new_layer_gets_the_cells_and_the_old_one_stays(session):
    run(session)
    old = session.target.layer
    before = np.array(old.data)
    run(session, rule="new")
    assert session.target.layer.unique_id != old.unique_id
    assert np.array_equal(old.data, before)
    assert cells(session) == [True] * 4
    assert [layer.name for layer in session.viewer.layers] == ["discs", "discs cells", "discs cells [1]"]


def test_a_new_layer_is_not_added_when_there_is_none_yet(session):
    run(session, rule="new")
    assert [layer.name for layer in session.viewer.layers] == ["discs", "discs cells"]


def test_a_new_layer_has_a_history_of_its_own(session):
    run(session)
    run(session, rule="new")
    session.undo()
    session.settle()
    assert cells(session) == [False] * 4
    assert len(session.cells) == 0


def test_no_layer_is_added_when_the_window_shows_no_plane(session):
    run(session)
    session.viewer.dims.ndisplay = 3
    with pytest.raises(Exception, match="2-D"):
        session.automatic.run(rule="new")
    assert len(session.viewer.layers) == 2


def test_a_rule_that_does_not_exist_is_refused(session):
    with pytest.raises(OptionError, match="rule is 'all'; expected 'fill' or 'replace' or 'new'"):
        session.automatic.run(rule="all")
    assert not session.automatic.running


def test_replaced_cells_come_back_on_undo_with_what_was_known_of_them(session):
    run(session)
    before = np.array(labels(session))
    run(session, rule="replace")
    assert not (set(np.unique(before)) & set(np.unique(labels(session)))) - {0}
    session.undo()
    session.settle()
    assert np.array_equal(labels(session), before)
    assert {record.detector_score for record in session.cells} == {0.9}
    session.redo()
    session.settle()
    assert cells(session) == [True] * 4
    assert len(session.cells) == 4


def test_automatic_cells_that_the_model_sees_no_more_are_replaced_by_nothing(session):
    run(session)
    session.source.layer.data = discs(centres=DISCS[:2])
    run(session, rule="replace")
    assert cells(session) == [True, True, False, False]
    assert "2 cells were added. 4 older ones went." in session.heard[-1]


def test_edited_and_clicked_cells_are_not_replaced(session):
    run(session)
    layer, number = session.target.layer, int(labels(session)[DISCS[0]])
    layer.brush_size = 2
    layer.paint((12, 20), number)
    session.prompting.delete(*DISCS[1])
    session.prompting.click(*DISCS[1])
    session.settle()
    clicked = int(labels(session)[DISCS[1]])
    run(session, rule="replace")
    assert (labels(session)[DISCS[0]], labels(session)[DISCS[1]]) == (number, clicked)
    assert [session.cells.get((), n).origin for n in (number, clicked)] == ["edited", "prompted"]
    assert cells(session) == [True] * 4


def test_cancelling_a_replacement_leaves_old_cells_where_no_new_ones_are(session, halfway):
    run(session)
    before = labels(session).copy()
    halfway(rule="replace")
    session.automatic.cancel()
    halfway.go_on()
    assert [labels(session)[place] != before[place] for place in DISCS] == [True, False, False, False]
    assert np.array_equal(labels(session) > 0, before > 0)
    assert len(session.cells) == 4


def test_only_automatic_cells_in_the_region_are_replaced(session):
    run(session)
    before = labels(session).copy()
    run(session, region=(0, 0, 40, 40), rule="replace")
    changed = [labels(session)[place] != before[place] for place in DISCS]
    assert changed == [True, False, False, False]
    assert np.array_equal(labels(session) > 0, before > 0)


def test_a_cell_that_is_touched_during_a_replacement_stays(session):
    run(session)
    number = int(labels(session)[DISCS[3]])
    writer = CellWriter(session, "test")
    task = Task((), lambda: None, None, frozenset([number]))
    writer.give_way((), erasing(task, labels(session).copy(), (0, 0), (100, 110)))
    layer = session.target.layer
    layer.brush_size = 2
    layer.paint((60, 80), number)
    writer.finish(())
    assert not writer.write()
    assert int(labels(session)[DISCS[3]]) == number
    assert writer.n_erased == 0


# --- what is written


def disc_cell(y, x, score=0.9):
    ys, xs = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    return Cell(Mask(ys**2 + xs**2 <= RADIUS**2, (y - RADIUS, x - RADIUS), 0.7), score)


def test_cells_that_lie_mostly_on_others_are_not_written(session):
    run(session)
    before = labels(session).copy()
    writer = CellWriter(session, "test")
    writer.add((), [disc_cell(22, 20), disc_cell(20, 30)])
    writer.write()
    assert writer.n_written == 1
    assert np.array_equal(labels(session)[before > 0], before[before > 0])


def test_background_that_is_verified_stays(session):
    session.prompting.click(20, 20)
    session.settle()
    session.verifying.mark(Region((0, 0, 100, 42)), verified=True)
    before = labels(session).copy()
    writer = CellWriter(session, "test")
    writer.add((), [disc_cell(70, 20), disc_cell(70, 40), disc_cell(70, 46)])
    writer.write()
    assert writer.n_written == 1, "only the one that lies mostly outside"
    assert labels(session)[70, 46] > 0
    assert np.array_equal(labels(session)[:, :38], before[:, :38])


def test_an_empty_cell_is_not_written(session):
    writer = CellWriter(session, "test")
    writer.add((), [Cell(Mask(np.zeros((0, 0), bool), (0, 0), 0.1), 0.5)])
    writer.write()
    assert (writer.n_written, len(session.history)) == (0, 0)


def test_two_new_cells_may_share_the_place_of_an_old_one(session):
    writer = CellWriter(session, "test")
    writer.add((), [disc_cell(50, 50)])
    writer.write()
    number = int(labels(session)[50, 50])
    old = erasing(Task((), lambda: None, None, frozenset([number])), labels(session).copy(), (0, 0), (100, 110))
    halves = [np.zeros((15, 15), bool), np.zeros((15, 15), bool)]
    halves[0][:7], halves[1][7:] = True, True
    writer = CellWriter(session, "replace")
    writer.give_way((), old)
    writer.add((), [Cell(Mask(half, (43, 43), 0.7), 0.9) for half in halves])
    writer.write()
    assert (writer.n_written, writer.n_erased) == (2, 1)
    assert len(session.cells) == 2
    assert (labels(session)[43:58, 43:58] > 0).all()
    assert number not in labels(session)


def test_writing_ends_when_the_budget_is_spent(session, monkeypatch):
    monkeypatch.setattr(_cell_writer, "_AT_ONCE", 1)
    clock = iter(np.arange(0.0, 100.0, 1.0))
    monkeypatch.setattr(_turn, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    writer = CellWriter(session, "test")
    writer.add((), [disc_cell(y, x) for y, x in DISCS])
    assert writer.write(Turn(2.5))
    assert writer.n_written == 2
    assert not writer.write()
    assert writer.n_written == 4


# --- regions


def test_old_cells_that_go_on_beyond_the_part_that_was_read_stay():
    picture = np.zeros((40, 40), np.uint32)
    picture[5:10, 5:10], picture[0:30, 20:22] = 1, 2
    task = Task((), lambda: None, Region((0, 0, 15, 30)), frozenset([1, 2]))
    assert set(erasing(task, picture[:20], (0, 0), (40, 40))) == {1}


def test_erasing_names_the_pixels_of_each_cell():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 9, (700, 30)).astype(np.uint32)
    edits = erasing(Task((2,), lambda: None, None, frozenset([3, 5, 99])), picture, (10, 20), (900, 900))
    assert edits == {}  # every number touches a border behind which the picture goes on
    edits = erasing(Task((2,), lambda: None, None, frozenset([3, 5, 99])), picture, (0, 0), picture.shape)
    assert set(edits) == {3, 5}
    for number, edit in edits.items():
        marked = np.zeros(picture.shape, bool)
        marked[edit.rows, edit.columns] = True
        assert np.array_equal(marked, picture == number)
        assert edit.plane == (2,)


# --- stacks and progress


def test_all_planes_are_replaced_in_one_step(stack):
    run(stack, planes=stack.planes())
    before = labels(stack).copy()
    run(stack, planes=stack.planes(), rule="replace")
    assert np.array_equal(labels(stack) > 0, before > 0)
    assert len(stack.history) == 2
    stack.undo()
    stack.settle()
    assert np.array_equal(labels(stack), before)


def test_the_progress_of_a_stack_names_plane_and_tile(stack, qtbot):
    texts = []
    stack.automatic.changed.connect(lambda: texts.append(stack.automatic.progress_text))
    run(stack, planes=stack.planes())
    assert texts[0] == "plane 1 of 3"
    assert "plane 1 of 3, tile 4 of 4" in texts
    assert "plane 2 of 3, tile 2 of 2" in texts
    assert texts[-1] == stack.automatic.progress_text == ""


def test_a_stack_that_is_cancelled_keeps_the_planes_that_were_found(stack, client, qtbot):
    def stop():
        if stack.automatic.progress_text.startswith("plane 2") and len(stack.cells) >= 4:
            stack.automatic.changed.disconnect(stop)
            stack.automatic.cancel()

    stack.automatic.changed.connect(stop)
    run(stack, planes=stack.planes())
    counts = [len(np.unique(plane)) - 1 for plane in labels(stack)]
    assert counts[0] == 4
    assert len(stack.cells) == sum(counts)
    assert len(stack.history) == 1


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (RunProgress(), "looking at the image"),
        (RunProgress(0, 1, 3, 12, 1.0), "tile 3 of 12"),
        (RunProgress(0, 1, 3, 12, 10.0), "tile 3 of 12, 30 s left"),
        (RunProgress(1, 4, 6, 12, 60.0), "plane 2 of 4, tile 6 of 12, 2 min left"),
        (RunProgress(1, 100, 0, 1, 3600.0), "plane 2 of 100, tile 0 of 1, 99.0 h left"),
    ],
)
def test_progress_is_told_in_words(progress, text):
    assert progress.text == text


# --- what may happen in the middle


def test_the_image_may_be_removed_in_the_middle(session, halfway):
    halfway()
    layer = session.target.layer
    session.viewer.layers.remove("discs")
    halfway.go_on()
    assert not session.automatic.running
    assert len(np.unique(layer.data)) == 2
    assert session.source is None


def test_the_labels_may_be_removed_in_the_middle(session, halfway):
    halfway()
    session.viewer.layers.remove("discs cells")
    halfway.go_on()
    assert not session.automatic.running
    assert [layer.name for layer in session.viewer.layers] == ["discs"]


def test_labels_may_be_renamed_and_moved_in_the_middle(session, halfway):
    halfway()
    session.viewer.layers["discs cells"].name = "mine"
    session.viewer.layers.move(1, 0)
    halfway.go_on()
    assert cells(session) == [True] * 4
    assert session.target.layer.name == "mine"


def test_the_service_may_be_killed_in_the_middle_and_the_cells_stay(session, halfway, client):
    halfway()
    client.failure = ServiceUnavailableError("the service was killed")
    halfway.go_on()
    assert "killed" in session.heard[-1]
    assert sum(cells(session)) == len(session.cells) == 1
    client.failure = None
    run(session)
    assert cells(session) == [True] * 4


def test_undoing_in_the_middle_ends_the_run(session, halfway):
    halfway()
    session.undo()
    halfway.go_on()
    assert cells(session) == [False] * 4
    assert len(session.history) == 0
    assert not session.automatic.running


def test_painting_in_the_middle_is_a_step_of_its_own(session, halfway):
    halfway()
    layer = session.target.layer
    layer.brush_size = 2
    layer.paint((50, 100), 90)
    halfway.go_on()
    assert cells(session) == [True] * 4
    session.undo()
    session.settle()
    assert labels(session)[50, 100] == 0
    assert cells(session) == [True] * 4
    session.undo()
    session.settle()
    assert cells(session) == [False] * 4


def test_another_image_may_be_chosen_in_the_middle(session, halfway):
    halfway()
    session.viewer.add_image(discs()[::-1].copy(), name="second")
    halfway.go_on()
    assert not session.automatic.running
    assert len(np.unique(session.viewer.layers["discs cells"].data)) == 2
    assert "second cells" not in session.viewer.layers


def test_another_labels_layer_may_be_chosen_in_the_middle(session, halfway):
    halfway()
    session.use_new_labels()
    halfway.go_on()
    assert not labels(session).any()
    assert len(np.unique(session.viewer.layers["discs cells"].data)) == 2


def test_another_plane_may_be_shown_in_the_middle(stack, client, qtbot):
    client.hold()
    stack.viewer.dims.set_current_step(0, 0)
    stack.automatic.run()
    stack.viewer.dims.set_current_step(0, 1)
    client.release.set()
    stack.settle()
    assert [len(np.unique(plane)) - 1 for plane in labels(stack)] == [4, 0, 0]


def test_a_second_run_ends_the_first(session, halfway, client):
    halfway()
    session.automatic.run(region=(0, 0, 40, 40))
    halfway.go_on()
    assert sum(cells(session)) == 1
    assert not session.automatic.running


def test_cancelling_twice_says_it_once(session, halfway):
    halfway()
    session.automatic.cancel()
    session.automatic.cancel()
    halfway.go_on()
    said = [text for text in session.heard if text.startswith("Cancelled")]
    assert said == ["Cancelled. Cells that were found stay: 1."]


def test_a_cell_that_was_found_right_is_not_replaced(session):
    session.automatic.run()
    session.settle()
    label = int(np.asarray(session.target.layer.data)[20, 20])
    old = session.cells.get((), label)
    session.apply(Action("accept", (), (RecordChange(old, replace(old, reviewed=True)),)))
    session.automatic.run(rule="replace")
    session.settle()
    assert int(np.asarray(session.target.layer.data)[20, 20]) == label
    assert int(np.asarray(session.target.layer.data)[60, 30]) > 4
