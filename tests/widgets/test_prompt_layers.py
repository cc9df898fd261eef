"""The layers of prompts: what is drawn in ours becomes cells, and so does the user's own by choice."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tests.widgets.conftest import DISCS, discs
from vispy.util.keys import SHIFT

from napari_cellsam.errors import ImageShapeError, ServiceUnavailableError
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._prompt_layers import PromptLayers

AREA = int((discs(centres=DISCS[:1]) > 0).sum())


@pytest.fixture
def layers(session):
    made = PromptLayers(session)
    yield made
    made.close()


def box(place, reach=9):
    y, x = place
    return np.array([(y - reach, x - reach), (y - reach, x + reach), (y + reach, x + reach), (y + reach, x - reach)])


def ours(session):
    """Return our layer, or None."""
    return next((layer for layer in session.viewer.layers if layer.name.endswith("prompts")), None)


def draw(session, qtbot, *shapes):
    """Put shapes ``(corners, kind)`` into our layer, as the drawing of them ends, and wait until they are gone."""
    ours(session).add(list(shapes))
    vanish(session, qtbot)


def vanish(session, qtbot):
    qtbot.waitUntil(lambda: ours(session) is None or len(ours(session).data) == 0, timeout=5000)
    session.settle()


def labels(session):
    return np.asarray(session.target.layer.data)


def areas(session):
    """Return the areas of all cells, by number."""
    numbers, counts = np.unique(labels(session), return_counts=True)
    return {int(n): int(c) for n, c in zip(numbers, counts, strict=True) if n}


class Hand:
    """Draws with the mouse in a layer, as napari hears of it."""

    def __init__(self, layer):
        self._layer = layer
        self._pressed = False
        self._now = SimpleNamespace()  # the one event that callbacks hold while a button is pressed

    def _event(self, kind, y, x, modifiers=()):
        vars(self._now).update(
            type=kind,
            position=tuple(self._layer.data_to_world((y, x))),
            pos=np.array([x, y], float) * 20,
            modifiers=modifiers,
            button=1,
            buttons=[1],
            dims_displayed=[0, 1],
            is_dragging=self._pressed,
            view_direction=None,
            up_direction=None,
        )
        return self._now

    def press(self, y, x, modifiers=()):
        from napari.utils.interactions import mouse_press_callbacks

        self._pressed = True
        mouse_press_callbacks(self._layer, self._event("mouse_press", y, x, modifiers))

    def move(self, y, x):
        from napari.utils.interactions import mouse_move_callbacks

        mouse_move_callbacks(self._layer, self._event("mouse_move", y, x))

    def release(self, y, x):
        from napari.utils.interactions import mouse_release_callbacks

        mouse_release_callbacks(self._layer, self._event("mouse_release", y, x))
        self._pressed = False

    def double_click(self, y, x):
        from napari.utils.interactions import mouse_double_click_callbacks

        mouse_double_click_callbacks(self._layer, self._event("mouse_double_click", y, x))

    def click(self, y, x):
        self.move(y, x)
        self.press(y, x)
        self.release(y, x)

    def drag(self, *places, modifiers=()):
        self.press(*places[0], modifiers)
        for place in places[1:]:
            self.move(*place)
        self.release(*places[-1])


@pytest.fixture
def hand(make_napari_viewer, make_session, client):
    """Return what draws with the mouse in a viewer: session, prompt layers and a hand for our layer."""
    viewer = make_napari_viewer()
    viewer.add_image(discs(), name="discs")
    session = make_session(viewer)
    session.start()
    session.settle()
    layers = PromptLayers(session)
    yield SimpleNamespace(session=session, layers=layers, on=lambda: Hand(ours(session)))
    layers.close()


# --- our layer


@pytest.mark.parametrize(
    ("begin", "mode"),
    [("draw_boxes", "add_rectangle"), ("draw_polygons", "add_polygon"), ("scribble", "add_path")],
)
def test_each_tool_is_one_call_in_the_one_layer_of_ours(layers, session, begin, mode):
    for _ in range(2):
        getattr(layers, begin)()
        layer = session.viewer.layers.selection.active
        assert layer.name == "discs prompts"
        assert str(layer.mode) == mode
        assert "napari-cellsam" in layer.metadata
    assert [layer.name for layer in session.viewer.layers] == ["discs", "discs cells", "discs prompts"]


def test_stopping_removes_the_layer_and_the_image_is_the_active_one(layers, session):
    layers.draw_boxes()
    layers.stop()
    assert ours(session) is None
    assert session.viewer.layers.selection.active.name == "discs"
    assert layers.drawing is None


def test_stopping_leaves_the_layer_alone_that_the_user_chose(layers, session):
    layers.draw_boxes()
    session.viewer.layers.selection.active = session.target.layer
    assert layers.drawing is None
    layers.stop()
    assert session.viewer.layers.selection.active.name == "discs cells"


def test_it_tells_what_is_drawn(layers, session):
    heard = []
    layers.changed.connect(lambda: heard.append(layers.drawing))
    layers.draw_boxes()
    layers.scribble(outside=True)
    ours(session).mode = "pan_zoom"
    assert heard == ["boxes", "scribble outside", None]


def test_the_user_may_remove_the_layer_and_begin_again(layers, session, qtbot):
    layers.draw_boxes()
    session.viewer.layers.remove(ours(session))
    assert layers.drawing is None
    layers.draw_boxes()
    draw(session, qtbot, (box(DISCS[0]), "rectangle"))
    assert areas(session) == {1: AREA}


def test_another_image_has_a_layer_of_its_own(layers, session):
    layers.draw_boxes()
    session.viewer.add_image(discs(), name="second")
    session.settle()
    assert ours(session) is None
    layers.draw_boxes()
    assert ours(session).name == "second prompts"


def test_without_an_image_nothing_can_be_drawn_or_used(viewer, make_session):
    session = make_session(viewer)
    session.start()
    layers = PromptLayers(session)
    for begin in (layers.draw_boxes, layers.draw_polygons, layers.scribble, layers.use_active_layer):
        with pytest.raises(NoImageError, match="open one"):
            begin()
    layers.close()
    assert len(viewer.layers) == 0


# --- shapes become cells


@pytest.mark.parametrize("kind", ["rectangle", "ellipse"])
def test_a_box_or_an_ellipse_becomes_a_cell_and_vanishes(layers, session, qtbot, kind):
    layers.draw_boxes()
    draw(session, qtbot, (box(DISCS[0]), kind))
    assert areas(session) == {1: AREA}
    record = session.cells.get((), 1)
    assert record.origin == "prompted"
    assert record.prompts[0].box_yxyx.tolist() == [11.5, 11.5, 28.5, 28.5]
    assert session.viewer.layers.selection.active.name == "discs prompts"
    assert layers.drawing == "boxes"


def test_several_shapes_are_one_step(layers, session, qtbot):
    layers.draw_boxes()
    draw(session, qtbot, (box(DISCS[0]), "rectangle"), (box(DISCS[1]), "polygon"), (box(DISCS[2]), "ellipse"))
    assert areas(session) == {1: AREA, 2: AREA, 3: AREA}
    assert len(session.history) == 1
    assert session.history.undo_title == "3 shapes"
    session.undo()
    assert areas(session) == {}
    session.redo()
    assert len(areas(session)) == 3


def test_a_cell_does_not_leave_its_polygon(layers, session, qtbot):
    layers.draw_polygons()
    half = np.array([(10, 10), (10, 30), (20, 30), (20, 10)], float)
    draw(session, qtbot, (half, "polygon"))
    assert 0.4 * AREA < areas(session)[1] < 0.7 * AREA
    assert not labels(session)[21:].any()
    assert len(session.cells.get((), 1).prompts[0].inside_yx) >= 1


def test_a_polygon_where_the_model_sees_nothing_is_the_cell_as_drawn(layers, session, qtbot):
    layers.draw_polygons()
    draw(session, qtbot, (np.array([(80, 5), (80, 24), (95, 24), (95, 5)], float), "polygon"))
    assert areas(session) == {1: 16 * 20}
    record = session.cells.get((), 1)
    assert (record.origin, record.predicted_iou) == ("manual", None)


def test_a_shape_that_is_too_small_vanishes_and_that_is_said(layers, session, qtbot, client):
    layers.draw_boxes()
    draw(session, qtbot, (box((20, 20), 0.3), "rectangle"))
    assert "too small" in session.heard[-1]
    assert not any(kind == "prompts" for kind, _ in client.asked)


def test_shapes_whose_question_failed_stay_and_go_with_the_next_one(layers, session, qtbot, client):
    layers.draw_boxes()
    client.failure = ServiceUnavailableError("gone")
    ours(session).add([box(DISCS[0])], shape_type="rectangle")
    qtbot.waitUntil(lambda: "gone" in session.heard, timeout=5000)
    assert len(ours(session).data) == 1
    client.failure = None
    draw(session, qtbot, (box(DISCS[1]), "rectangle"))
    assert areas(session) == {1: AREA, 2: AREA}
    assert len(session.history) == 1


@pytest.mark.parametrize("how", ["failed", "undone", "cancelled"])
def test_a_shape_never_becomes_a_cell_of_another_plane(viewer, make_session, qtbot, client, how):
    viewer.add_image(np.stack([discs(), discs()]), name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    viewer.dims.set_point(0, 0)
    session.shapes.draw_boxes()
    client.hold()
    client.failure = ServiceUnavailableError("gone") if how == "failed" else None
    ours(session).add([box(DISCS[0])], shape_type="rectangle")
    qtbot.waitUntil(lambda: session.jobs.n_running > 0, timeout=5000)
    if how == "failed":
        client.release.set()
        qtbot.waitUntil(lambda: "gone" in session.heard, timeout=5000)
    elif how == "undone":
        session.undo()
    else:
        session.cancel()
    client.release.set()
    session.settle()
    client.failure = None
    viewer.dims.set_point(0, 1)
    draw(session, qtbot, (box(DISCS[1]), "rectangle"))
    first, second = labels(session)
    assert np.count_nonzero(second) == AREA
    assert np.count_nonzero(first) == (AREA if how == "failed" else 0)


def test_a_shape_that_is_asked_for_is_not_asked_for_again(layers, session, qtbot, client):
    layers.draw_boxes()
    client.hold()
    for place in DISCS[:2]:
        ours(session).add([box(place)], shape_type="rectangle")
        n = sum(kind == "prompts" for kind, _ in client.asked)
        qtbot.waitUntil(lambda n=n: sum(kind == "prompts" for kind, _ in client.asked) > n, timeout=5000)
    client.release.set()
    vanish(session, qtbot)
    assert sorted(areas(session)) == [1, 2]
    assert [number for kind, number in client.asked if kind == "prompts"] == [1, 1]


def test_removing_the_layer_in_the_middle_of_a_question_still_makes_the_cell(layers, session, qtbot, client):
    layers.draw_boxes()
    client.hold()
    ours(session).add([box(DISCS[0])], shape_type="rectangle")
    qtbot.waitUntil(lambda: session.jobs.n_running == 1, timeout=5000)
    session.viewer.layers.remove(ours(session))
    client.release.set()
    session.settle()
    assert areas(session) == {1: AREA}


def test_shapes_lie_where_the_image_is(viewer, make_session, qtbot):
    viewer.add_image(discs(), name="placed", scale=(0.5, 0.5), rotate=25, translate=(30, -4))
    session = make_session(viewer)
    session.start()
    session.settle()
    layers = PromptLayers(session)
    layers.draw_boxes()
    assert np.allclose(ours(session).data_to_world(DISCS[0]), session.source.layer.data_to_world(DISCS[0]))
    draw(session, qtbot, (box(DISCS[0]), "rectangle"))
    assert areas(session) == {1: AREA}
    layers.close()


def test_the_cells_of_a_stack_go_into_the_plane_that_is_shown(viewer, make_session, qtbot):
    viewer.add_image(np.stack([np.zeros((100, 110), np.uint8), discs()]), name="stack")
    session = make_session(viewer)
    session.start()
    layers = PromptLayers(session)
    viewer.dims.set_current_step(0, 1)
    session.settle()
    layers.draw_boxes()
    draw(session, qtbot, (box(DISCS[0]), "rectangle"))
    assert [int(plane.max()) for plane in labels(session)] == [0, 1]
    layers.close()


# --- scribbles


def test_a_scribble_becomes_the_active_cell(layers, session, qtbot):
    layers.scribble()
    draw(session, qtbot, (np.array([(17, 17), (20, 20), (23, 23)], float), "path"))
    assert areas(session) == {1: AREA}
    assert session.prompting.active.label == 1
    assert len(session.prompting.active.inside) >= 3


def test_a_scribble_that_begins_in_the_active_cell_refines_it(layers, session, qtbot):
    session.prompting.click(*DISCS[0])
    session.settle()
    layers.scribble()
    draw(session, qtbot, (np.array([(20, 20), (20, 25), (24, 20)], float), "path"))
    assert list(areas(session)) == [1]
    assert len(session.prompting.active.inside) > 2
    assert session.history.undo_title == "refine 1"


def test_a_scribble_outside_takes_a_part_away(layers, session, qtbot):
    session.prompting.click(*DISCS[0])
    session.settle()
    layers.scribble(outside=True)
    draw(session, qtbot, (np.array([(25, 14), (25, 20), (25, 26)], float), "path"))
    assert areas(session)[1] < AREA
    assert not labels(session)[25].any()
    session.undo()
    assert areas(session) == {1: AREA}


def test_several_scribbles_at_once_are_a_cell_each_in_one_step(layers, session, qtbot):
    layers.scribble()
    lines = [np.array([(y - 3, x), (y, x), (y + 3, x)], float) for y, x in DISCS]
    draw(session, qtbot, *((line, "path") for line in lines))
    assert sorted(areas(session).values()) == [AREA] * 4
    assert len(session.history) == 1


# --- with the mouse


def test_a_box_that_is_drawn_with_the_mouse_becomes_a_cell(hand, qtbot):
    hand.layers.draw_boxes()
    hand.on().drag((11, 11), (20, 20), (29, 29))
    vanish(hand.session, qtbot)
    assert areas(hand.session) == {1: AREA}


def test_an_unfinished_polygon_is_left_alone_also_when_answers_come(hand, qtbot, client):
    hand.layers.draw_boxes()
    client.hold()
    hand.on().drag((11, 11), (20, 20), (29, 29))
    qtbot.waitUntil(lambda: ("prompts", 1) in client.asked, timeout=5000)
    hand.layers.draw_polygons()
    on = hand.on()
    for place in ((11, 51), (11, 69), (29, 69), (29, 51)):
        on.click(*place)
    client.release.set()
    hand.session.settle()
    assert areas(hand.session) == {1: AREA}
    assert len(ours(hand.session).data) == 2  # the box waits, as its removal would end the drawing
    on.double_click(29, 51)
    vanish(hand.session, qtbot)
    assert areas(hand.session) == {1: AREA, 2: AREA}


@pytest.mark.parametrize("how", ["another tool", "no tool", "another layer"])
@pytest.mark.parametrize("n_corners", [1, 4])
def test_a_polygon_that_is_given_up_leaves_nothing_and_the_next_shape_works(hand, qtbot, client, how, n_corners):
    hand.layers.draw_polygons()
    on = hand.on()
    for y, x in ((11, 11), (11, 29), (29, 29), (29, 11))[:n_corners]:
        on.click(y, x)
    if how == "another tool":
        hand.layers.draw_boxes()
    elif how == "no tool":
        ours(hand.session).mode = "pan_zoom"
    else:
        hand.session.viewer.layers.selection.active = hand.session.source.layer
    vanish(hand.session, qtbot)
    assert not any(kind == "prompts" for kind, _ in client.asked)
    hand.layers.draw_boxes()
    hand.on().drag((11, 51), (20, 60), (29, 69))
    vanish(hand.session, qtbot)
    assert areas(hand.session) == {1: AREA}


def test_a_line_with_shift_takes_a_part_away_and_the_next_one_does_not(hand, qtbot):
    session = hand.session
    session.prompting.click(*DISCS[0])
    session.settle()
    hand.layers.scribble()
    line = [(25, x) for x in range(14, 27, 2)]
    hand.on().drag(*line, modifiers=(SHIFT,))
    vanish(session, qtbot)
    assert areas(session)[1] < AREA
    assert len(session.prompting.active.outside) > 2
    hand.on().drag(*[(20, x) for x in range(56, 66, 2)])
    vanish(session, qtbot)
    assert areas(session)[2] == AREA


# --- the user's own layers


def test_each_point_of_the_user_becomes_a_cell_in_one_step_and_the_layer_stays(layers, session):
    points = session.viewer.add_points(np.array(DISCS, float), name="mine")
    layers.use_active_layer()
    session.settle()
    assert sorted(areas(session).values()) == [AREA] * 4
    assert session.history.undo_title == "4 points"
    assert np.array_equal(points.data, DISCS)
    assert session.viewer.layers.selection.active.name == "mine"
    session.undo()
    assert areas(session) == {}


def test_each_shape_of_the_user_becomes_a_cell(layers, session):
    line = np.array([(66, 80), (74, 80)], float)
    shapes = session.viewer.add_shapes(
        [(box(DISCS[0]), "rectangle"), (box(DISCS[1]), "ellipse"), (box(DISCS[2]), "polygon"), (line, "line")],
        name="mine",
    )
    layers.use_active_layer()
    session.settle()
    assert sorted(areas(session).values()) == [AREA] * 4
    assert len(session.history) == 1
    assert len(shapes.data) == 4


def test_a_layer_may_lie_in_the_world_as_it_likes(layers, session):
    points = session.viewer.add_points(ndim=2, name="mine", scale=(0.5, 2), rotate=40, translate=(3, -8))
    points.data = np.array([points.world_to_data(place) for place in DISCS])
    session.viewer.layers.selection.active = points
    layers.use_active_layer()
    session.settle()
    assert sorted(areas(session).values()) == [AREA] * 4


def test_only_points_on_the_plane_that_is_shown_count(viewer, make_session):
    viewer.add_image(np.stack([discs(), discs()]), name="stack")
    session = make_session(viewer)
    session.start()
    layers = PromptLayers(session)
    session.viewer.add_points(np.array([(0, *DISCS[0]), (1, *DISCS[1]), (1, *DISCS[2])], float), name="mine")
    viewer.dims.set_current_step(0, 1)
    layers.use_active_layer()
    session.settle()
    assert [len(np.unique(plane)) - 1 for plane in labels(session)] == [0, 2]
    layers.close()


def test_points_on_cells_that_are_there_and_beyond_the_picture_are_left_out(layers, session, client):
    session.prompting.click(*DISCS[0])
    session.settle()
    session.viewer.add_points(np.array([*DISCS[:2], (500, 5)], float), name="mine")
    layers.use_active_layer()
    session.settle()
    assert areas(session) == {1: AREA, 2: AREA}
    assert "1 of 2 points lie on cells, and are left out." in session.heard
    assert session.heard[-1] == "1 of 1 point became a cell."


@pytest.mark.parametrize("kind", ["image", "empty", "elsewhere"])
def test_an_active_layer_without_prompts_is_refused_with_what_to_do(layers, session, kind):
    if kind == "empty":
        session.viewer.add_points(ndim=2, name="mine")
    elif kind == "elsewhere":
        session.viewer.add_points([(900.0, 900.0)], name="mine")
    with pytest.raises(ImageShapeError, match="'mine' lies" if kind == "elsewhere" else "gives points or shapes"):
        layers.use_active_layer()
    assert not session.has_target
