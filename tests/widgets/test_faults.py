"""Faults: whatever happens in the middle of a request, nothing is lost, and the next action works."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from tests.widgets.conftest import DISCS, HANG_MS, discs

from napari_cellsam.errors import OutputError, ServiceUnavailableError
from napari_cellsam.widgets._actions import find_action, run_action
from napari_cellsam.widgets.segment_dock import SegmentDock

AREA = int((discs(centres=DISCS[:1]) > 0).sum())
FIRST, SECOND, THIRD, FOURTH = DISCS


def labels(session):
    return np.asarray(session.target.layer.data)


def areas(session):
    """Return the areas of all cells, by number."""
    numbers, counts = np.unique(labels(session), return_counts=True)
    return {int(n): int(c) for n, c in zip(numbers, counts, strict=True) if n}


def cells_at(session, *places):
    """Return how many cells lie at some places."""
    return len({int(labels(session)[place]) for place in places} - {0})


def click(session, place, **options):
    session.prompting.click(*place, **options)
    session.settle()


def run(session, action_id):
    run_action(session, find_action(action_id))
    session.settle()


def point_at(session, place):
    session.viewer.cursor.position = tuple(session.source.layer.data_to_world(place))


def release(session, client):
    client.release.set()
    session.settle()


def as_zarr(pixels):
    """Return pixels as a zarr array in memory."""
    made = zarr.create_array(store=zarr.storage.MemoryStore(), shape=pixels.shape, dtype=pixels.dtype)
    made[...] = pixels
    return made


# --- the layers, while something is under way

CHANGES = {
    "image renamed": lambda viewer: setattr(viewer.layers["discs"], "name", "picture"),
    "labels renamed": lambda viewer: setattr(viewer.layers["discs cells"], "name", "mine now"),
    "layers reordered": lambda viewer: viewer.layers.reverse(),
    "labels invisible": lambda viewer: setattr(viewer.layers["discs cells"], "visible", False),
    "image invisible": lambda viewer: setattr(viewer.layers["discs"], "visible", False),
    "labels active": lambda viewer: setattr(viewer.layers.selection, "active", viewer.layers["discs cells"]),
    "nothing active": lambda viewer: viewer.layers.selection.clear(),
    "labels more transparent": lambda viewer: setattr(viewer.layers["discs cells"], "opacity", 0.2),
    "labels shown as contours": lambda viewer: setattr(viewer.layers["discs cells"], "contour", 1),
    "points added": lambda viewer: viewer.add_points(np.array([[1, 1]]), name="points"),
    "other labels removed": lambda viewer: viewer.layers.remove("other labels"),
}


@pytest.fixture
def begun(session):
    """Return a session with one cell, and other layers of the user's."""
    session.viewer.add_labels(np.zeros((100, 110), np.uint8), name="other labels")
    session.viewer.layers.selection.active = session.viewer.layers["discs"]
    click(session, FIRST)
    return session


@pytest.mark.parametrize("change", CHANGES)
def test_clicks_that_wait_for_their_answers_are_not_lost(begun, client, change):
    client.hold()
    for place in (SECOND, THIRD):
        begun.prompting.click(*place)
    CHANGES[change](begun.viewer)
    release(begun, client)
    assert sorted(areas(begun).values()) == [AREA] * 3
    click(begun, FOURTH)
    assert sorted(areas(begun).values()) == [AREA] * 4
    assert len(begun.history) == 4


@pytest.mark.parametrize("change", CHANGES)
def test_an_automatic_run_goes_on(begun, client, change):
    client.hold()
    run_action(begun, find_action("segment_image"))
    CHANGES[change](begun.viewer)
    release(begun, client)
    assert sorted(areas(begun).values()) == [AREA] * 4
    run(begun, "undo")
    assert areas(begun) == {1: AREA}


@pytest.mark.parametrize("what", ["clicks", "run"])
def test_an_image_that_is_removed_takes_its_requests_with_it(begun, client, what):
    client.hold()
    if what == "clicks":
        for place in (SECOND, THIRD, FOURTH):
            begun.prompting.click(*place)
    else:
        run_action(begun, find_action("segment_image"))
    layer = begun.target.layer
    begun.viewer.layers.remove("discs")
    release(begun, client)
    assert begun.source is None
    assert np.count_nonzero(layer.data) == AREA
    assert [layer.name for layer in begun.viewer.layers] == ["other labels", "discs cells"]


@pytest.mark.parametrize("what", ["clicks", "run"])
def test_what_was_asked_of_one_image_is_never_written_into_the_cells_of_another(begun, client, what):
    client.hold()
    if what == "clicks":
        for place in (SECOND, THIRD, FOURTH):
            begun.prompting.click(*place)
    else:
        run_action(begun, find_action("segment_image"))
    begun.viewer.add_image(discs(centres=((50, 50),)), name="second")
    release(begun, client)
    assert begun.source.layer.name == "second"
    assert not begun.has_target
    click(begun, (50, 50))
    assert areas(begun) == {1: AREA}
    begun.viewer.layers.selection.active = begun.viewer.layers["discs"]
    click(begun, SECOND)
    assert cells_at(begun, FIRST, SECOND) == 2


@pytest.mark.parametrize("what", ["clicks", "run"])
def test_a_removed_labels_layer_does_not_come_back_by_itself(begun, client, what):
    client.hold()
    if what == "clicks":
        for place in (SECOND, THIRD, FOURTH):
            begun.prompting.click(*place)
    else:
        run_action(begun, find_action("segment_image"))
    begun.viewer.layers.remove("discs cells")
    release(begun, client)
    assert [layer.name for layer in begun.viewer.layers] == ["discs", "other labels"]
    click(begun, FOURTH)
    assert areas(begun) == {1: AREA}


def test_replacing_cells_of_a_layer_that_is_removed_meanwhile_is_quiet(begun, client, monkeypatch):
    run(begun, "segment_image")
    begun.rule = "replace"
    reader = begun.image_reader(begun.plane)

    def slow(call):
        assert client.release.wait(20)
        return reader()

    monkeypatch.setattr(begun, "image_reader", lambda plane: slow)
    client.hold()
    run_action(begun, find_action("segment_image"))
    begun.viewer.layers.remove("discs cells")
    release(begun, client)
    assert [layer.name for layer in begun.viewer.layers] == ["discs", "other labels"]


def test_another_labels_layer_is_not_written_into_by_what_was_asked_for_the_first(begun, client):
    client.hold()
    for place in (SECOND, THIRD):
        begun.prompting.click(*place)
    begun.use_labels(begun.viewer.layers["other labels"])
    release(begun, client)
    assert areas(begun) == {}
    click(begun, FOURTH)
    assert areas(begun) == {1: AREA}


# --- the user puts other data into the labels layer


def test_an_array_of_the_users_is_written_into_with_numbers_that_it_does_not_have(begun, client):
    other = np.zeros((100, 110), np.uint32)
    other[90:95, 90:95] = 700
    client.hold()
    begun.prompting.click(*SECOND)
    begun.viewer.layers["discs cells"].data = other
    release(begun, client)
    click(begun, THIRD)
    assert areas(begun)[700] == 25
    assert areas(begun)[701] == AREA
    assert cells_at(begun, SECOND, THIRD) == 2


def test_undo_never_changes_what_the_user_put_in_its_place(begun):
    other = np.full((100, 110), 3, np.uint32)
    begun.viewer.layers["discs cells"].data = other
    begun.settle()
    run(begun, "undo")
    assert (labels(begun) == 3).all()
    run(begun, "redo")
    assert (labels(begun) == 3).all()


def test_an_automatic_run_goes_on_into_other_data(begun, client):
    client.hold()
    run_action(begun, find_action("segment_image"))
    other = np.zeros((100, 110), np.uint32)
    other[90:95, 90:95] = 700
    begun.viewer.layers["discs cells"].data = other
    release(begun, client)
    assert areas(begun) == {700: 25} | dict.fromkeys(range(701, 705), AREA)


@pytest.mark.parametrize("shape", [(50, 60), (200, 300), (2, 100, 110)])
@pytest.mark.parametrize("what", ["click", "run"])
def test_data_of_another_shape_is_left_alone_and_cells_go_into_a_new_layer(begun, client, shape, what):
    client.hold()
    if what == "click":
        begun.prompting.click(*SECOND)
    else:
        run_action(begun, find_action("segment_image"))
    layer = begun.target.layer
    try:
        layer.data = np.zeros(shape, np.uint32)
    except ValueError as error:
        if "matmul" not in str(error):
            raise
        pytest.skip("napari 0.6 itself fails when a layer gets another number of axes")
    release(begun, client)
    assert not np.asarray(layer.data).any()
    assert any("shape" in text and "discs cells" in text for text in begun.heard)
    click(begun, THIRD)
    assert begun.target.layer.unique_id != layer.unique_id
    assert cells_at(begun, THIRD) == 1


def test_data_of_another_kind_is_written_with_its_own_limit(begun):
    begun.target.layer.data = np.full((100, 110), 255, np.uint8) * (discs(centres=DISCS[:1]) > 0)
    begun.settle()
    with pytest.raises(OutputError, match="uint8"):
        begun.prompting.click(*SECOND)


# --- the service


@pytest.mark.parametrize("action", ["segment_image", "redo_cell"])
def test_a_service_that_fails_and_comes_back_loses_nothing(begun, client, action):
    point_at(begun, FIRST)
    client.failure = ServiceUnavailableError("the service died")
    run(begun, action)
    assert areas(begun) == {1: AREA}
    assert begun.heard[-1] == "the service died"
    client.failure = None
    run(begun, action)
    assert cells_at(begun, FIRST) == 1
    click(begun, SECOND)
    assert cells_at(begun, FIRST, SECOND) == 2


def test_cells_that_came_before_the_service_died_stay_and_are_one_step(begun, client, qtbot):
    client.hold()
    run_action(begun, find_action("segment_image"))
    client.release.set()
    qtbot.waitUntil(lambda: len(begun.cells) > 1 or not begun.automatic.running, timeout=HANG_MS)
    client.failure = ServiceUnavailableError("the service died")
    begun.settle()
    client.failure = None
    n_found = len(areas(begun))
    assert n_found == len(begun.cells)
    run(begun, "segment_image")
    assert sorted(areas(begun).values()) == [AREA] * 4


def test_a_refinement_that_failed_is_forgotten_and_the_next_one_works(begun, client):
    client.failure = ServiceUnavailableError("the service died")
    click(begun, (25, 20), outside=True)
    client.failure = None
    click(begun, (15, 20), outside=True)
    assert labels(begun)[15, 20] == 0
    assert labels(begun)[25, 20] == labels(begun)[FIRST] == 1
    assert len(begun.history) == 2


def test_the_clicks_of_a_failed_cell_do_not_keep_its_place(session, client):
    client.failure = ServiceUnavailableError("the service died")
    click(session, FIRST)
    client.failure = None
    click(session, FIRST)
    assert list(areas(session).values()) == [AREA]


# --- the window


def test_two_viewers_with_requests_in_both_get_each_its_own_cells(
    session, client, make_napari_viewer_proxy, make_session
):
    other_viewer = make_napari_viewer_proxy()
    other_viewer.add_image(discs(centres=((50, 50), (80, 90))), name="other")
    other = make_session(other_viewer)
    other.start()
    client.hold()
    session.prompting.click(*FIRST)
    other.prompting.click(50, 50)
    run_action(other, find_action("segment_image"))
    session.prompting.click(*SECOND)
    client.release.set()
    session.settle()
    other.settle()
    assert cells_at(session, *DISCS) == cells_at(session, FIRST, SECOND) == 2
    assert sorted(areas(other).values()) == [AREA, AREA]
    session.undo()
    assert len(areas(other)) == 2


def test_closing_one_viewer_leaves_the_requests_of_the_other(session, client, make_napari_viewer_proxy, make_session):
    other_viewer = make_napari_viewer_proxy()
    other_viewer.add_image(discs(), name="other")
    other = make_session(other_viewer)
    other.start()
    client.hold()
    session.prompting.click(*FIRST)
    other.prompting.click(*SECOND)
    other.close()
    other_viewer.close()
    release(session, client)
    assert areas(session) == {1: AREA}


def test_a_viewer_that_is_closed_in_the_middle_ends_everything(make_napari_viewer_proxy, make_session, client):
    viewer = make_napari_viewer_proxy()
    viewer.add_image(discs(), name="discs")
    session = make_session(viewer)
    dock = SegmentDock(viewer, session)
    viewer.window.add_dock_widget(dock, name="Segment cells")
    client.hold()
    session.prompting.click(*FIRST)
    run_action(session, find_action("segment_image"))
    dock.close()
    viewer.close()
    client.release.set()
    assert session.jobs.n_running == 0
    assert not session.automatic.running
    assert session.connection.state == "off"


def test_a_dock_that_is_closed_and_opened_in_the_middle_takes_up_the_cells(viewer, make_session, client):
    viewer.add_image(discs(), name="discs")
    first = make_session(viewer)
    dock = SegmentDock(viewer, first)
    viewer.window.add_dock_widget(dock, name="Segment cells")
    click(first, FIRST)
    client.hold()
    first.prompting.click(*SECOND)
    run_action(first, find_action("segment_image"))
    viewer.window.remove_dock_widget(dock)
    dock.close()
    client.release.set()
    second = make_session(viewer)
    dock = SegmentDock(viewer, second)
    viewer.window.add_dock_widget(dock, name="Segment cells")
    second.settle()
    assert second.target.layer.name == "discs cells"
    assert areas(second) == {1: AREA}
    click(second, SECOND)
    assert areas(second) == {1: AREA, 2: AREA}
    second.undo()
    assert areas(second) == {1: AREA}
    viewer.window.remove_dock_widget(dock)
    dock.close()


def test_an_answer_that_comes_in_3d_is_written_and_the_next_click_is_refused(viewer, make_session, client):
    viewer.add_image(np.stack([discs(), discs()]), name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    client.hold()
    session.prompting.click(*FIRST)
    run_action(session, find_action("segment_image"))
    viewer.dims.ndisplay = 3
    release(session, client)
    assert cells_at_plane(session, 0) == 4
    run(session, "segment_image")
    assert "2-D" in session.heard[-1]
    viewer.dims.ndisplay = 2
    session.undo()
    viewer.dims.set_current_step(0, 1)
    click(session, FIRST)
    assert cells_at_plane(session, 1) == 1


def cells_at_plane(session, plane):
    """Return how many cells a plane has."""
    return len(np.unique(labels(session)[plane])) - 1


def test_a_brush_between_two_clicks_is_undone_in_its_order(session):
    click(session, FIRST)
    layer = session.target.layer
    layer.brush_size = 5
    layer.paint((90, 10), 9)
    click(session, SECOND)
    assert set(areas(session)) == {1, 9, 10}
    for left in ({1, 9}, {1}, set()):
        run(session, "undo")
        assert set(areas(session)) == left


@pytest.mark.parametrize("paint", ["paint", "fill", "erase"])
def test_what_is_painted_while_an_answer_is_on_its_way_is_kept(session, client, paint):
    click(session, FIRST)
    client.hold()
    session.prompting.click(*SECOND)
    layer = session.target.layer
    layer.brush_size = 5
    if paint == "fill":
        layer.fill(FIRST, 8)
    else:
        layer.paint(FIRST if paint == "erase" else (15, 60), 0 if paint == "erase" else 8)
    before = labels(session).copy()
    release(session, client)
    after = labels(session)
    assert np.array_equal(after[before > 0], before[before > 0])
    assert cells_at(session, (25, 60)) == 1
    for _ in range(3):
        run(session, "undo")
    assert areas(session) == {}


# --- layers of the user's


@pytest.mark.parametrize(
    ("dtype", "highest"),
    [("uint8", 254), ("uint16", 65534), ("uint16", 1000), ("int64", 65535), ("int32", 65535), ("uint64", 65535)],
)
def test_a_layer_of_the_users_gets_the_next_number(session, dtype, highest):
    pixels = np.zeros((100, 110), dtype)
    pixels[90:95, 90:95] = highest
    own = session.viewer.add_labels(pixels, name="mine")
    session.use_labels(own)
    session.settle()
    click(session, FIRST)
    assert areas(session) == {highest: 25, highest + 1: AREA}
    assert np.asarray(own.data).dtype == dtype
    point_at(session, (92, 92))
    run(session, "delete_cell")
    assert areas(session) == {highest + 1: AREA}
    session.undo()
    assert areas(session) == {highest: 25, highest + 1: AREA}


FULL = [("uint8", 255), ("int8", 127), ("uint16", 65535), ("int16", 32767), ("uint32", 2**32 - 1), ("int64", 2**32 - 1)]


@pytest.mark.parametrize(("dtype", "highest"), FULL)
def test_a_full_layer_refuses_new_cells_with_what_to_do_and_nothing_wraps(session, dtype, highest):
    pixels = np.zeros((100, 110), dtype)
    pixels[90:95, 90:95] = highest
    session.use_labels(session.viewer.add_labels(pixels, name="mine"))
    session.settle()
    with pytest.raises(OutputError, match=rf"'mine'.*{dtype}.*{highest}.*new labels layer"):
        session.prompting.click(*FIRST)
    assert areas(session) == {highest: 25}
    run(session, "segment_image")
    assert "'mine'" in session.heard[-1]
    assert areas(session) == {highest: 25}
    run(session, "use_new_labels")
    click(session, FIRST)
    assert areas(session) == {1: AREA}


def test_a_layer_that_fills_up_in_the_middle_of_a_run_keeps_what_fits(session):
    pixels = np.zeros((100, 110), np.uint8)
    pixels[90:95, 90:95] = 253
    session.use_labels(session.viewer.add_labels(pixels, name="mine"))
    session.settle()
    run(session, "segment_image")
    assert areas(session) == {253: 25, 254: AREA, 255: AREA}
    assert "'mine'" in session.heard[-1]
    run(session, "undo")
    assert areas(session) == {253: 25}


def test_boxes_that_do_not_fit_into_a_full_layer_are_told_of(session):
    pixels = np.zeros((100, 110), np.uint8)
    pixels[90:95, 90:95] = 254
    session.use_labels(session.viewer.add_labels(pixels, name="mine"))
    session.settle()
    session.prompting.boxes([(12, 12, 28, 28), (12, 52, 28, 68)])
    session.settle()
    assert areas(session) == {254: 25, 255: AREA}
    assert any("'mine'" in text for text in session.heard)


@pytest.mark.parametrize("number", [-1, 2**32, 2**40])
def test_numbers_that_cannot_be_kept_apart_are_refused(session, number):
    pixels = np.zeros((100, 110), np.int64)
    pixels[10:30, 10:30] = number
    session.use_labels(session.viewer.add_labels(pixels, name="mine"))
    session.settle()
    point_at(session, FIRST)
    for action in ("delete_cell", "take_up_cell", "redo_cell"):
        run(session, action)
        assert "'mine'" in session.heard[-1]
    assert (labels(session)[10:30, 10:30] == number).all()


def read_only():
    pixels = np.zeros((100, 110), np.uint32)
    pixels.setflags(write=False)
    return pixels


@pytest.mark.parametrize("make", [read_only, lambda: da.zeros((100, 110), dtype=np.uint32)], ids=["read-only", "dask"])
def test_a_layer_that_cannot_be_written_is_refused_with_what_to_do(session, make):
    own = session.viewer.add_labels(make(), name="mine")
    with pytest.raises(OutputError, match=r"'mine'.*new labels layer"):
        session.use_labels(own)
    click(session, FIRST)
    assert session.target.layer.name == "discs cells"
    assert not np.asarray(own.data).any()


def test_a_zarr_array_is_written_in_place(session):
    array = as_zarr(np.zeros((100, 110), np.uint16))
    session.use_labels(session.viewer.add_labels(array, name="mine"))
    session.settle()
    click(session, FIRST)
    run(session, "segment_image")
    assert sorted(areas(session).values()) == [AREA] * 4
    assert np.array_equal(array[...], labels(session))
    click(session, (25, 20), outside=True)
    point_at(session, SECOND)
    run(session, "delete_cell")
    for _ in range(len(session.history)):
        session.undo()
    assert not array[...].any()


def test_our_own_layer_that_becomes_read_only_is_left_alone(begun):
    layer = begun.target.layer
    layer.data = read_only()
    begun.settle()
    assert any("'discs cells'" in text for text in begun.heard)
    click(begun, SECOND)
    assert begun.target.layer.unique_id != layer.unique_id
    assert areas(begun) == {1: AREA}


# --- while a large step is being undone

CROWD = [(y, x) for y in range(10, 390, 20) for x in range(10, 390, 20)]


@pytest.fixture
def undoing(viewer, make_session):
    """Return a session that takes hundreds of cells back just now."""
    viewer.add_image(discs((400, 400), CROWD), name="crowd")
    session = make_session(viewer)
    session.start()
    run(session, "segment_image")
    assert len(session.cells) == len(CROWD)
    session.undo()
    assert session.writing
    return session


def test_hundreds_of_cells_are_taken_back_and_done_again(undoing):
    undoing.settle()
    assert areas(undoing) == {}
    undoing.redo()
    assert undoing.writing
    undoing.settle()
    assert len(areas(undoing)) == len(undoing.cells) == len(CROWD)


def test_whoever_is_quick_with_undo_and_redo_gets_every_cell_back(undoing):
    for action in ("redo", "undo", "undo", "redo"):
        run_action(undoing, find_action(action))
    undoing.settle()
    assert len(areas(undoing)) == len(undoing.cells) == len(CROWD)


def test_a_click_in_the_middle_makes_its_cell_where_the_old_one_is_gone(undoing, qtbot):
    qtbot.waitUntil(lambda: cells_at(undoing, CROWD[-1]) == 0, timeout=HANG_MS)
    click(undoing, CROWD[-1])
    assert list(areas(undoing).values()) == [AREA]
    assert set(areas(undoing)) == {record.label for record in undoing.cells}
    undoing.undo()
    assert areas(undoing) == {}


def test_a_brush_in_the_middle_keeps_its_stroke(undoing):
    layer = undoing.target.layer
    layer.brush_size = 5
    layer.paint((2, 2), 999)
    undoing.settle()
    assert set(areas(undoing)) == {999}
    undoing.undo()
    assert areas(undoing) == {}


def test_a_dock_that_is_closed_in_the_middle_leaves_nothing_half_done(undoing):
    layer = undoing.target.layer
    undoing.close()
    assert not np.asarray(layer.data).any()


@pytest.mark.parametrize("change", ["removed", "other data", "other shape"])
def test_a_layer_that_changes_in_the_middle_is_left_as_the_user_wants_it(undoing, qtbot, change):
    layer, viewer = undoing.target.layer, undoing.viewer
    if change == "removed":
        viewer.layers.remove(layer.name)
    else:
        layer.data = np.full((400, 400) if change == "other data" else (30, 30), 5, np.uint32)
    qtbot.waitUntil(lambda: not undoing.writing, timeout=HANG_MS)
    if change != "removed":
        assert (np.asarray(layer.data) == 5).all()
    run(undoing, "segment_image")
    assert len(areas(undoing)) == (1 if change == "other data" else len(CROWD))


def test_another_image_in_the_middle_does_not_stop_the_undoing(undoing, qtbot):
    layer = undoing.target.layer
    undoing.viewer.add_image(discs(), name="second")
    qtbot.waitUntil(lambda: not np.asarray(layer.data).any(), timeout=HANG_MS)
    click(undoing, FIRST)
    assert areas(undoing) == {1: AREA}
