"""The review: doubtful cells first, one key each, and nothing that was decided is lost."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import discs

from napari_cellsam.editing.journal import replay
from napari_cellsam.errors import OptionError
from napari_cellsam.types import Mask
from napari_cellsam.widgets._actions import find_action, run_action
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._review import Review
from napari_cellsam.widgets._review_filter import ReviewFilter


@pytest.fixture
def found(session):
    """Return a session whose four cells the model found, with falling scores."""
    session.set_clicking(True)
    session.automatic.run()
    session.settle()
    return session


@pytest.fixture
def review(found):
    made = Review(found)
    yield made
    made.close()


def set_scores(session, scores):
    """Let the cells have other scores of the detector."""
    from dataclasses import replace

    from napari_cellsam.editing.records import RecordChange

    for label, score in scores.items():
        old = session.cells.get((), label)
        session.cells.apply([RecordChange(old, replace(old, detector_score=score))])


def start(session, review):
    review.start()
    session.settle()


def labels_of(session):
    return np.asarray(session.target.layer.data)


def test_the_most_doubtful_cell_is_shown_first(found, review):
    set_scores(found, {1: 0.9, 2: 0.8, 3: 0.2, 4: 0.6})
    start(found, review)
    order = [review.current[1]]
    for _ in range(3):
        review.next()
        order.append(review.current[1])
    assert order == [3, 4, 2, 1]
    review.previous()
    assert review.current[1] == 2


def test_the_camera_moves_to_the_cell_and_a_frame_is_around_it(found, review):
    set_scores(found, {1: 0.9, 2: 0.8, 3: 0.2, 4: 0.6})
    start(found, review)
    rows, columns = np.nonzero(labels_of(found) == 3)
    frame = found.viewer.layers["cell under review"]
    assert np.allclose(np.asarray(frame.data[0]).mean(0), (rows.mean(), columns.mean()), atol=1)
    scene = getattr(found.viewer, "scene", found.viewer)
    assert np.allclose(scene.camera.center[-2:], (rows.mean(), columns.mean()), atol=1)
    assert found.viewer.layers.selection.active.name == "discs"


def test_cells_of_which_nothing_is_known_count_too(session):
    mine = np.zeros((100, 110), np.uint32)
    mine[5:15, 5:15], mine[30:40, 30:40], mine[60:70, 60:70] = 1, 2, 3
    session.use_labels(session.viewer.add_labels(mine, name="mine"))
    session.settle()
    review = Review(session)
    start(session, review)
    review.accept()
    assert (review.count.n_reviewed, review.count.n_cells, review.count.n_left) == (1, 3, 2)
    review.close()


def test_a_cell_that_is_too_small_on_the_screen_is_magnified_once(found, review):
    camera = getattr(found.viewer, "scene", found.viewer).camera
    camera.zoom = 0.05
    start(found, review)
    height, width = np.ptp(np.asarray(found.viewer.layers["cell under review"].data[0]), axis=0)
    assert 50 < camera.zoom * max(height, width) < 100
    camera.zoom = 0.07  # the user wants to see more around it
    review.next()
    assert camera.zoom == pytest.approx(0.07)


def test_a_cell_that_can_be_seen_leaves_the_zoom_alone(found, review):
    camera = getattr(found.viewer, "scene", found.viewer).camera
    camera.zoom = 3.0
    start(found, review)
    assert camera.zoom == pytest.approx(3.0)


def test_an_accepted_cell_is_reviewed_and_the_next_one_is_shown(found, review):
    set_scores(found, {1: 0.9, 2: 0.8, 3: 0.2, 4: 0.6})
    start(found, review)
    review.accept()
    assert found.cells.get((), 3).reviewed
    assert review.current[1] == 4
    assert (review.count.n_reviewed, review.count.n_cells, review.count.n_left) == (1, 4, 3)
    found.undo()
    assert not found.cells.get((), 3).reviewed


def test_a_rejected_cell_is_gone_and_comes_back_on_undo(found, review):
    set_scores(found, {1: 0.9, 2: 0.8, 3: 0.2, 4: 0.6})
    start(found, review)
    before = labels_of(found).copy()
    review.reject()
    assert not (labels_of(found) == 3).any()
    assert review.current[1] == 4
    found.undo()
    assert np.array_equal(labels_of(found), before)


def test_a_cell_that_is_outlined_anew_stays_under_review(found, review):
    start(found, review)
    current = review.current
    review.redo()
    found.settle()
    assert review.current == current
    assert found.cells.get(*current).origin == "prompted"


def test_the_pace_is_told_from_the_second_decision_on(found, review):
    start(found, review)
    assert review.count.per_minute is None
    review.accept()
    review.accept()
    assert review.count.per_minute > 0


def test_reviewed_cells_are_not_shown_again_unless_wanted(found, review):
    start(found, review)
    first = review.current
    review.accept()
    start(found, review)
    assert review.current != first
    assert review.count.n_left == 3
    review.set_filter(ReviewFilter(reviewed=True))
    assert review.count.n_left == 4


@pytest.mark.parametrize(
    ("chosen", "n_left"),
    [
        (ReviewFilter(origins=("prompted",)), 0),
        (ReviewFilter(origins=("automatic",)), 4),
        (ReviewFilter(min_area=10_000), 0),
        (ReviewFilter(max_area=10), 0),
        (ReviewFilter(border=True), 0),
        (ReviewFilter(border=False), 4),
    ],
)
def test_a_filter_lets_only_some_cells_through(found, review, chosen, n_left):
    start(found, review)
    review.set_filter(chosen)
    assert review.count.n_left == n_left
    assert (review.current is None) == (n_left == 0)


def test_all_that_are_left_are_accepted_in_one_step(found, review):
    start(found, review)
    review.reject()
    n_steps = len(found.history)
    review.accept_rest()
    assert all(record.reviewed for record in found.cells)
    assert len(found.history) == n_steps + 1
    found.undo()
    assert not any(record.reviewed for record in found.cells)


def test_a_cell_that_vanished_meanwhile_is_passed_over(found, review):
    set_scores(found, {1: 0.9, 2: 0.8, 3: 0.2, 4: 0.6})
    start(found, review)
    rows, columns = np.nonzero(labels_of(found) == 4)
    found.prompting.delete(float(rows[0]), float(columns[0]))
    review.next()
    assert review.current[1] == 2


def test_cells_of_other_tools_are_reviewed_too(session):
    there = np.zeros((100, 110), np.uint32)
    there[5:15, 5:15] = 7
    session.use_labels(session.viewer.add_labels(there))
    session.settle()
    review = Review(session)
    start(session, review)
    assert review.current == ((), 7)
    review.accept()
    assert session.cells.get((), 7).reviewed
    review.close()


def test_without_cells_there_is_nothing_to_review(session):
    review = Review(session)
    with pytest.raises(NoImageError, match="no cells to review"):
        review.start()
    session.set_clicking(True)
    start(session, review)
    assert review.current is None
    with pytest.raises(OptionError, match="start the review"):
        review.accept()
    review.close()


def test_unstable_cells_move_up(found, review, client, monkeypatch):
    set_scores(found, {1: 0.9, 2: 0.9, 3: 0.9, 4: 0.9})

    def answer(image, prompts, options=None, **_):
        """See nothing around the fourth disc, and what is there elsewhere."""
        return [
            Mask(np.zeros((0, 0), bool), (0, 0), 0.0) if p.box_yxyx[0] > 60 else client._mask(pieces(image), p)
            for p in prompts
        ]

    def pieces(image):
        from scipy import ndimage

        return ndimage.label(image.pixels[..., 0] > 100)[0]

    monkeypatch.setattr(client, "segment_prompts", answer)
    start(found, review)
    first = review.current[1]
    others = []
    for _ in range(3):
        review.next()
        others.append(review.current[1])
    below = int(labels_of(found)[70, 80])
    assert below in (first, others[0])


def test_what_was_reviewed_is_in_the_journal(found, review):
    start(found, review)
    label = review.current[1]
    review.accept()
    assert found.journaling.flush()
    assert replay(found.journaling.path).cells[(), label].reviewed


def test_stopping_takes_the_frame_away(found, review):
    start(found, review)
    review.stop()
    assert "cell under review" not in found.viewer.layers
    assert review.current is None


def test_the_frame_removed_by_hand_comes_back_with_the_next_cell(found, review):
    start(found, review)
    found.viewer.layers.remove("cell under review")
    review.next()
    assert "cell under review" in found.viewer.layers


def test_the_slider_moves_to_the_plane_of_the_cell(viewer, make_session):
    from tests.widgets.conftest import discs

    stack = np.stack([discs() * 0, discs(), discs(centres=((50, 50),))])
    viewer.add_image(stack, name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run(planes=session.planes())
    session.settle()
    viewer.dims.set_point(0, 0)
    review = Review(session)
    start(session, review)
    seen = {review.current[0]}
    assert session.plane == review.current[0]
    for _ in range(4):
        review.next()
        seen.add(review.current[0])
        assert session.plane == review.current[0]
    assert seen == {(1,), (2,)}
    review.close()


def test_a_mask_over_the_border_overlaps_only_within():
    from napari_cellsam.editing.doubts import measure_cells
    from napari_cellsam.widgets._stability import overlap

    labels = np.zeros((10, 10), np.uint32)
    labels[0:4, 0:4] = 1
    [measure] = measure_cells(labels).values()
    mask = Mask(np.ones((6, 6), bool), (-2, -2), 0.5)
    assert overlap(mask, measure, labels) == 16 / 36


def test_the_review_ends_when_another_image_is_looked_at(found, review):
    start(found, review)
    other = found.viewer.add_image(discs(centres=((50, 50),)), name="other")
    found.use_image(other)
    found.settle()
    assert not review.on
    with pytest.raises(OptionError, match="No cell is being reviewed"):
        review.accept()
    assert review.count.n_left == 0


def test_the_review_ends_with_the_labels_and_adds_none(found, review):
    start(found, review)
    found.viewer.layers.remove(found.target.layer)
    assert review.count.n_left == 0
    assert not review.on
    found.settle()
    assert [layer.name for layer in found.viewer.layers] == ["discs"]


def test_a_stack_that_is_reviewed_gives_way_to_one_plane(viewer, make_session):
    stack = viewer.add_image(np.stack([discs()] * 2), name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run(session.planes())
    session.settle()
    start(session, session.review)
    assert session.review.on
    flat = viewer.add_image(discs(), name="flat")
    viewer.layers.remove(stack)
    session.use_image(flat)
    session.settle()
    assert session.review.count.n_left == 0
    assert not session.review.on


def test_cells_that_were_measured_too_late_are_not_reviewed(found, review):
    review.start()
    found.use_image(found.viewer.add_image(discs(centres=((50, 50),)), name="other"))
    found.settle()
    assert not review.on


@pytest.fixture
def stack(viewer, make_session):
    """Return a session on a stack of two planes, whose cells have the same places and the model found."""
    viewer.add_image(np.stack([discs(), discs()]), name="stack")
    made = make_session(viewer)
    made.start()
    made.settle()
    made.automatic.run(planes=made.planes())
    made.settle()
    viewer.dims.set_point(0, 0)
    return made


def show_the_other_plane(session):
    """Move the slider away from the cell under review."""
    [plane] = session.review.current[0]
    session.viewer.dims.set_point(0, 1 - plane)
    assert session.plane == (1 - plane,)


def test_the_cell_under_review_is_rejected_though_another_plane_is_shown(stack):
    start(stack, stack.review)
    before, (plane, label) = labels_of(stack).copy(), stack.review.current
    show_the_other_plane(stack)
    stack.review.reject()
    after = labels_of(stack)
    assert not (after[plane] == label).any()
    assert np.array_equal(np.delete(after, plane[0], 0), np.delete(before, plane[0], 0))


def test_the_cell_under_review_is_outlined_anew_though_another_plane_is_shown(stack):
    start(stack, stack.review)
    current = stack.review.current
    show_the_other_plane(stack)
    stack.review.redo()
    stack.settle()
    assert [(record.plane, record.label) for record in stack.cells if record.origin == "prompted"] == [current]
    assert stack.plane == current[0]


def test_a_cell_that_is_accepted_twice_is_one_step_of_the_history(found, review):
    start(found, review)
    for _ in range(4):
        review.accept()
    n_steps = len(found.history)
    review.accept()
    assert len(found.history) == n_steps
    found.undo()
    assert review.count.n_left == 1


@pytest.mark.parametrize("action_id", ["start_review", "next_cell", "previous_cell", "approve_cell", "reject_cell"])
def test_in_3d_the_review_waits_and_says_why(stack, action_id):
    start(stack, stack.review)
    current, n_steps = stack.review.current, len(stack.history)
    stack.review.stop() if action_id == "start_review" else stack.viewer.layers.remove("cell under review")
    stack.viewer.dims.ndisplay = 3
    run_action(stack, find_action(action_id))
    stack.settle()
    assert "in 3-D" in stack.heard[-1]
    assert len(stack.history) == n_steps
    assert stack.review.current == (None if action_id == "start_review" else current)


def test_a_filter_that_is_chosen_in_3d_is_kept_for_later(stack):
    start(stack, stack.review)
    stack.viewer.layers.remove("cell under review")
    stack.viewer.dims.ndisplay = 3
    stack.review.set_filter(ReviewFilter(border=False))
    assert "in 3-D" in stack.heard[-1]
    stack.viewer.dims.ndisplay = 2
    stack.review.next()
    assert stack.review.current is not None


def test_cells_that_were_measured_while_3d_was_chosen_wait(stack):
    stack.review.start()
    stack.viewer.dims.ndisplay = 3
    stack.settle()
    assert "in 3-D" in stack.heard[-1]
    stack.viewer.dims.ndisplay = 2
    stack.review.next()
    assert stack.review.current is not None


def test_behind_the_last_cell_those_that_were_passed_over_come_again(found, review):
    set_scores(found, {1: 0.9, 2: 0.8, 3: 0.2, 4: 0.6})
    start(found, review)
    review.next()
    for _ in range(3):
        review.accept()
    assert review.current[1] == 3
    review.next()
    assert review.current[1] == 3
    assert "last one that is still" in found.heard[-1]
    review.accept()
    assert "all have been looked at" in found.heard[-1]


def test_a_cell_whose_acceptance_was_undone_comes_again(found, review):
    set_scores(found, {1: 0.9, 2: 0.8, 3: 0.2, 4: 0.6})
    start(found, review)
    for _ in range(4):
        review.accept()
    for _ in range(3):
        found.undo()
    review.next()
    assert review.current[1] == 4


def test_cells_that_are_found_after_an_empty_review_are_reviewed(session):
    session.set_clicking(True)
    session.review.next()
    session.settle()
    assert not session.review.on
    session.automatic.run()
    session.settle()
    session.review.next()
    session.settle()
    assert session.review.count.n_left == 4
    assert session.review.current is not None


def test_cells_that_are_found_during_a_review_are_reviewed_behind_the_others(session):
    session.prompting.click(20, 20)
    session.settle()
    start(session, session.review)
    session.prompting.click(60, 30)
    session.settle()
    session.review.accept()
    session.settle()
    assert session.review.current == ((), 2)


def test_cells_that_the_filter_does_not_let_start_no_review_anew(found, review):
    start(found, review)
    review.set_filter(ReviewFilter(min_area=10_000))
    review.next()
    found.settle()
    assert "no cells to review" in found.heard[-1]
    review.set_filter(ReviewFilter())
    assert review.count.n_left == 4
    assert review.current is not None


def reject_on_plane_2(session):
    """Reject the first cell of plane 2 that comes up; return its number, and those that are gone."""
    start(session, session.review)
    while session.review.current[0] != (2,):
        session.review.next()
    label, before = session.review.current[1], np.unique(labels_of(session))
    session.review.reject()
    session.settle()
    return label, np.setdiff1d(before, np.unique(labels_of(session))).tolist()


def test_in_labels_that_lie_elsewhere_the_cell_under_review_is_rejected(viewer, make_session):
    image = viewer.add_image(np.stack([discs()] * 3), name="stack", scale=(3, 1, 1))
    numbers = np.stack([discs() * 0] * 3).astype(np.uint32)
    for plane in range(3):
        numbers[plane][discs(centres=((20, 20),)) > 0] = plane + 1
    labels = viewer.add_labels(numbers, name="of a file")
    viewer.layers.selection.active = image
    session = make_session(viewer)
    session.start()
    session.settle()
    session.use_labels(labels)
    session.settle()
    label, gone = reject_on_plane_2(session)
    assert gone == [label] == [3]


def test_beside_a_layer_in_another_unit_the_cell_under_review_is_rejected(viewer, make_session):
    image = viewer.add_image(np.stack([discs()] * 3), name="a", scale=(2, 0.5, 0.5), units=("um",) * 3)
    viewer.add_image(np.stack([discs()] * 3), name="b", scale=(2000, 500, 500), units=("nm",) * 3)
    viewer.layers.selection.active = image
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run(planes=session.planes())
    session.settle()
    label, gone = reject_on_plane_2(session)
    assert gone == [label]


def test_a_cell_whose_plane_cannot_be_shown_is_not_rejected(viewer, make_session, monkeypatch):
    viewer.add_image(np.stack([discs()] * 3), name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run(planes=session.planes())
    session.settle()
    start(session, session.review)
    viewer.dims.set_point(0, 0 if session.review.current[0] != (0,) else 1)
    monkeypatch.setattr(viewer.dims.__class__, "set_point", lambda *_: None)
    n_cells = len(session.cells)
    with pytest.raises(OptionError, match="does not show the plane"):
        session.review.reject()
    assert len(session.cells) == n_cells


def test_the_channel_that_is_shown_stays(viewer, make_session):
    viewer.add_image(np.stack([np.stack([discs()] * 3)] * 2), name="stack")
    session = make_session(viewer)
    session.start()
    session.set_channels(ChannelMap(None, ChannelRef("stack", 0), False, 1))
    session.settle()
    session.automatic.run(planes=session.planes())
    session.settle()
    viewer.dims.set_point(1, 0)
    start(session, session.review)
    session.review.next()
    assert viewer.dims.current_step[1] == 0
