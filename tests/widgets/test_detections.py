"""The detector's boxes: their threshold, the cells that follow it, and what editing them does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from tests.widgets.conftest import DISCS, HANG_MS, RADIUS, FakeClient, discs

from napari_cellsam.errors import OptionError, ServiceUnavailableError
from napari_cellsam.types import Cell, Mask, Segmentation
from napari_cellsam.widgets._box_memory import BoxMemory
from napari_cellsam.widgets._candidates import Candidates
from napari_cellsam.widgets._detections import DetectorBoxes
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._records import CellTable

SCORES = (0.9, 0.6, 0.3, 0.1)  # of the discs, first to last
AREA = int((discs(centres=DISCS[:1]) > 0).sum())


class ScoringClient(FakeClient):
    """Sees discs, of which it is more sure the higher they are; stops after some of them if asked."""

    stop_after = None

    def segment(self, image, options=None, *, on_progress=None, on_cells=None, call=None):
        self.asked.append(("segment", options.box_score))
        pieces, _ = ndimage.label(image.pixels[..., 0] > 100)
        cut = 0.4 if options.box_score is None else options.box_score
        for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
            if self.stop_after is not None and number > self.stop_after:
                self.hold()
            self._wait(call)
            mask = Mask(pieces[rows, columns] == number, (rows.start, columns.start), 0.7)
            score = SCORES[(number - 1) % len(SCORES)]
            if score >= cut:
                on_cells((Cell(mask, score),))
        nothing = np.zeros(0, np.float32)
        return Segmentation(np.zeros(image.shape, np.uint32), nothing.reshape(0, 4), nothing, nothing, None, ())

    @property
    def n_runs(self):
        return sum(kind == "segment" for kind, _ in self.asked)


@pytest.fixture
def client():
    made = ScoringClient()
    yield made
    made.release.set()


@pytest.fixture
def boxes(session, qtbot):
    made = DetectorBoxes(session)
    made.settle = lambda: settle(made, session, qtbot)
    yield made
    made.close()


def settle(boxes, session, qtbot):
    session.settle()
    qtbot.waitUntil(lambda: not boxes.running and not session.jobs.n_running, timeout=HANG_MS)


def show(boxes):
    boxes.show()
    boxes.settle()


def move_to(boxes, *thresholds):
    """Move the threshold in one gesture."""
    boxes.press()
    for threshold in thresholds:
        boxes.threshold = threshold
    boxes.release()
    boxes.settle()


def layer_of(session):
    return next(layer for layer in session.viewer.layers if layer.name.endswith("boxes"))


def drawn(session):
    """Return which of the discs have a box drawn around them, first to last."""
    middles = [tuple(np.round(corners.mean(0)).astype(int)) for corners in layer_of(session).data]
    assert len(set(middles)) == len(middles)
    return [place in middles for place in DISCS]


def cells(session):
    """Return which of the discs are cells, first to last."""
    labels = np.asarray(session.target.layer.data)
    return [bool(labels[place]) for place in DISCS]


def both(session):
    assert drawn(session) == cells(session)
    return cells(session)


def edit(boxes, change, qtbot):
    """Do to our layer what a user does, and wait for the cells."""
    heard = []
    boxes._layer.edited.connect(heard.append)
    change()
    qtbot.waitUntil(lambda: len(heard) > 0, timeout=HANG_MS)
    boxes._layer.edited.disconnect(heard.append)
    boxes.settle()


def select(session, *discs_):
    """Select the boxes around discs."""
    layer = layer_of(session)
    middles = [tuple(np.round(corners.mean(0)).astype(int)) for corners in layer.data]
    layer.selected_data = {middles.index(DISCS[number]) for number in discs_}
    return layer


def corners_around(y, x, reach):
    return np.array([(y - reach, x - reach), (y - reach, x + reach), (y + reach, x + reach), (y + reach, x - reach)])


# --- showing


def test_boxes_at_or_above_the_threshold_are_shown_and_are_cells(session, boxes):
    assert boxes.threshold == 0.4
    show(boxes)
    assert both(session) == [True, True, False, False]
    assert (boxes.n_shown, boxes.n_all, boxes.on) == (2, 4, True)
    assert {record.origin for record in session.cells} == {"automatic"}
    assert sorted(record.detector_score for record in session.cells) == [0.6, 0.9]


def test_the_detector_is_asked_once_for_all_candidates(session, boxes, client):
    show(boxes)
    move_to(boxes, 0.2, 0.8, 0.05)
    boxes.hide()
    show(boxes)
    assert [asked for kind, asked in client.asked if kind == "segment"] == [0.05]


def test_the_layer_is_marked_as_ours_and_the_active_layer_stays(session, boxes):
    show(boxes)
    layer = layer_of(session)
    assert layer.name == "discs boxes"
    assert layer.metadata["napari-cellsam"]["boxes_of"] == str(session.source.layer.unique_id)
    assert session.viewer.layers.selection.active.name == "discs"


def test_boxes_enclose_the_pixels_of_their_cells(session, boxes):
    show(boxes)
    (y, x), reach = DISCS[0], RADIUS + 0.5
    corners = next(c for c in layer_of(session).data if tuple(c.mean(0)) == (y, x))
    assert np.array_equal(np.sort(corners, axis=0), np.sort(corners_around(y, x, reach), axis=0))


def test_boxes_are_coloured_from_red_to_green_by_score(session, boxes):
    show(boxes)
    layer = layer_of(session)
    for corners, (red, green, *_) in zip(layer.data, layer.edge_color, strict=True):
        score = SCORES[DISCS.index(tuple(np.round(corners.mean(0)).astype(int)))]
        assert (red, green) == pytest.approx((1 - score, score), abs=0.01)


def test_boxes_lie_on_a_turned_and_stretched_image(viewer, make_session, qtbot):
    viewer.add_image(discs(), name="discs", scale=(2, 0.5), rotate=30, translate=(7, -4))
    session = make_session(viewer)
    session.start()
    boxes = DetectorBoxes(session)
    boxes.settle = lambda: settle(boxes, session, qtbot)
    show(boxes)
    assert both(session) == [True, True, False, False]
    layer, image = layer_of(session), viewer.layers["discs"]
    assert np.allclose(layer.data_to_world((20, 20)), image.data_to_world((20, 20)))
    boxes.close()


def test_hiding_removes_the_layer_and_keeps_the_cells(session, boxes):
    show(boxes)
    boxes.hide()
    assert [layer.name for layer in session.viewer.layers] == ["discs", "discs cells"]
    assert cells(session) == [True, True, False, False]
    assert not boxes.on


def test_removing_the_layer_hides_the_boxes(session, boxes):
    show(boxes)
    session.viewer.layers.remove("discs boxes")
    assert not boxes.on
    show(boxes)
    assert both(session) == [True, True, False, False]


def test_boxes_need_an_image(viewer, make_session):
    session = make_session(viewer)
    session.start()
    boxes = DetectorBoxes(session)
    with pytest.raises(NoImageError, match="open one"):
        boxes.show()
    assert not boxes.on
    boxes.close()


def test_cells_of_an_earlier_run_are_known_to_be_the_boxes(session, boxes):
    session.automatic.run()
    session.settle()
    before = np.array(session.target.layer.data)
    show(boxes)
    assert np.array_equal(session.target.layer.data, before)
    assert len(session.history) == 1
    move_to(boxes, 0.7)
    assert both(session) == [True, False, False, False]


def test_a_failed_run_is_told_and_can_be_begun_anew(session, boxes, client):
    client.failure = ServiceUnavailableError("the service was killed")
    boxes.show()
    boxes.settle()
    assert "killed" in session.heard[-1]
    assert boxes.n_all == 0
    client.failure = None
    show(boxes)
    assert both(session) == [True, True, False, False]


def test_a_cancelled_run_keeps_what_was_found_and_can_be_begun_anew(session, boxes, client, qtbot):
    client.hold()
    boxes.show()
    session.cancel()
    boxes.settle()
    assert boxes.n_all == 0
    client.release.set()
    show(boxes)
    assert both(session) == [True, True, False, False]


# --- the threshold


def test_lowering_the_threshold_writes_the_cells_that_come_above(session, boxes):
    show(boxes)
    move_to(boxes, 0.2)
    assert both(session) == [True, True, True, False]
    move_to(boxes, 0.05)
    assert both(session) == [True] * 4
    assert boxes.n_shown == 4


def test_raising_the_threshold_takes_cells_away_that_nobody_touched(session, boxes):
    show(boxes)
    move_to(boxes, 0.7)
    assert both(session) == [True, False, False, False]
    assert len(session.cells) == 1


def test_a_cell_that_was_touched_stays_below_the_threshold_with_its_box(session, boxes):
    show(boxes)
    layer = session.target.layer
    number = int(layer.data[DISCS[1]])
    layer.brush_size = 2
    layer.paint((12, 60), number)
    move_to(boxes, 0.95)
    assert both(session) == [False, True, False, False]
    assert session.cells.get((), number).origin == "edited"


def test_a_drag_is_one_step_and_undoing_it_moves_the_threshold_back(session, boxes):
    show(boxes)
    move_to(boxes, 0.5, 0.65, 0.8, 0.95)
    assert len(session.history) == 2
    assert session.history.undo_title == "move the threshold"
    session.undo()
    boxes.settle()
    assert both(session) == [True, True, False, False]
    assert boxes.threshold == 0.4
    session.redo()
    boxes.settle()
    assert both(session) == [False] * 4
    assert boxes.threshold == 0.95


def test_a_drag_there_and_back_leaves_the_cells_as_they_were(session, boxes):
    show(boxes)
    before = np.array(session.target.layer.data)
    boxes.press()
    for threshold in (0.95, 0.1, 0.95, 0.4):
        boxes.threshold = threshold
        boxes.settle()
    boxes.release()
    assert np.array_equal(session.target.layer.data, before)
    assert both(session) == [True, True, False, False]


def test_without_a_press_a_step_ends_when_the_threshold_rests(session, boxes, qtbot):
    show(boxes)
    boxes.threshold = 0.5
    boxes.threshold = 0.7
    boxes.settle()
    assert len(session.history) == 2
    qtbot.waitUntil(lambda: boxes._threshold.resting, timeout=HANG_MS)
    boxes.threshold = 0.95
    boxes.settle()
    assert len(session.history) == 3
    session.undo()
    boxes.settle()
    assert boxes.threshold == 0.7
    assert both(session) == [True, False, False, False]


def test_a_cell_that_goes_and_comes_again_keeps_its_number(session, boxes):
    show(boxes)
    number = int(session.target.layer.data[DISCS[1]])
    move_to(boxes, 0.8)
    move_to(boxes, 0.4)
    assert int(session.target.layer.data[DISCS[1]]) == number


def test_cells_that_come_above_take_no_pixel_of_others(session, boxes):
    show(boxes)
    y, x = DISCS[2]
    session.target.layer.data_setitem(tuple(np.mgrid[y - 3 : y + 4, x - 9 : x + 10].reshape(2, -1)), 50)
    before = np.array(session.target.layer.data) == 50
    move_to(boxes, 0.2)
    after = np.array(session.target.layer.data)
    assert np.array_equal(after == 50, before)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_threshold_out_of_range_is_refused(boxes, value):
    with pytest.raises(OptionError, match="expected 0 to 1"):
        boxes.threshold = value


def test_a_deleted_cell_does_not_come_back_with_the_threshold(session, boxes):
    show(boxes)
    session.prompting.delete(*DISCS[0])
    boxes.settle()
    assert both(session) == [False, True, False, False]
    move_to(boxes, 0.2)
    assert both(session) == [False, True, True, False]


def test_undoing_the_run_hides_its_boxes_and_redoing_shows_them(session, boxes):
    show(boxes)
    session.undo()
    boxes.settle()
    assert both(session) == [False] * 4
    session.redo()
    boxes.settle()
    assert both(session) == [True, True, False, False]


def test_undoing_in_the_middle_ends_the_run(session, boxes, client, qtbot):
    client.stop_after = 1
    boxes.show()
    qtbot.waitUntil(lambda: len(session.cells) == 1, timeout=HANG_MS)
    session.undo()
    boxes.settle()
    assert not session.jobs.running("boxes")
    assert cells(session) == [False] * 4
    assert boxes.n_all == 0


# --- editing


def test_deleting_a_box_deletes_its_cell_in_one_step(session, boxes, qtbot):
    show(boxes)
    edit(boxes, lambda: select(session, 0).remove_selected(), qtbot)
    assert both(session) == [False, True, False, False]
    assert len(session.history) == 2
    session.undo()
    boxes.settle()
    assert both(session) == [True, True, False, False]


def test_deleting_the_box_of_a_cell_that_was_touched_leaves_the_cell(session, boxes, qtbot):
    show(boxes)
    layer = session.target.layer
    layer.brush_size = 2
    layer.paint((12, 20), int(layer.data[DISCS[0]]))
    boxes.settle()
    edit(boxes, lambda: select(session, 0).remove_selected(), qtbot)
    assert cells(session) == [True, True, False, False]
    assert drawn(session) == [False, True, False, False]
    assert "Cells that you changed stay: 1" in session.heard[-1]


def test_moving_a_box_outlines_that_cell_only(session, boxes, client, qtbot):
    show(boxes)
    number, n_asked = int(session.target.layer.data[DISCS[0]]), len(client.asked)

    def move():
        layer = layer_of(session)
        data = [np.array(corners) for corners in layer.data]
        place = next(i for i, c in enumerate(data) if tuple(np.round(c.mean(0))) == DISCS[0])
        data[place] = corners_around(24, 20, 7.5)  # from row 17 on
        layer.data = data

    edit(boxes, move, qtbot)
    assert client.asked[n_asked:] == [("prompts", 1)]
    labels = np.asarray(session.target.layer.data)
    rows = np.flatnonzero((labels == number).any(1))
    assert (rows[0], rows[-1]) == (17, 20 + RADIUS)
    assert cells(session) == [True, True, False, False]
    record = session.cells.get((), number)
    assert (record.origin, record.detector_score, record.predicted_iou) == ("prompted", 0.9, 0.8)
    assert len(session.history) == 2


def test_undoing_a_move_brings_cell_and_box_back(session, boxes, qtbot):
    show(boxes)
    before = np.array(session.target.layer.data)

    def move():
        layer = layer_of(session)
        data = [np.array(corners) for corners in layer.data]
        place = next(i for i, c in enumerate(data) if tuple(np.round(c.mean(0))) == DISCS[0])
        data[place] = data[place] + (6, 0)
        layer.data = data

    edit(boxes, move, qtbot)
    assert drawn(session)[0] is False
    session.undo()
    boxes.settle()
    assert np.array_equal(session.target.layer.data, before)
    assert both(session) == [True, True, False, False]
    session.redo()
    boxes.settle()
    assert (26, 20) in [tuple(np.round(corners.mean(0)).astype(int)) for corners in layer_of(session).data]


def test_a_rectangle_that_is_drawn_becomes_a_cell_with_a_box(session, boxes, qtbot):
    show(boxes)
    y, x = DISCS[3]
    edit(boxes, lambda: layer_of(session).add(corners_around(y, x, 9.5), shape_type="rectangle"), qtbot)
    assert both(session) == [True, True, False, True]
    record = session.cells.get((), int(session.target.layer.data[DISCS[3]]))
    assert (record.origin, record.detector_score, len(record.prompts)) == ("prompted", None, 1)
    session.undo()
    boxes.settle()
    assert both(session) == [True, True, False, False]
    session.redo()
    boxes.settle()
    assert both(session) == [True, True, False, True]


def test_a_rectangle_around_nothing_goes_and_that_is_said(session, boxes, qtbot):
    show(boxes)
    edit(boxes, lambda: layer_of(session).add(corners_around(90, 20, 5), shape_type="rectangle"), qtbot)
    assert "sees no cell in this box" in session.heard[-1]
    assert len(layer_of(session).data) == 2


def test_a_rectangle_beyond_the_image_goes_and_that_is_said(session, boxes, qtbot):
    show(boxes)
    edit(boxes, lambda: layer_of(session).add(corners_around(300, 300, 5), shape_type="rectangle"), qtbot)
    assert "beyond the image" in session.heard[-1]
    assert len(layer_of(session).data) == 2


def test_a_box_whose_outline_fails_goes_back_to_its_place(session, boxes, client, qtbot):
    show(boxes)
    client.failure = ServiceUnavailableError("the service was killed")
    layer = layer_of(session)

    def move():
        layer.data = [np.array(corners) + (3, 0) for corners in layer.data]

    edit(boxes, move, qtbot)
    assert "killed" in session.heard[-1]
    assert both(session) == [True, True, False, False]


# --- layers that cannot hold a cell


def use_labels(session, labels):
    image = session.viewer.layers.selection.active
    session.use_labels(session.viewer.add_labels(labels, name="mine"))
    session.viewer.layers.selection.active = image
    session.settle()
    session.heard.clear()


def test_a_full_layer_keeps_the_cells_that_it_can_hold_and_is_told_of_once(session, boxes):
    labels = np.zeros((100, 110), np.uint8)
    labels[90:, :10] = 254
    use_labels(session, labels)
    show(boxes)
    assert cells(session) == [True, False, False, False]
    assert drawn(session) == [True, True, False, False]
    move_to(boxes, 0.35, 0.2, 0.05)
    assert cells(session) == [True, False, False, False]
    assert drawn(session) == [True] * 4
    assert ["is full" in text for text in session.heard] == [True] * 2


def test_a_box_on_numbers_that_cannot_be_edited_stays_when_it_is_deleted(session, boxes, qtbot):
    use_labels(session, np.zeros((100, 110), np.int32))
    show(boxes)
    session.target.layer.data[15, 15] = -1
    edit(boxes, lambda: select(session, 0, 1).remove_selected(), qtbot)
    assert cells(session) == [True, True, False, False]
    assert drawn(session) == [True, True, False, False]
    assert sum("below 0" in text for text in session.heard) == 1


# --- following


def test_another_plane_has_boxes_of_its_own(viewer, make_session, client, qtbot):
    viewer.add_image(np.stack([discs(), discs(centres=DISCS[2:])]), name="stack")
    session = make_session(viewer)
    session.start()
    boxes = DetectorBoxes(session)
    boxes.settle = lambda: settle(boxes, session, qtbot)
    viewer.dims.set_current_step(0, 0)
    show(boxes)
    assert (boxes.n_shown, boxes.n_all) == (2, 4)
    viewer.dims.set_current_step(0, 1)
    boxes.settle()
    assert (boxes.n_shown, boxes.n_all) == (0, 0)
    assert "show them anew" in boxes.help
    assert "stack boxes" not in viewer.layers
    viewer.dims.set_current_step(0, 0)
    boxes.settle()
    assert (boxes.n_shown, boxes.n_all) == (2, 4)
    assert client.n_runs == 1
    assert len(layer_of(session).data) == 2
    boxes.close()


def test_another_image_hides_the_boxes_and_coming_back_shows_them(session, boxes, client):
    show(boxes)
    session.viewer.add_image(np.zeros((50, 50), np.uint8), name="second")
    boxes.settle()
    assert "discs boxes" not in session.viewer.layers
    session.viewer.layers.selection.active = session.viewer.layers["discs"]
    boxes.settle()
    assert both(session) == [True, True, False, False]
    assert client.n_runs == 1


@pytest.mark.parametrize("name", ["discs", "discs cells"])
def test_removing_the_image_or_the_cells_hides_the_boxes(session, boxes, name):
    show(boxes)
    session.viewer.layers.remove(name)
    boxes.settle()
    assert "discs boxes" not in session.viewer.layers
    assert boxes.n_shown == 0


def test_of_many_boxes_those_nearest_to_the_threshold_are_drawn(session, boxes, monkeypatch):
    monkeypatch.setattr("napari_cellsam.widgets._detections._MOST_DRAWN", 1)
    show(boxes)
    assert drawn(session) == [False, True, False, False]
    assert (boxes.n_shown, boxes.n_all) == (2, 4)
    assert "2 of 4 boxes; the 1 in view nearest to the threshold are drawn" in boxes.help


# --- the model and how it is used


CHANGES = {
    "model": lambda session: (session.store.update(model="other"), session.connection.reconnect()),
    "diameter": lambda session: session.prefer(options=replace(session.options, diameter=40.0)),
    "clahe": lambda session: session.prefer(options=replace(session.options, clahe=True)),
    "looks": lambda session: session.prefer(options=replace(session.options, looks=2)),
    "smallest area": lambda session: session.prefer(options=replace(session.options, min_area=9)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_boxes_are_of_the_model_and_the_options_that_found_them(session, boxes, client, change):
    show(boxes)
    CHANGES[change](session)
    boxes.settle()
    assert (boxes.n_shown, boxes.n_all) == (0, 0)
    assert "show them anew" in boxes.help
    assert "discs boxes" not in session.viewer.layers
    move_to(boxes, 0.2)
    assert cells(session) == [True, True, False, False]
    show(boxes)
    assert client.n_runs == 2
    assert boxes.n_all == 4


def test_boxes_come_back_with_the_options_that_found_them(session, boxes, client):
    show(boxes)
    before = session.options
    session.prefer(options=replace(before, clahe=True))
    session.prefer(options=before)
    boxes.settle()
    assert (boxes.n_shown, boxes.n_all) == (2, 4)
    show(boxes)
    assert client.n_runs == 1


def test_other_thresholds_for_runs_let_the_boxes_be(session, boxes, client):
    show(boxes)
    session.prefer(options=replace(session.options, box_score=0.7, score_rule="adaptive"))
    boxes.settle()
    assert (boxes.n_shown, boxes.n_all) == (2, 4)
    show(boxes)
    assert client.n_runs == 1


def test_other_options_end_the_run(session, boxes, client, qtbot):
    client.stop_after = 1
    boxes.show()
    qtbot.waitUntil(lambda: cells(session)[0], timeout=HANG_MS)
    session.prefer(options=replace(session.options, clahe=True))
    boxes.settle()
    assert boxes.n_all == 0
    assert cells(session) == [True, False, False, False]


# --- candidates


def test_boxes_that_were_left_out_are_found_when_all_are_shown_anew(session, boxes, client):
    boxes._memory = BoxMemory(session, budget_bytes=5000)  # of which a disc's box takes 825
    session.viewer.add_image(discs(centres=DISCS[:3]), name="second")
    show(boxes)
    assert boxes.n_all == 3
    session.viewer.layers.selection.active = session.viewer.layers["discs"]
    show(boxes)
    assert boxes.n_all == 3
    assert "1 more did not fit" in boxes.help
    boxes.hide()
    show(boxes)
    assert boxes.n_all == 4
    assert "did not fit" not in boxes.help
    boxes.hide()
    show(boxes)
    assert client.n_runs == 3


def test_candidates_that_do_not_fit_into_memory_are_counted_and_left_out():
    kept = Candidates((), budget_bytes=1000)
    cell = Cell(Mask(np.ones((10, 10), bool), (0, 0), 0.5), 0.9)
    assert kept.add(cell) is not None
    assert kept.add(cell) is None
    assert (len(kept), kept.n_left_out) == (1, 1)
    assert len(kept.shown(0.1, CellTable())) == 1


def test_a_cell_belongs_to_one_candidate_only():
    kept = Candidates(())
    cell = Cell(Mask(np.ones((10, 10), bool), (0, 0), 0.5), 0.9)
    one, other = kept.add(cell), kept.add(cell)
    assert kept.link(one.number, 7)
    assert kept.link(one.number, 7)
    assert not kept.link(other.number, 7)
    assert (kept.label_of(one.number), kept.label_of(other.number)) == (7, None)


def test_candidates_need_memory():
    with pytest.raises(OptionError, match="expected at least 1"):
        Candidates((), 0)
