"""The region: drawn, taken from a layer of the user's, and what is found in it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import DISCS, HANG_MS, discs

from napari_cellsam.errors import ImageShapeError
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._region import RegionDrawing
from napari_cellsam.widgets._search_region import Region, lies_inside

AROUND_FIRST = np.array([[5, 5], [5, 38], [38, 38], [38, 5]], float)
TRIANGLE = np.array([[5, 5], [5, 75], [95, 5]], float)  # holds the first three discs but not the last


@pytest.fixture
def drawing(session):
    made = RegionDrawing(session)
    yield made
    made.close()


def found(session):
    """Return which of the discs are cells, first to last."""
    labels = np.asarray(session.target.layer.data)
    return [bool(labels[place]) for place in DISCS]


def draw(session, corners, qtbot):
    """Put a shape into our layer, as the drawing of it ends."""
    layer = next(layer for layer in session.viewer.layers if layer.name.endswith("region"))
    layer.add(corners, shape_type="polygon")
    qtbot.waitUntil(lambda: session.has_target, timeout=HANG_MS)
    session.settle()


# --- the value


def test_a_place_is_in_a_polygon_by_the_even_odd_rule():
    inner = np.array([[2, 2], [2, 8], [8, 8], [8, 2]], float)
    assert lies_inside(inner, 5, 5)
    assert not lies_inside(inner, 1, 5)
    assert not lies_inside(inner, 5, 9)
    bow = np.array([[0, 0], [10, 10], [10, 0], [0, 10]], float)
    assert [lies_inside(bow, *place) for place in ((2, 5), (8, 5), (5, 2), (5, 8))] == [True, True, False, False]


def test_random_places_lie_in_a_circle_as_their_distance_says():
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    circle = np.stack([50 + 20 * np.sin(angles), 40 + 20 * np.cos(angles)], axis=1)
    for y, x in rng.uniform(0, 100, (300, 2)):
        distance = np.hypot(y - 50, x - 40)
        if abs(distance - 20) > 0.1:
            assert lies_inside(circle, y, x) == (distance < 20)


def test_the_pixels_of_a_region_are_the_places_that_lie_in_it():
    rng = np.random.default_rng(0)
    for _ in range(20):  # also beyond the picture, and with edges that cross
        region = Region.around(np.round(rng.uniform(-10, 60, (2, 6, 2))), (40, 50))
        y0, x0, y1, x1 = region.box
        inside = [[region.holds(y, x) for x in range(x0, x1)] for y in range(y0, y1)]
        assert np.array_equal(region.pixels(), inside)


def test_the_box_of_a_region_is_clipped_to_the_picture():
    region = Region.around([[(-5, -5), (-5, 200), (40, 200)]], (100, 110))
    assert region.box == (0, 0, 41, 110)


@pytest.mark.parametrize("polygons", [[], [[(1, 1), (2, 2)]], [np.zeros((3, 3))]])
def test_what_encloses_nothing_is_no_region(polygons):
    with pytest.raises(ImageShapeError, match="three corners"):
        Region.around(polygons, (100, 110))


def test_a_shape_beyond_the_picture_is_refused():
    with pytest.raises(ImageShapeError, match="beyond the image"):
        Region.around([[(200, 200), (200, 300), (300, 300)]], (100, 110))


def test_a_box_that_ends_before_it_begins_is_refused():
    with pytest.raises(ImageShapeError, match="y0 < y1"):
        Region((5, 5, 5, 9))


def test_a_bare_box_is_a_region():
    region = Region.of((0, 0, 10, 10))
    assert region.holds(9.9, 0)
    assert not region.holds(10, 0)
    assert Region.of(None) is None


# --- drawing


def test_what_is_drawn_around_is_searched_in_one_step(session, drawing, qtbot):
    drawing.draw()
    draw(session, AROUND_FIRST, qtbot)
    assert found(session) == [True, False, False, False]
    assert session.history.undo_title == "segment a region"
    session.undo()
    session.settle()
    assert found(session) == [False] * 4


def test_only_cells_whose_middle_lies_in_the_polygon_are_found(session, drawing, qtbot):
    drawing.draw()
    draw(session, TRIANGLE, qtbot)
    assert found(session) == [True, True, True, False]
    assert Region.around([TRIANGLE], (100, 110)).box == (5, 5, 96, 76)


def test_drawing_begins_in_our_layer_and_ends_in_the_one_that_was_active(session, drawing, qtbot):
    layers = session.viewer.layers
    drawing.draw()
    ours = layers.selection.active
    assert (ours.name, str(ours.mode), drawing.drawing) == ("discs region", "add_polygon_lasso", True)
    draw(session, AROUND_FIRST, qtbot)
    assert layers.selection.active.name == "discs"
    assert (str(ours.mode), drawing.drawing) == ("pan_zoom", False)


def test_a_region_can_be_drawn_corner_by_corner(session, drawing):
    drawing.draw(freehand=False)
    assert str(session.viewer.layers.selection.active.mode) == "add_polygon"


def test_a_second_drawing_uses_the_same_layer_and_forgets_the_first_shape(session, drawing, qtbot):
    drawing.draw()
    draw(session, AROUND_FIRST, qtbot)
    drawing.draw()
    assert [layer.name for layer in session.viewer.layers].count("discs region") == 1
    assert len(session.viewer.layers["discs region"].data) == 0


def test_a_region_that_is_changed_later_starts_nothing(session, drawing, client, qtbot):
    drawing.draw()
    draw(session, AROUND_FIRST, qtbot)
    n_asked = len(client.asked)
    session.viewer.layers["discs region"].add(TRIANGLE, shape_type="polygon")
    session.settle()
    assert len(client.asked) == n_asked


def test_our_layer_may_be_removed_while_a_shape_is_awaited(session, drawing):
    drawing.draw()
    session.viewer.layers.remove("discs region")
    assert not drawing.drawing
    drawing.draw()
    assert "discs region" in session.viewer.layers


def test_drawing_ends_when_another_image_is_worked_on(session, drawing, client, qtbot):
    layers = session.viewer.layers
    drawing.draw()
    other = session.viewer.add_image(discs(), name="other")
    layers.selection.active = other
    assert session.source.layer.name == "other"
    assert not drawing.drawing
    assert layers.selection.active.name == "other"
    assert "begin anew" in session.heard[-1]
    layers["discs region"].add(AROUND_FIRST, shape_type="polygon")
    qtbot.wait(20)  # whatever was on its way has arrived then
    session.settle()
    assert not any(kind == "segment" for kind, _ in client.asked)
    layers.remove("discs region")
    drawing.draw()
    draw(session, AROUND_FIRST, qtbot)
    assert session.target.layer.name == "other cells"
    assert found(session) == [True, False, False, False]


def test_drawing_goes_on_when_the_same_image_gets_other_channels(session, drawing, qtbot):
    drawing.draw()
    session.set_channels(session.source.channels)
    assert drawing.drawing
    draw(session, AROUND_FIRST, qtbot)
    assert found(session) == [True, False, False, False]


def test_a_region_is_not_drawn_without_an_image(viewer, make_session):
    session = make_session(viewer)
    session.start()
    drawing = RegionDrawing(session)
    with pytest.raises(NoImageError, match="open one"):
        drawing.draw()
    with pytest.raises(NoImageError, match="open one"):
        drawing.use_active_shape()
    assert len(viewer.layers) == 0
    drawing.close()


def test_on_a_turned_and_stretched_image_the_region_is_in_its_pixels(viewer, make_session, qtbot):
    viewer.add_image(discs(), name="discs", scale=(2, 0.5), rotate=30, translate=(7, -4))
    session = make_session(viewer)
    session.start()
    drawing = RegionDrawing(session)
    drawing.draw()
    draw(session, AROUND_FIRST, qtbot)
    assert found(session) == [True, False, False, False]
    drawing.close()


# --- shapes of the user's


def add_shapes(session, data, kind, **options):
    layer = session.viewer.add_shapes(data, shape_type=kind, name="mine", **options)
    session.viewer.layers.selection.active = layer
    return layer


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "ellipse"])
def test_a_selected_shape_of_the_users_is_a_region_and_stays_as_it_is(session, drawing, kind):
    other = np.array([[50, 60], [50, 95], [90, 95], [90, 60]], float)
    layer = add_shapes(session, [other, AROUND_FIRST], kind)
    layer.selected_data = {1}
    drawing.use_active_shape()
    session.settle()
    assert found(session) == [True, False, False, False]
    assert np.array_equal(layer.data[1], AROUND_FIRST)
    assert (len(layer.data), layer.metadata, layer.name) == (2, {}, "mine")


def test_several_selected_shapes_are_one_region(session, drawing):
    last = np.array([[55, 65], [55, 95], [85, 95], [85, 65]], float)
    layer = add_shapes(session, [AROUND_FIRST, last], "polygon")
    layer.selected_data = {0, 1}
    drawing.use_active_shape()
    session.settle()
    assert found(session) == [True, False, False, True]
    assert len(session.history) == 1


def test_the_only_shape_needs_no_selection_but_one_of_several_does(session, drawing):
    layer = add_shapes(session, [AROUND_FIRST], "polygon")
    layer.selected_data = set()
    drawing.use_active_shape()
    session.settle()
    assert found(session)[0]
    assert session.viewer.layers.selection.active.name == "mine"
    layer.add(TRIANGLE, shape_type="polygon")
    layer.selected_data = set()
    with pytest.raises(ImageShapeError, match="None of the 2 shapes"):
        drawing.use_active_shape()


def test_a_shape_in_other_units_of_place_is_taken_where_it_is_seen(session, drawing):
    add_shapes(session, [AROUND_FIRST / 10], "polygon", scale=(10, 10))
    drawing.use_active_shape()
    session.settle()
    assert found(session) == [True, False, False, False]


def test_a_flat_shape_serves_on_the_plane_of_a_stack_that_is_shown(viewer, make_session):
    viewer.add_image(np.stack([np.zeros((100, 110), np.uint8), discs()]), name="stack")
    session = make_session(viewer)
    session.start()
    drawing = RegionDrawing(session)
    viewer.dims.set_current_step(0, 1)
    add_shapes(session, [AROUND_FIRST], "polygon")
    drawing.use_active_shape()
    session.settle()
    assert {record.plane for record in session.cells} == {(1,)}
    assert len(session.cells) == 1
    drawing.close()


def test_a_line_encloses_nothing(session, drawing):
    add_shapes(session, [np.array([[5, 5], [30, 30]], float)], "line")
    with pytest.raises(ImageShapeError, match="is a line, which encloses nothing"):
        drawing.use_active_shape()


def test_an_active_layer_without_shapes_is_no_region(session, drawing):
    with pytest.raises(ImageShapeError, match="has no shapes"):
        drawing.use_active_shape()


def test_a_shape_is_searched_in_its_own_plane_or_not_at_all(viewer, make_session):
    viewer.add_image(np.stack([discs(), discs()]), name="stack")
    session = make_session(viewer)
    session.start()
    drawing = RegionDrawing(session)
    add_shapes(session, [np.insert(AROUND_FIRST, 0, 1, axis=1)], "polygon")
    viewer.dims.set_current_step(0, 0)
    with pytest.raises(ImageShapeError, match="another plane"):
        drawing.use_active_shape()
    viewer.dims.set_current_step(0, 1)
    drawing.use_active_shape()
    session.settle()
    assert [record.plane for record in session.cells] == [(1,)]
    drawing.close()


def test_a_shape_is_where_it_is_seen_though_the_window_has_another_unit(viewer, make_session):
    image = viewer.add_image(discs(), name="a", scale=(0.5, 0.5), units=("um", "um"))
    viewer.add_image(discs(), name="b", scale=(500, 500), units=("nm", "nm"))
    viewer.layers.selection.active = image
    session = make_session(viewer)
    session.start()
    session.settle()
    drawing = RegionDrawing(session)
    add_shapes(session, [AROUND_FIRST * 0.5], "polygon", units=("um", "um"))
    drawing.use_active_shape()
    session.settle()
    assert found(session) == [True, False, False, False]
    drawing.close()


def test_cells_of_a_region_are_as_large_as_those_of_the_plane(viewer, make_session, client, qtbot):
    client.diameter = 100.0
    viewer.add_image(discs((600, 600), centres=((300, 300),)), name="discs")
    session = make_session(viewer)
    session.start()
    qtbot.waitUntil(lambda: session.diameter(()) == 100.0)
    session.automatic.run(region=(200, 200, 400, 400))
    session.settle()
    assert client.segmented_with[-1].diameter == 100.0
    assert client.asked[-1] == ("segment", (500, 500)), "one and a half diameters around it"
    session.automatic.run()
    session.settle()
    assert client.segmented_with[-1].diameter is None, "the model looks at the whole plane"
    client.diameter = 30.0
    session.prefer(model="another")
    session.connection.reconnect()
    assert session.diameter(()) != 100.0, "another model may see other sizes"


def test_cells_that_the_part_which_is_searched_cuts_off_are_left_out(viewer, make_session):
    picture = np.zeros((600, 600), np.uint8)
    picture[195:205, 60:395] = 200  # its middle is in the region, one end far beyond
    picture[0:50, 190:210] = 200  # at the border of the picture
    viewer.add_image(picture, name="long")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run(region=(0, 200, 300, 400))
    session.settle()
    assert not session.has_target or not np.asarray(session.target.layer.data)[200].any()
