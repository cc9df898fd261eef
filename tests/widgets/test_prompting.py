"""Prompting: what is pointed at becomes a cell, whatever happens between the click and the answer."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import DISCS, discs

from napari_cellsam.errors import ServiceUnavailableError
from napari_cellsam.types import Mask, Prompt
from napari_cellsam.widgets._actions import find_action, run_action
from napari_cellsam.widgets._batch import place_batch
from napari_cellsam.widgets._shape_prompts import DrawnPrompt, box_prompt, polygon_prompt, sample_path

SHAPE = (100, 110)
AREA = int((discs(centres=DISCS[:1]) > 0).sum())
SQUARE = np.array([(12, 12), (12, 28), (28, 28), (28, 12)], float)


def labels(session):
    return np.asarray(session.target.layer.data)


def areas(session):
    """Return the areas of all cells, by number."""
    numbers, counts = np.unique(labels(session), return_counts=True)
    return {int(n): int(c) for n, c in zip(numbers, counts, strict=True) if n}


def click(session, y, x, **options):
    session.prompting.click(y, x, **options)
    session.settle()


def prompts_of(session, label):
    return session.cells.get((), label).prompts


@pytest.fixture
def other_tool(session):
    """Return a session that writes into a layer of another tool's: cell 7 in two pieces, of which nothing is known."""
    data = np.zeros(SHAPE, np.int64)
    data[16:25, 16:25] = 7
    data[24:27, 40:43] = 7
    session.use_labels(session.viewer.add_labels(data, name="other tool"))
    session.viewer.layers.selection.active = session.source.layer
    session.settle()
    return session


# --- between a click and its answer


def test_two_quick_clicks_on_background_make_two_cells(session, client):
    client.hold()
    session.prompting.click(*DISCS[0])
    session.prompting.click(*DISCS[1])
    client.release.set()
    session.settle()
    assert areas(session) == {1: AREA, 2: AREA}
    assert session.prompting.active.label == 2


def test_a_double_click_makes_one_cell_and_takes_it_up(session, client):
    client.hold()
    session.prompting.click(20, 20)
    session.prompting.click(21, 20)
    client.release.set()
    session.settle()
    assert areas(session) == {session.prompting.active.label: AREA}
    assert len(session.history) == 1


def test_a_click_outside_before_the_first_answer_belongs_to_the_same_cell(session, client):
    client.hold()
    session.prompting.click(20, 20)
    session.prompting.click(25, 20, outside=True)
    client.release.set()
    session.settle()
    assert list(areas(session)) == [1]
    assert areas(session)[1] < AREA
    assert labels(session)[25, 20] == 0


def test_a_refinement_that_fails_leaves_the_cell_and_its_prompts_as_they_were(session, client):
    click(session, 20, 20)
    client.failure = ServiceUnavailableError("gone")
    click(session, 25, 20, outside=True)
    assert session.heard[-1] == "gone"
    assert session.prompting.active.outside == ()
    client.failure = None
    click(session, 15, 20, outside=True)
    assert session.prompting.active.outside == ((15.0, 20.0),)
    assert labels(session)[25, 20] == 1


def test_a_new_cell_whose_question_fails_is_not_the_active_one(session, client):
    client.failure = ServiceUnavailableError("gone")
    click(session, 20, 20)
    assert session.prompting.active is None
    assert areas(session) == {}


def test_a_failure_of_an_older_question_leaves_the_newer_cell_alone(session, client, monkeypatch):
    answer = client._mask

    def fail_at_the_first(pieces, prompt):
        if tuple(prompt.inside_yx[0]) == DISCS[0]:
            raise ServiceUnavailableError("gone")
        return answer(pieces, prompt)

    monkeypatch.setattr(client, "_mask", fail_at_the_first)
    client.hold()
    session.prompting.click(*DISCS[0])
    session.prompting.click(*DISCS[1])
    newer = session.prompting.active
    client.release.set()
    session.settle()
    assert "gone" in session.heard
    assert session.prompting.active.label == newer.label
    assert areas(session) == {newer.label: AREA}


def test_a_cell_that_is_deleted_while_it_is_asked_for_stays_deleted(session, client):
    click(session, 20, 20)
    client.hold()
    session.prompting.click(22, 20)
    session.prompting.delete(20, 20)
    client.release.set()
    session.settle()
    assert areas(session) == {}
    assert session.prompting.active is None


def test_an_accepted_cell_that_is_taken_up_before_its_answer_keeps_what_was_taken_up(session, client):
    click(session, 20, 20)
    client.hold()
    session.prompting.click(25, 20, outside=True)
    session.prompting.accept()
    session.prompting.take_up(20, 20)
    client.release.set()
    session.settle()
    assert areas(session) == {1: AREA}
    assert session.prompting.active.outside == ()


def test_undoing_while_an_answer_is_on_its_way_takes_back_what_it_answers(session, client):
    click(session, 20, 20)
    client.hold()
    session.prompting.click(25, 20, outside=True)
    session.undo()
    client.release.set()
    session.settle()
    assert areas(session) == {1: AREA}
    assert session.prompting.active.outside == ()
    session.undo()
    assert areas(session) == {}


@pytest.mark.parametrize("n_undone", [0, 1, 2, 3])
def test_of_several_clicks_without_an_answer_the_newest_is_taken_back_first(session, client, n_undone):
    click(session, *DISCS[0])
    client.hold()
    for y, x in DISCS[1:3]:
        session.prompting.click(y, x)
    for _ in range(n_undone):
        session.undo()
    client.release.set()
    session.settle()
    kept = [session.target.at((), *place) != 0 for place in DISCS[:3]]
    assert kept == [place < 3 - n_undone for place in range(3)]


def test_undoing_what_was_half_done_leaves_an_older_click_to_be_answered(session, client):
    click(session, *DISCS[0])
    client.hold()
    session.prompting.click(*DISCS[1])
    session.jobs.submit(
        lambda *_: client.release.wait(), on_done=list, on_error=session.failed, on_taken_back=lambda: True
    )
    session.undo()
    assert session.target.at((), *DISCS[0]) == 0
    client.release.set()
    session.settle()
    assert session.target.at((), *DISCS[1]) != 0


def test_an_answer_does_not_bring_back_a_cell_that_is_gone(session, client):
    click(session, 20, 20)
    client.hold()
    session.prompting.redo_with_model(20, 20)
    session.target.layer.fill((20, 20), 0)
    client.release.set()
    session.settle()
    assert areas(session) == {}
    assert session.heard[-1] == "Cell 1 is not there any more."


def test_an_answer_leaves_a_cell_alone_that_was_corrected_meanwhile(session, client):
    click(session, *DISCS[0])
    client.hold()
    session.prompting.redo_with_model(*DISCS[0])
    session.correcting.grow(*DISCS[0])
    grown = areas(session)
    client.release.set()
    session.settle()
    assert areas(session) == grown
    assert grown[1] > AREA


def test_a_deleted_neighbour_gets_nothing_back(session, client, monkeypatch):
    data = np.zeros(session.target.layer.data.shape, np.uint32)
    data[20:40, 20:30], data[20:40, 30:40] = 2, 1
    session.use_labels(session.viewer.add_labels(data, name="other tool"))
    monkeypatch.setattr(client, "_mask", lambda *_: Mask(np.ones((20, 15), bool), (20, 25), 0.9))
    session.prompting.take_up(30, 35)
    session.prompting.click(30, 27, more=True)
    session.settle()
    session.prompting.delete(30, 22)
    assert areas(session) == {1: 300}
    monkeypatch.setattr(client, "_mask", lambda *_: Mask(np.ones((20, 12), bool), (20, 28), 0.9))
    click(session, 30, 26, outside=True)
    assert areas(session) == {1: 240}


def test_a_click_during_an_automatic_run_is_kept_and_the_run_leaves_its_place_out(session, client):
    client.hold()
    run_action(session, find_action("segment_image"))
    session.prompting.click(*DISCS[3])
    client.release.set()
    session.settle()
    assert sorted(areas(session).values()) == [AREA] * 4
    assert labels(session)[DISCS[3]] == session.prompting.active.label


def test_a_click_that_a_run_overtakes_takes_up_the_cell_of_the_run(session, client):
    client.hold()
    session.prompting.click(20, 20)
    asked = session.prompting.active.label
    session.target.layer.data_setitem(tuple(np.mgrid[13:28, 13:28].reshape(2, -1)), 40)
    client.release.set()
    session.settle()
    assert asked not in areas(session)
    assert session.prompting.active.label == 40
    assert "came up there meanwhile" in session.heard[-1]


def test_a_click_whose_cell_others_fill_makes_none_and_says_so(session, client, monkeypatch):
    session.target.layer.data_setitem(tuple(np.mgrid[13:28, 50:70].reshape(2, -1)), 40)
    elsewhere = Mask(np.ones((5, 5), bool), (15, 55), 0.9)
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: elsewhere)
    click(session, 20, 20)
    assert list(areas(session)) == [40]
    assert "Other cells fill this place" in session.heard[-1]
    assert session.prompting.active is None


def test_an_answer_of_nothing_leaves_the_prompts_as_they_were(session, client, monkeypatch):
    click(session, 20, 20)
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: Mask(np.zeros((0, 0), bool), (0, 0), 0.1))
    click(session, 22, 20)
    assert len(session.prompting.active.inside) == 1
    assert areas(session) == {1: AREA}


# --- a cell of another tool


@pytest.mark.parametrize("act", ["refine", "outline anew", "delete", "take up, refine, restore"])
def test_undo_brings_back_a_cell_of_another_tool_exactly(other_tool, act):
    session = other_tool
    before, kind = labels(session).copy(), session.target.layer.data.dtype
    if act == "delete":
        session.prompting.delete(20, 20)
    elif act == "outline anew":
        session.prompting.redo_with_model(20, 20)
    else:
        session.prompting.take_up(20, 20)
        session.prompting.click(20, 22)
    session.settle()
    assert not np.array_equal(labels(session), before)
    if act.endswith("restore"):
        session.prompting.restore()
        assert np.array_equal(labels(session), before)
    while len(session.history):
        session.undo()
    assert np.array_equal(labels(session), before)
    assert labels(session).dtype == kind
    assert session.cells.get((), 7) is None


def test_restoring_brings_back_pieces_that_a_refinement_reached_later(session, client, monkeypatch):
    data = np.zeros((100, 400), np.uint16)
    data[10:20, 10:20] = 7
    data[10:20, 300:310] = 7  # too far to be seen when the cell is taken up
    session.viewer.add_image(np.zeros((100, 400), np.uint8), name="wide")
    session.use_labels(session.viewer.add_labels(data.copy(), name="other tool"))
    session.settle()
    session.prompting.take_up(15, 15)
    assert session.prompting.active.window[1].stop == 20
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: Mask(np.ones((30, 350), bool), (5, 5), 0.9))
    click(session, 15, 16)
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: Mask(np.ones((4, 4), bool), (12, 12), 0.9))
    click(session, 14, 14)
    assert areas(session) == {7: 16}
    session.prompting.restore()
    assert np.array_equal(labels(session), data)


def test_what_is_corrected_is_the_outline_as_it_is(other_tool, client, monkeypatch):
    session, seen, answer = other_tool, [], client._mask
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: seen.append(prompt) or answer(pieces, prompt))
    session.prompting.take_up(20, 20)
    click(session, 20, 22)
    asked = seen[-1]
    window, own = asked.mask_logits.window, labels(session) == 7
    assert asked.box is None and window[0] < np.nonzero(own)[0].min() and window[3] > np.nonzero(own)[1].max() + 1
    session.prompting.accept()
    session.prompting.redo_with_model(20, 20)
    session.settle()
    anew = seen[-1]
    assert anew.mask_logits is None and anew.box_yxyx is not None and len(anew.inside_yx) == 0


@pytest.fixture
def neighbours(session, client, monkeypatch):
    """Let a square of 20 x 20 be cell 1, of which the left half is cell 2's; the model sees the whole square."""
    data = np.zeros((100, 100), np.uint16)
    data[20:40, 20:30], data[20:40, 30:40] = 2, 1
    session.viewer.add_image(np.zeros((100, 100), np.uint8), name="two")
    session.use_labels(session.viewer.add_labels(data.copy(), name="other tool"))
    session.settle()
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: Mask(np.ones((20, 15), bool), (20, 25), 0.9))
    return data


def test_a_control_click_takes_what_is_another_cells(session, neighbours):
    session.prompting.take_up(30, 35)
    click(session, 30, 36)
    assert np.array_equal(labels(session), neighbours)  # others lose nothing
    session.prompting.click(30, 27, more=True)
    session.settle()
    now = labels(session)
    assert (now[20:40, 25:40] == 1).all() and (now[20:40, 20:25] == 2).all()
    assert session.prompting.active.inside == ((30.0, 36.0), (30.0, 27.0))
    session.undo()
    assert np.array_equal(labels(session), neighbours)


def test_what_is_not_needed_any_more_is_given_back(session, client, neighbours, monkeypatch):
    session.prompting.take_up(30, 35)
    session.prompting.click(30, 27, more=True)
    session.settle()
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: Mask(np.ones((20, 12), bool), (20, 28), 0.9))
    session.prompting.click(30, 26, outside=True)
    session.settle()
    now = labels(session)
    assert (now[20:40, 28:40] == 1).all() and (now[20:40, 20:28] == 2).all()


def test_escape_gives_others_back_what_was_taken(session, neighbours):
    session.prompting.take_up(30, 35)
    session.prompting.click(30, 27, more=True)
    session.settle()
    session.prompting.restore()
    assert np.array_equal(labels(session), neighbours)


def test_a_cell_that_is_taken_wholly_is_gone_and_undo_brings_it_back(session, client, monkeypatch):
    session.automatic.run()
    session.settle()
    before = labels(session).copy()
    one, other = (record.label for record in list(session.cells)[:2])
    at_one, at_other = (tuple(np.argwhere(before == label)[5]) for label in (one, other))
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: Mask(np.ones(before.shape, bool), (0, 0), 0.9))
    session.prompting.take_up(*at_one)
    session.prompting.click(*at_other, more=True)
    session.settle()
    assert not (labels(session) == other).any() and session.cells.get((), other) is None
    others = [record for record in session.cells if record.label not in (one, other)]
    assert others and all((labels(session) == record.label).any() for record in others)
    session.undo()
    assert np.array_equal(labels(session), before)
    assert session.cells.get((), other).origin == "automatic"


def test_a_neighbour_that_lost_pixels_was_edited(session, client, monkeypatch):
    session.automatic.run()
    session.settle()
    one, other = (record.label for record in list(session.cells)[:2])
    now = labels(session)
    at_one, at_other = (tuple(np.argwhere(now == label)[5]) for label in (one, other))
    y, x = at_other
    monkeypatch.setattr(client, "_mask", lambda pieces, prompt: Mask(np.ones((1, 2), bool), (int(y), int(x)), 0.9))
    session.prompting.take_up(*at_one)
    session.prompting.click(y, x, more=True)
    session.settle()
    assert session.cells.get((), other).origin == "edited"
    session.undo()
    assert session.cells.get((), other).origin == "automatic"


def test_a_control_click_without_an_active_cell_makes_none(session):
    session.prompting.click(20, 20, more=True)
    session.settle()
    assert areas(session) == {} and "Control" in session.heard[-1]


def test_a_control_click_on_background_adds_to_the_active_cell(session):
    click(session, 20, 20)
    session.prompting.click(5, 5, more=True)
    session.settle()
    assert list(areas(session)) == [1] and len(session.prompting.active.inside) == 2


def test_a_cell_can_be_corrected_from_outside_alone(other_tool):
    session = other_tool
    session.prompting.take_up(20, 20)
    session.prompting.click(12, 12, outside=True)
    session.settle()
    prompt = prompts_of(session, 7)[-1]
    assert len(prompt.outside_yx) == 1 and prompt.box_yxyx is not None  # where it was: the outline is not kept


def test_a_taken_up_cell_is_a_prompted_one_and_undo_makes_it_unknown_again(other_tool):
    session = other_tool
    session.prompting.take_up(20, 20)
    click(session, 20, 22)
    assert session.cells.get((), 7).origin == "prompted"
    session.undo()
    assert session.cells.get((), 7) is None
    assert session.prompting.active is None


# --- scribbles


def test_a_scribble_on_background_is_one_new_cell_with_its_places(session):
    session.prompting.scribble(((18.0, 18.0), (20.0, 20.0), (22.0, 22.0)))
    session.settle()
    assert areas(session) == {1: AREA}
    assert len(prompts_of(session, 1)[0].inside_yx) == 3
    assert session.history.undo_title == "scribble 1"


def test_a_scribble_that_begins_in_the_active_cell_refines_it(session):
    click(session, 20, 20)
    session.prompting.scribble(((20.0, 20.0), (20.0, 30.0)))
    session.settle()
    assert list(areas(session)) == [1]
    assert session.prompting.active.inside == ((20.0, 20.0), (20.0, 20.0), (20.0, 30.0))


def test_a_scribble_leaves_out_places_on_other_cells(session):
    click(session, *DISCS[1])
    session.prompting.accept()
    session.prompting.scribble(((20.0, 20.0), (20.0, 40.0), (20.0, 60.0)))
    session.settle()
    assert areas(session) == {1: AREA, 2: AREA}
    assert np.array_equal(prompts_of(session, 2)[0].inside_yx, [(20, 20), (20, 40)])


def test_a_scribble_outside_takes_away_and_needs_an_active_cell(session):
    session.prompting.scribble(((25.0, 20.0),), outside=True)
    assert "Click into a cell first" in session.heard[-1]
    click(session, 20, 20)
    session.prompting.scribble(((25.0, 20.0), (15.0, 20.0)), outside=True)
    session.settle()
    assert areas(session)[1] < AREA
    assert labels(session)[25, 20] == labels(session)[15, 20] == 0


def test_a_scribble_that_begins_in_another_cell_changes_nothing(session):
    click(session, 20, 20)
    session.prompting.accept()
    session.prompting.scribble(((20.0, 20.0), (40.0, 40.0)))
    session.settle()
    assert "J takes it up" in session.heard[-1]
    assert len(session.history) == 1


# --- many at once


def test_many_prompts_are_one_step_however_many_questions_they_take(session, client):
    n_before = sum(kind == "prompts" for kind, _ in client.asked)
    places = [DISCS[n % 4] for n in range(30)]
    session.prompting.prompts([Prompt(inside=[place]) for place in places], "30 points")
    session.settle()
    assert sorted(areas(session).values()) == [AREA] * 4
    assert len(session.history) == 1
    assert session.history.undo_title == "30 points"
    assert session.heard[-1] == "4 of 30 points became cells."
    assert sum(kind == "prompts" for kind, _ in client.asked) - n_before == 3
    session.undo()
    assert areas(session) == {}


def test_no_prompts_are_no_question(session, client):
    n_asked = len(client.asked)
    assert not session.prompting.prompts([], "0 boxes").running
    session.prompting.boxes([])
    session.settle()
    assert len(client.asked) == n_asked


def test_a_batch_that_fails_says_so_and_tells_who_asked(session, client):
    told = []
    client.failure = ServiceUnavailableError("gone")
    batch = session.prompting.prompts([Prompt(box=(12, 12, 28, 28))], "1 box", told.append)
    session.settle()
    assert told == [False]
    assert not batch.running
    assert session.heard[-1] == "gone"


def test_undoing_in_the_middle_of_a_batch_stops_it(session, client):
    click(session, *DISCS[3])
    client.hold()
    session.prompting.boxes([(12, 12, 28, 28)])
    session.undo()
    client.release.set()
    session.settle()
    assert areas(session) == {1: AREA}
    assert session.heard[-1] == "Taken back before it was done."


def test_a_box_around_a_cell_that_is_there_makes_no_sliver(session):
    click(session, 20, 20)
    session.target.layer.data_setitem((np.array([13]), np.array([20])), 0)
    session.prompting.boxes([(12, 12, 28, 28)])
    session.settle()
    assert list(areas(session)) == [1]


def test_of_a_manual_cell_no_predicted_iou_is_noted(session):
    mask = Mask(np.ones((5, 5), bool), (40, 5), 0.9)
    made = place_batch(session, (), [(Prompt(box=(40, 5, 44, 9)), mask)], "polygon", origin="manual")
    assert [(record.origin, record.predicted_iou) for record in made] == [("manual", None)]


# --- shapes as prompts


def test_a_box_is_in_centres_of_pixels_and_stays_in_the_picture():
    drawn = box_prompt(np.array([(-10, 4.5), (-10, 20.5), (9.5, 20.5), (9.5, 4.5)]), SHAPE)
    assert drawn.prompt.box_yxyx.tolist() == [0, 5, 9, 20]


@pytest.mark.parametrize("corners", [[(5, 5), (5, 6), (6, 6), (6, 5)], [(-30, 5), (-30, 25), (-9, 25), (-9, 5)]])
def test_a_box_of_a_pixel_or_beyond_the_picture_is_none(corners):
    assert box_prompt(np.array(corners, float), SHAPE) is None
    assert polygon_prompt(np.array(corners, float), SHAPE) is None


def test_the_places_of_a_polygon_lie_deep_inside_and_apart():
    moon = np.array([(10, 10), (10, 70), (25, 70), (25, 25), (70, 25), (70, 10)], float)
    places = polygon_prompt(moon, SHAPE).prompt.inside_yx
    assert 2 <= len(places) <= 3
    assert all((10 < y < 25 and 10 < x < 70) or (10 < x < 25 and 10 < y < 70) for y, x in places)
    assert min(np.hypot(*(a - b)) for n, a in enumerate(places) for b in places[:n]) > 5


def test_the_answer_to_a_polygon_is_cut_off_at_it():
    drawn = polygon_prompt(SQUARE, SHAPE)
    answer = Mask(np.ones((20, 20), bool), (12, 12), 0.8)
    cell, by_hand = drawn.outcome(answer, SHAPE)
    assert not by_hand
    assert cell.score == 0.8
    assert not cell.full(SHAPE)[29:].any()
    assert cell.full(SHAPE)[20, 20]


@pytest.mark.parametrize(
    "answer",
    [
        Mask(np.zeros((0, 0), bool), (0, 0), 0.1),
        Mask(np.ones((4, 4), bool), (14, 14), 0.9),
        Mask(np.ones((90, 90), bool), (5, 5), 0.9),
        Mask(np.ones((9, 9), bool), (60, 60), 0.9),
    ],
)
def test_a_polygon_that_the_model_does_not_understand_is_the_cell_itself(answer):
    cell, by_hand = polygon_prompt(SQUARE, SHAPE).outcome(answer, SHAPE)
    assert by_hand
    assert cell.box == (12, 12, 28, 28)


def test_a_polygon_beyond_the_border_is_cut_off_there():
    drawn = polygon_prompt(SQUARE - 20, SHAPE)
    cell, by_hand = drawn.outcome(Mask(np.zeros((0, 0), bool), (0, 0), 0.1), SHAPE)
    assert by_hand
    assert cell.box == (0, 0, 8, 8)


def test_without_a_polygon_the_answer_is_the_cell():
    answer = Mask(np.ones((3, 3), bool), (1, 1), 0.5)
    assert DrawnPrompt(Prompt(box=(0, 0, 5, 5))).outcome(answer, SHAPE) == (answer, False)


def test_places_along_a_path_are_even_few_and_in_the_picture():
    path = np.array([(50, -20), (50, 50), (90, 50)], float)
    places = sample_path(path, SHAPE)
    assert 3 <= len(places) <= 8
    assert (places >= 0).all()
    assert np.allclose(places[-1], (90, 50))
    assert len(sample_path(np.array([(5, 5), (5, 5.5)]), SHAPE)) == 2
    assert len(sample_path(path - 500, SHAPE)) == 0
