"""Clicks, drags and strokes, told from what napari says of the mouse."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from vispy.util.keys import CONTROL, SHIFT

from napari_cellsam.widgets._camera import camera_of
from napari_cellsam.widgets._mouse import Mouse


def drag(viewer, places, button=1, modifiers=(), end=None):
    """Press, move along places on the screen, and release, as napari does; positions are half of the places.

    The button is released in the last place, or in another one: moves less than 10 ms apart are left out.
    """
    event = SimpleNamespace(
        type="mouse_press", pos=places[0], position=tuple(p / 2 for p in places[0]), button=button, modifiers=modifiers
    )
    running = [gen for gen in (callback(viewer, event) for callback in viewer.mouse_drag_callbacks) if gen is not None]
    running = [gen for gen in running if next(gen, "over") is None]
    pans = [camera_of(viewer).mouse_pan]
    for kind, place in [("mouse_move", p) for p in places[1:]] + [("mouse_release", end or places[-1])]:
        event.type, event.pos, event.position = kind, place, tuple(p / 2 for p in place)
        running = [gen for gen in running if next(gen, "over") is None]
    return pans[0]


@pytest.fixture
def heard(viewer):
    """Return what a mouse that wants clicks says."""
    state = SimpleNamespace(wanted=True, strokes=False, clicks=[], strokes_heard=[])
    mouse = Mouse(viewer, lambda: state.wanted, lambda: state.strokes)
    mouse.clicked.connect(state.clicks.append)
    mouse.stroked.connect(state.strokes_heard.append)
    yield state
    mouse.close()


def test_press_and_release_in_one_place_is_a_click(viewer, heard):
    drag(viewer, [(40, 60), (41, 61)])
    [click] = heard.clicks
    assert (click.position, click.outside) == ((20.0, 30.0), False)


@pytest.mark.parametrize(
    ("button", "modifiers", "outside", "more"),
    [(1, (CONTROL,), False, True), (1, (), False, False), (1, (CONTROL, SHIFT), True, False)],
)
def test_control_means_more_of_the_active_cell(viewer, heard, button, modifiers, outside, more):
    drag(viewer, [(40, 60)], button, modifiers)
    [click] = heard.clicks
    assert (click.outside, click.more) == (outside, more)


@pytest.mark.parametrize(("button", "modifiers"), [(2, ()), (1, (SHIFT,))])
def test_the_right_button_or_shift_means_outside(viewer, heard, button, modifiers):
    drag(viewer, [(40, 60)], button, modifiers)
    assert heard.clicks[0].outside


def test_a_drag_is_no_click(viewer, heard):
    drag(viewer, [(40, 60), (60, 60), (40, 60)])
    assert heard.clicks == []
    assert heard.strokes_heard == []


def test_a_flick_is_a_drag_although_napari_tells_of_no_move(viewer, heard):
    drag(viewer, [(40, 60)], end=(80, 60))
    assert heard.clicks == []


def test_a_stroke_reaches_to_where_the_button_is_released(viewer, heard):
    heard.strokes = True
    drag(viewer, [(40, 60), (60, 60)], end=(80, 70))
    assert heard.strokes_heard == [[(20.0, 30.0), (30.0, 30.0), (40.0, 35.0)]]
    assert heard.clicks == []


def test_nothing_is_heard_while_clicks_are_not_wanted(viewer, heard):
    heard.wanted = False
    drag(viewer, [(40, 60)])
    assert heard.clicks == []


def test_a_drag_is_a_stroke_where_that_is_wanted_and_the_picture_stays(viewer, heard):
    heard.strokes = True
    assert camera_of(viewer).mouse_pan
    assert not drag(viewer, [(40, 60), (60, 60), (80, 70)])
    assert camera_of(viewer).mouse_pan
    assert heard.strokes_heard == [[(20.0, 30.0), (30.0, 30.0), (40.0, 35.0)]]
    assert heard.clicks == []


def test_a_click_is_a_click_also_where_strokes_are_wanted(viewer, heard):
    heard.strokes = True
    drag(viewer, [(40, 60), (41, 60)])
    assert len(heard.clicks) == 1
    assert heard.strokes_heard == []


def test_naparis_own_tools_have_the_mouse_to_themselves(viewer, heard):
    layer = viewer.add_points([[1, 1]])
    layer.mode = "add"
    drag(viewer, [(40, 60)])
    assert heard.clicks == []


def test_closed_it_hears_nothing(viewer):
    clicks = []
    mouse = Mouse(viewer, lambda: True)
    mouse.clicked.connect(clicks.append)
    mouse.close()
    drag(viewer, [(40, 60)])
    assert clicks == []
