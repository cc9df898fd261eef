"""The hover preview: what a click would make, outlined under the moving cursor."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tests.widgets.conftest import DISCS, HANG_MS, discs

from napari_cellsam.errors import ServiceInternalError
from napari_cellsam.types import Mask
from napari_cellsam.widgets._actions import find_action, run_action
from napari_cellsam.widgets._hover import HoverPreview
from napari_cellsam.widgets._pace import Pace
from napari_cellsam.widgets._preview_outline import PreviewOutline

AREA = int((discs(centres=DISCS[:1]) > 0).sum())
QUICK_S, SLOW_S = 0.005, 0.080


class Clock:
    """A clock that goes on by as much as an answer takes, whenever one is drawn from it twice."""

    def __init__(self):
        self.now = 0.0
        self.step = QUICK_S / 2  # it is read when the question goes out, and when the answer comes

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hover(session, clock):
    """Return a preview that is on, in click mode."""
    made = HoverPreview(session, clock)
    session.set_clicking(True)
    made.set_on(True)
    yield made
    made.close()


def move(hover, session, y, x):
    """Let the cursor be somewhere, and wait for what comes of it."""
    hover.moved(tuple(session.source.layer.data_to_world((y, x))))
    session.settle()


def n_asked(client):
    return sum(kind == "prompts" for kind, _ in client.asked)


def preview(session):
    """Return our layer, or None."""
    return next((layer for layer in session.viewer.layers if layer.name.endswith("preview")), None)


def around(session):
    """Return the box around what is outlined."""
    layer = preview(session)
    assert layer.visible
    corners = np.concatenate(list(layer.data))
    return (*corners.min(0), *corners.max(0))


def labels(session):
    return np.asarray(session.target.layer.data)


# --- what is seen


def test_the_cell_under_the_cursor_is_outlined(hover, session):
    move(hover, session, *DISCS[0])
    assert around(session) == pytest.approx((12.5, 12.5, 27.5, 27.5))
    assert not labels(session).any()
    assert len(session.history) == 0


def test_nothing_is_outlined_where_the_model_sees_no_cell(hover, session):
    move(hover, session, 5, 90)
    assert not preview(session).visible
    move(hover, session, *DISCS[0])
    move(hover, session, 5, 90)
    assert not preview(session).visible


def test_the_layer_is_there_before_the_first_outline(hover, session):
    layer = preview(session)
    assert not layer.visible
    move(hover, session, *DISCS[0])
    assert preview(session) is layer
    assert layer.visible


def test_another_cell_takes_the_place_of_the_first(hover, session):
    move(hover, session, *DISCS[0])
    move(hover, session, *DISCS[1])
    assert around(session) == pytest.approx((12.5, 52.5, 27.5, 67.5))
    assert sum(layer.name.endswith("preview") for layer in session.viewer.layers) == 1


def test_pieces_and_holes_have_lines_of_their_own(viewer, session):
    crop = np.zeros((60, 60), bool)
    crop[:40, :40] = True
    crop[10:20, 10:20] = False
    crop[50:, 50:] = True
    outline = PreviewOutline(viewer)
    outline.show(Mask(crop, (5, 5), 0.9), session.source)
    assert len(outline.layer.data) == 3
    assert all(len(line) <= 80 and np.array_equal(line[0], line[-1]) for line in outline.layer.data)
    assert set(outline.layer.shape_type) == {"path"}
    outline.close()


@pytest.mark.parametrize(
    "placement",
    [{"scale": (0.5, 2.0)}, {"rotate": 30, "translate": (10, -7)}, {"affine": [[0, 1, 5], [1, 0, 3], [0, 0, 1]]}],
)
def test_the_outline_lies_where_the_image_is(viewer, make_session, placement):
    image = viewer.add_image(discs(), name="placed", **placement)
    session = make_session(viewer)
    session.start()
    session.settle()
    hover = HoverPreview(session)
    session.set_clicking(True)
    hover.set_on(True)
    move(hover, session, *DISCS[2])
    layer = preview(session)
    middle = np.mean([layer.data_to_world(corner) for corner in layer.data[0][:-1]], axis=0)
    assert np.allclose(middle, image.data_to_world(DISCS[2]), atol=0.5)
    hover.close()


def test_the_line_is_as_wide_on_the_screen_at_any_zoom(hover, session):
    camera = getattr(session.viewer, "scene", session.viewer).camera  # napari 0.9, before
    camera.zoom = 1
    move(hover, session, *DISCS[0])
    width = preview(session).edge_width[0]
    camera.zoom = 4
    move(hover, session, *DISCS[1])
    assert preview(session).edge_width[0] == pytest.approx(width / 4)


# --- our layer is nobody's business


def test_the_active_layer_and_the_selection_stay(hover, session):
    viewer = session.viewer
    chosen = {layer.name for layer in viewer.layers.selection}
    move(hover, session, *DISCS[0])
    assert viewer.layers.selection.active.name == "discs"
    assert {layer.name for layer in viewer.layers.selection} == chosen


def test_the_layer_does_not_become_the_active_one(hover, session):
    move(hover, session, *DISCS[0])
    session.viewer.layers.selection.active = preview(session)
    assert session.viewer.layers.selection.active.name == "discs"


def test_it_is_taken_neither_for_an_image_nor_for_labels(hover, session):
    move(hover, session, *DISCS[0])
    assert session.source.layer.name == "discs"
    assert session.target.layer.name == "discs cells"
    assert "napari-cellsam" in preview(session).metadata


@pytest.mark.parametrize("way", ["click mode", "hover", "close", "image"])
def test_the_layer_goes_with_what_it_belongs_to(hover, session, way):
    move(hover, session, *DISCS[0])
    if way == "click mode":
        session.set_clicking(False)
    elif way == "hover":
        hover.toggle()
    elif way == "close":
        hover.close()
    else:
        session.viewer.layers.remove("discs")
    assert preview(session) is None


def test_the_user_turns_it_off_by_removing_the_layer(hover, session):
    move(hover, session, *DISCS[0])
    session.viewer.layers.remove(preview(session))
    assert not hover.on
    move(hover, session, *DISCS[1])
    assert preview(session) is None


def test_undo_leaves_it_alone(hover, session):
    session.prompting.click(*DISCS[1])
    session.settle()
    move(hover, session, *DISCS[0])
    session.undo()
    assert not labels(session).any()
    assert hover.on


# --- when it is asked


def test_one_question_is_under_way_and_the_newest_place_follows(hover, session, client):
    client.hold()
    for place in ((20, 20), (5, 90), (40, 5), DISCS[1]):
        hover.moved(place)
    assert session.jobs.n_running == 1
    client.release.set()
    session.settle()
    assert n_asked(client) == 2
    assert around(session) == pytest.approx((12.5, 52.5, 27.5, 67.5))


def test_an_answer_is_not_shown_once_the_cursor_has_gone(hover, session, client):
    client.hold()
    hover.moved(DISCS[0])
    hover.left()
    client.release.set()
    session.settle()
    assert not preview(session).visible
    assert n_asked(client) == 1


def test_nothing_is_asked_in_the_outline_that_is_shown(hover, session, client):
    move(hover, session, 20, 20)
    move(hover, session, 22, 23)
    assert n_asked(client) == 1
    assert preview(session).visible


def test_nothing_is_asked_on_a_cell_that_is_there(hover, session, client):
    session.prompting.click(*DISCS[0])
    session.settle()
    before = n_asked(client)
    move(hover, session, *DISCS[0])
    assert n_asked(client) == before


@pytest.mark.parametrize("place", [(-3, 5), (5, 111), (100.5, 5)])
def test_nothing_is_asked_beyond_the_picture(hover, session, client, place):
    move(hover, session, *place)
    assert n_asked(client) == 0


def test_nothing_is_asked_without_click_mode_or_the_service(hover, session, client):
    session.connection.state = "starting"
    move(hover, session, *DISCS[0])
    session.connection.state = "ready"
    session.set_clicking(False)
    move(hover, session, *DISCS[0])
    assert n_asked(client) == 0


def test_nothing_is_asked_during_an_automatic_run(hover, session, client):
    client.hold()
    run_action(session, find_action("segment_image"))
    hover.moved(DISCS[0])
    assert n_asked(client) == 0
    client.release.set()
    session.settle()


def test_without_an_image_nothing_happens(viewer, make_session, client):
    session = make_session(viewer)
    session.start()
    hover = HoverPreview(session)
    hover.set_on(True)
    hover.moved((5, 5))
    assert client.asked == []
    hover.close()


def test_questions_go_in_the_slot_of_previews(hover, session, client, monkeypatch):
    slots = []
    answer = client.segment_prompts

    def segment_prompts(*arguments, **options):
        slots.append((options["slot"], threading.current_thread() is threading.main_thread()))
        return answer(*arguments, **options)

    monkeypatch.setattr(client, "segment_prompts", segment_prompts)
    move(hover, session, *DISCS[0])
    assert slots == [("hover", False)]


def test_another_plane_hides_it(viewer, make_session):
    viewer.add_image(np.stack([discs(), np.zeros((100, 110), np.uint8)]), name="stack")
    session = make_session(viewer)
    session.start()
    hover = HoverPreview(session)
    session.set_clicking(True)
    hover.set_on(True)
    viewer.dims.set_current_step(0, 0)
    session.settle()
    hover.moved((0, *DISCS[0]))
    session.settle()
    assert preview(session).visible
    viewer.dims.set_current_step(0, 1)
    assert not preview(session).visible
    hover.close()


# --- a click takes what is seen


def test_a_click_on_the_very_pixel_takes_the_mask_that_is_shown(hover, session, client):
    move(hover, session, 20, 20)
    session.prompting.click(20.3, 19.8)
    assert int((labels(session) == 1).sum()) == AREA
    assert n_asked(client) == 1
    assert session.prompting.active.label == 1
    session.settle()
    assert not preview(session).visible
    session.undo()
    assert not labels(session).any()


def test_a_click_on_another_pixel_asks_the_model(hover, session, client):
    move(hover, session, 20, 20)
    session.prompting.click(22, 20)
    session.settle()
    assert n_asked(client) == 2
    assert int((labels(session) == 1).sum()) == AREA


def test_a_click_after_the_picture_has_changed_asks_the_model(hover, session, client):
    move(hover, session, 20, 20)
    session.source.layer.data = discs(centres=((22, 22),))
    session.prompting.click(20, 20)
    session.settle()
    assert n_asked(client) == 2
    assert labels(session)[28, 22] == 1


def test_a_click_after_another_model_was_chosen_asks_that_one(hover, session, client):
    move(hover, session, 20, 20)
    session.store.update(hover=True, model="other")
    session.connection.reconnect()
    assert not preview(session).visible
    session.prompting.click(20, 20)
    session.settle()
    assert n_asked(client) == 2


def test_an_answer_of_a_model_that_is_not_chosen_any_more_is_not_shown(hover, session, client):
    client.hold()
    hover.moved(tuple(session.source.layer.data_to_world((20, 20))))
    session.store.update(hover=True, model="other")
    session.connection.reconnect()
    client.release.set()
    session.settle()
    assert not preview(session).visible


def test_a_click_while_nothing_is_shown_asks_the_model(hover, session, client):
    move(hover, session, 20, 20)
    hover.hide()
    session.prompting.click(20, 20)
    session.settle()
    assert n_asked(client) == 2


# --- the pace


def test_a_slow_model_makes_it_pause_and_that_is_said_once(hover, session, client, clock):
    clock.step = SLOW_S
    for n in range(40):
        move(hover, session, *DISCS[n % 4])
        if hover.paused:
            break
    assert hover.paused
    assert hover.latency_s > 0.04
    assert not preview(session).visible
    assert sum("for now" in text for text in session.heard) == 1
    before = n_asked(client)
    move(hover, session, *DISCS[0])
    assert n_asked(client) == before
    clock.now += 60
    for n in range(40):
        move(hover, session, *DISCS[n % 4])
    assert n_asked(client) > before
    assert sum("for now" in text for text in session.heard) == 1


def test_a_quick_model_is_asked_on_and_on(hover, session, clock):
    for n in range(20):
        move(hover, session, *DISCS[n % 4])
    assert not hover.paused
    assert hover.latency_s <= 0.04


def test_another_image_ends_the_pause(hover, session, client, clock):
    clock.step = SLOW_S
    for n in range(12):
        move(hover, session, *DISCS[n % 4])
    assert hover.paused
    session.viewer.add_image(discs(), name="second")
    session.settle()
    assert not hover.paused


def test_the_first_answer_on_a_picture_and_single_slow_ones_do_not_count():
    clock = Clock()
    pace = Pace(clock)
    assert not pace.note(5.0)
    for seconds in (0.01, 0.5, 0.01, 0.5, 0.01, 0.01):
        assert not pace.note(seconds)
    assert pace.latency_s == 0.01
    assert not pace.paused


def test_a_failure_is_told_once_and_leaves_the_user_in_peace(hover, session, client):
    client.failure = ServiceInternalError("out of memory")
    for _ in range(5):
        move(hover, session, *DISCS[0])
    assert session.heard.count("out of memory") == 1
    client.failure = None
    hover.set_on(True)
    move(hover, session, *DISCS[0])
    assert preview(session).visible


# --- on and off


def test_it_is_on_as_the_user_prefers_until_that_is_changed(session):
    hover = HoverPreview(session)
    assert not hover.on
    hover.toggle()
    assert hover.on
    session.store.value.hover = True
    session.store.changed.emit(session.store.value)
    assert hover.on
    hover.toggle()
    assert not hover.on
    assert "not outlined" in session.heard[-1]
    session.store.changed.emit(session.store.value)
    assert hover.on
    hover.close()


def test_it_tells_when_it_is_turned_on_or_off(hover, qtbot):
    heard = []
    hover.changed.connect(lambda: heard.append(hover.on))
    hover.toggle()
    hover.toggle()
    assert heard == [False, True]


def test_closing_in_the_middle_of_a_question_is_quiet(hover, session, client, qtbot):
    client.hold()
    hover.moved(DISCS[0])
    hover.close()
    client.release.set()
    qtbot.waitUntil(lambda: session.jobs.n_running == 0, timeout=HANG_MS)
    assert preview(session) is None
    session.prompting.click(*DISCS[0])
    session.settle()
    assert labels(session)[DISCS[0]] == 1
