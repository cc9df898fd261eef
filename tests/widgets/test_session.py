"""The session: clicks, automatic runs, and one history of everything, on a model that sees discs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tests.widgets.conftest import DISCS, HANG_MS, discs

from napari_cellsam.errors import ChannelError, ImageShapeError, ImageTooLargeError, ServiceUnavailableError
from napari_cellsam.widgets import _ledgers
from napari_cellsam.widgets._actions import ACTIONS, find_action, run_action
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef
from napari_cellsam.widgets._features import table_of

AREA = int((discs(centres=DISCS[:1]) > 0).sum())


def labels(session):
    return np.asarray(session.target.layer.data)


def areas(session):
    """Return the areas of all cells, by number."""
    numbers, counts = np.unique(labels(session), return_counts=True)
    return {int(n): int(c) for n, c in zip(numbers, counts, strict=True) if n}


def click(session, y, x, **options):
    session.prompting.click(y, x, **options)
    session.settle()


def run(session, action_id):
    run_action(session, find_action(action_id))
    session.settle()


def point_at(session, y, x):
    session.viewer.cursor.position = tuple(session.source.layer.data_to_world((y, x)))


# --- setting up


def test_the_active_image_is_prefetched_and_nothing_is_added_before_it_is_needed(session, client):
    assert [kind for kind, _ in client.asked] == ["prefetch"]
    assert [layer.name for layer in session.viewer.layers] == ["discs"]


def test_the_first_cell_adds_a_labels_layer_and_the_image_stays_active(session):
    click(session, 20, 20)
    assert [layer.name for layer in session.viewer.layers] == ["discs", "discs cells"]
    assert session.viewer.layers.selection.active.name == "discs"


def test_an_image_that_has_another_shape_is_worked_on_when_it_is_clicked_again(session):
    click(session, 20, 20)
    image, cells = session.viewer.layers.selection.active, session.target.layer
    image.data = discs((50, 60), ((20, 20), (20, 40)))
    run(session, "segment_image")
    assert "has changed its shape" in session.heard[-1]
    session.viewer.layers.selection.active = cells
    session.viewer.layers.selection.active = image
    run(session, "segment_image")
    assert session.target.layer != cells
    assert areas(session) == {1: AREA, 2: AREA}


def test_without_an_image_the_user_is_told_what_to_do(viewer, make_session):
    session = make_session(viewer)
    session.start()
    for action in ACTIONS:
        run_action(session, action)
    assert all("open one" in text for text in session.heard if "image" in text)
    assert session.heard
    assert len(viewer.layers) == 0


def test_another_image_has_cells_and_a_history_of_its_own(session):
    click(session, 20, 20)
    session.viewer.add_image(discs()[::-1].copy(), name="second")
    session.settle()
    assert not session.has_target
    click(session, 80, 20)
    assert len(session.history) == 1
    session.viewer.layers.selection.active = session.viewer.layers["discs"]
    session.settle()
    assert session.target.layer.name == "discs cells"
    assert areas(session) == {1: AREA}


def test_a_labels_layer_of_the_user_is_written_only_when_chosen(session):
    own = session.viewer.add_labels(np.zeros((100, 110), np.uint32), name="mine")
    session.viewer.layers.selection.active = session.viewer.layers["discs"]
    click(session, 20, 20)
    assert not np.asarray(own.data).any()
    session.use_labels(own)
    click(session, 20, 60)
    assert np.asarray(own.data).max() == 1


@pytest.mark.parametrize("whose", ["the user's", "a new one of ours"])
def test_each_image_goes_on_in_the_labels_layer_that_was_written_into_last_for_it(session, whose):
    click(session, 20, 20)
    image = session.viewer.layers.selection.active
    if whose == "the user's":
        chosen = session.viewer.add_labels(np.zeros((100, 110), np.uint32), name="mine")
        session.use_labels(chosen)
    else:
        session.use_new_labels()
        chosen = session.target.layer
    session.viewer.add_image(discs()[::-1].copy(), name="second")
    click(session, 80, 20)
    session.viewer.layers.selection.active = image
    assert session.target.layer == chosen
    session.viewer.layers.remove(chosen)
    session.viewer.layers.selection.active = session.viewer.layers["second"]
    session.viewer.layers.selection.active = image
    assert session.target.layer.name == "discs cells"


def test_a_labels_layer_of_another_shape_is_refused(session):
    own = session.viewer.add_labels(np.zeros((9, 9), np.uint32), name="small")
    with pytest.raises(ImageShapeError, match="small"):
        session.use_labels(own)


def test_the_other_channel_belongs_to_the_same_image_and_may_be_removed(viewer, make_session):
    viewer.add_image(discs(), name="cell nuclei")
    viewer.add_image(discs(), name="cell membranes")
    session = make_session(viewer)
    session.start()
    main = session.source.layer
    other = next(layer for layer in viewer.layers if layer.unique_id != main.unique_id)
    assert session.source.uses(other)
    viewer.layers.selection.active = other
    assert session.source.layer.unique_id == main.unique_id
    viewer.layers.remove(other)
    assert session.source.layer.unique_id == main.unique_id
    click(session, 20, 20)
    assert areas(session) == {1: AREA}


@pytest.mark.parametrize("multiscale", [False, True])
def test_the_view_is_in_pixels_of_the_finest_resolution(viewer, make_session, multiscale):
    picture = discs((400, 400), [(200, 200)])
    viewer.add_image([picture, picture[::2, ::2], picture[::4, ::4]] if multiscale else picture, name="picture")
    session = make_session(viewer)
    session.start()
    y0, x0, y1, x1 = session.view()
    assert 0 <= y0 < y1 <= 400
    assert 0 <= x0 < x1 <= 400
    assert y1 - y0 > 200


# --- clicks


def test_one_click_is_one_cell_and_one_step(session):
    click(session, 20, 20)
    assert areas(session) == {1: AREA}
    assert len(session.history) == 1
    record = session.cells.get((), 1)
    assert (record.origin, record.predicted_iou, len(record.prompts)) == ("prompted", 0.8, 1)


def test_a_click_on_nothing_makes_no_cell_and_says_so(session):
    click(session, 5, 90)
    assert areas(session) == {}
    assert "sees no cell" in session.heard[-1]
    assert session.prompting.active is None


def test_a_click_beyond_the_picture_does_nothing(session, client):
    n_asked = len(client.asked)
    for place in ((-3, 5), (5, 110), (100, 5)):
        click(session, *place)
    assert len(client.asked) == n_asked


def test_clicks_in_quick_succession_are_all_answered(session, client):
    client.hold()
    for y, x in DISCS:
        session.prompting.click(y, x)
    client.release.set()
    session.settle()
    assert sorted(areas(session).values()) == [AREA] * 4
    assert len(session.history) == 4


def test_a_click_into_the_active_cell_refines_it(session):
    click(session, 20, 20)
    click(session, 22, 20)
    assert areas(session) == {1: AREA}
    assert len(session.prompting.active.inside) == 2


def test_a_click_outside_takes_a_part_away_and_can_be_undone(session):
    click(session, 20, 20)
    click(session, 25, 20, outside=True)
    assert areas(session)[1] < AREA
    session.undo()
    assert areas(session) == {1: AREA}
    session.undo()
    assert areas(session) == {}
    session.redo()
    session.redo()
    assert areas(session)[1] < AREA


def test_a_click_outside_without_a_cell_is_explained(session):
    click(session, 25, 20, outside=True)
    assert "Click into a cell first" in session.heard[-1]


def test_a_click_on_another_cell_changes_nothing_and_names_the_keys(session):
    click(session, 20, 20)
    click(session, 20, 60)
    click(session, 20, 20)
    assert "J takes it up" in session.heard[-1]
    assert len(session.history) == 2


def test_a_new_cell_takes_no_pixel_of_another(session):
    session.target.layer.data_setitem(tuple(np.mgrid[14:21, 13:28].reshape(2, -1)), 50)
    click(session, 25, 20)
    assert labels(session)[20, 20] == 50
    assert 0 < areas(session)[51] < AREA


def test_the_answer_to_an_older_refinement_is_dropped(session, client):
    click(session, 20, 20)
    client.hold()
    session.prompting.click(25, 20, outside=True)
    session.prompting.click(15, 20, outside=True)
    client.release.set()
    session.settle()
    assert len(session.history) == 2
    assert len(session.prompting.active.outside) == 2


# --- taking up, accepting, restoring, deleting


def test_any_cell_is_taken_up_refined_and_restored(session):
    run(session, "segment_image")
    number = int(labels(session)[20, 20])
    point_at(session, 20, 20)
    run(session, "take_up_cell")
    assert session.prompting.active.label == number
    click(session, 25, 20, outside=True)
    assert areas(session)[number] < AREA
    assert session.cells.get((), number).origin == "prompted"
    run(session, "restore_cell")
    assert areas(session)[number] == AREA
    assert session.cells.get((), number).origin == "automatic"
    assert session.prompting.active is None


def test_a_new_cell_that_is_restored_is_gone(session):
    click(session, 20, 20)
    run(session, "restore_cell")
    assert areas(session) == {}
    assert session.cells.get((), 1) is None
    session.undo()
    assert areas(session) == {1: AREA}


def test_an_accepted_cell_is_refined_no_more(session):
    click(session, 20, 20)
    run(session, "accept_cell")
    click(session, 25, 20, outside=True)
    assert areas(session) == {1: AREA}


def test_the_cell_under_the_cursor_is_deleted_in_one_step(session):
    run(session, "segment_image")
    point_at(session, 20, 60)
    run(session, "delete_cell")
    assert len(areas(session)) == 3
    assert len(session.cells) == 3
    session.undo()
    assert len(areas(session)) == 4
    assert len(session.cells) == 4


def test_the_cell_under_the_cursor_is_outlined_anew(session):
    half = tuple(np.mgrid[13:20, 13:28].reshape(2, -1))
    session.target.layer.data_setitem(half, 7)
    point_at(session, 15, 20)
    run(session, "redo_cell")
    assert labels(session)[15, 20] == 7
    assert session.cells.get((), 7).origin == "prompted"


@pytest.mark.parametrize("action", ["take_up_cell", "redo_cell", "delete_cell"])
def test_without_a_cell_under_the_cursor_that_is_said(session, action):
    point_at(session, 90, 5)
    run(session, action)
    assert "no cell under the cursor" in session.heard[-1]
    assert len(session.history) == 0


def test_boxes_become_cells_in_one_step(session):
    session.prompting.boxes([(12, 12, 28, 28), (12, 52, 28, 68), (0, 90, 4, 99)])
    session.settle()
    assert sorted(areas(session).values()) == [AREA, AREA]
    assert session.heard[-1] == "2 of 3 boxes became cells."
    session.undo()
    assert areas(session) == {}


# --- automatic runs


def test_one_action_finds_every_cell_and_one_undo_takes_them_back(session):
    run(session, "segment_image")
    assert sorted(areas(session).values()) == [AREA] * 4
    assert {record.origin for record in session.cells} == {"automatic"}
    assert session.heard[-1] == "4 cells were added."
    session.undo()
    assert areas(session) == {}
    assert len(session.cells) == 0
    session.redo()
    assert len(areas(session)) == len(session.cells) == 4


def test_cells_that_are_there_stay(session):
    click(session, 20, 20)
    run(session, "segment_image")
    assert session.cells.get((), 1).origin == "prompted"
    assert sorted(areas(session).values()) == [AREA] * 4
    run(session, "segment_image")
    assert len(areas(session)) == 4


def test_automatic_cells_are_replaced_on_request_but_not_those_of_a_person(session):
    click(session, 20, 20)
    run(session, "segment_image")
    before = set(areas(session))
    session.rule = "replace"
    run(session, "segment_image")
    assert set(areas(session)) & before == {1}
    assert sorted(areas(session).values()) == [AREA] * 4
    session.undo()
    assert set(areas(session)) == before


def test_cancelling_keeps_what_was_found(session, client, qtbot):
    client.hold()
    run_action(session, find_action("segment_image"))
    assert session.automatic.running
    client.release.set()
    qtbot.waitUntil(lambda: len(session.cells) > 0, timeout=HANG_MS)
    run(session, "cancel")
    n_found = len(areas(session))
    assert n_found == len(session.cells) > 0
    session.undo()
    assert areas(session) == {}


def test_only_the_region_is_searched(session):
    session.automatic.run(region=(0, 0, 40, 40))
    session.settle()
    assert list(areas(session).values()) == [AREA]
    assert labels(session)[20, 20] == 1


def test_every_plane_of_a_stack_is_searched_in_one_step(viewer, make_session):
    viewer.add_image(np.stack([discs(), discs(centres=DISCS[:2]), np.zeros((100, 110), np.uint8)]), name="stack")
    session = make_session(viewer)
    session.start()
    run(session, "segment_stack")
    assert [len(np.unique(plane)) - 1 for plane in labels(session)] == [4, 2, 0]
    assert {record.plane for record in session.cells} == {(0,), (1,)}
    assert len(session.history) == 1


def test_a_plane_is_clicked_in_where_it_is_shown(viewer, make_session):
    viewer.add_image(np.stack([np.zeros((100, 110), np.uint8), discs()]), name="stack")
    session = make_session(viewer)
    session.start()
    viewer.dims.set_current_step(0, 1)
    click(session, 20, 20)
    assert [int(plane.max()) for plane in labels(session)] == [0, 1]
    assert session.cells.get((1,), 1) is not None


def test_three_dimensions_are_refused(viewer, make_session):
    viewer.add_image(np.stack([discs(), discs()]), name="stack")
    session = make_session(viewer)
    session.start()
    viewer.dims.ndisplay = 3
    run(session, "segment_image")
    assert "2-D" in session.heard[-1]


# --- history


def test_painting_with_naparis_brush_is_a_step_in_its_place(session):
    click(session, 20, 20)
    layer = session.target.layer
    layer.brush_size = 3
    layer.paint((50, 100), 9)
    click(session, 20, 60)
    assert session.cells.get((), 9).origin == "manual"
    for expected in ({1, 9}, {1}, set()):
        session.undo()
        assert set(areas(session)) == expected
    for expected in ({1}, {1, 9}, {1, 9, 10}):
        session.redo()
        assert set(areas(session)) == expected


def test_a_cell_that_naparis_tools_erased_is_none_any_more(session):
    session.automatic.run()
    session.settle()
    layer, n_cells = session.target.layer, len(list(session.cells))
    number = session.target.at((), *DISCS[2])
    layer.fill(DISCS[2], 0)
    assert session.cells.get((), number) is None
    assert len(list(session.cells)) == n_cells - 1
    session.undo()
    assert session.cells.get((), number).origin == "automatic"
    layer.brush_size = 3
    layer.paint(DISCS[2], 0)
    assert session.cells.get((), number).origin == "edited"


def test_a_painted_automatic_cell_is_an_edited_one(session):
    run(session, "segment_image")
    layer = session.target.layer
    layer.brush_size = 2
    number = int(labels(session)[20, 20])
    layer.paint((12, 20), number)
    assert session.cells.get((), number).origin == "edited"
    session.undo()
    assert session.cells.get((), number).origin == "automatic"


def test_there_is_an_end_to_undoing_and_redoing(session):
    session.undo()
    session.redo()
    assert session.heard == ["There is nothing to undo.", "There is nothing to do again."]


def test_any_mixture_of_actions_is_undone_to_the_beginning(session):
    rng = np.random.default_rng(0)
    for _ in range(25):
        y, x = DISCS[rng.integers(4)]
        what = rng.integers(5)
        point_at(session, y, x)
        if what == 0:
            click(session, y, x)
        elif what == 1:
            run(session, "segment_image")
        elif what == 2:
            run(session, "delete_cell")
        elif what == 3:
            session.target.layer.paint((int(rng.integers(100)), int(rng.integers(110))), int(rng.integers(1, 9)))
        else:
            click(session, y + 5, x, outside=True)
    n_steps = len(session.history)
    assert n_steps > 10
    end = labels(session).copy()
    for _ in range(n_steps):
        session.undo()
    assert not labels(session).any()
    for _ in range(n_steps):
        session.redo()
    assert np.array_equal(labels(session), end)


# --- what goes wrong


def test_a_failing_service_loses_nothing_and_the_next_click_works(session, client):
    click(session, 20, 20)
    client.failure = ServiceUnavailableError("the service died")
    click(session, 20, 60)
    assert areas(session) == {1: AREA}
    assert session.heard[-1] == "the service died"
    assert len(session.connection.failures) == 1
    client.failure = None
    click(session, 20, 60)
    assert len(areas(session)) == 2


@pytest.mark.parametrize("gone", ["discs", "discs cells"])
def test_a_layer_that_is_removed_in_the_middle_of_a_run_ends_it_quietly(session, client, gone):
    click(session, 20, 20)
    client.hold()
    run_action(session, find_action("segment_image"))
    session.prompting.click(20, 60)
    session.viewer.layers.remove(gone)
    client.release.set()
    session.settle()
    assert gone not in [layer.name for layer in session.viewer.layers]


def test_renamed_and_reordered_layers_change_nothing(session, client):
    click(session, 20, 20)
    client.hold()
    session.prompting.click(20, 60)
    session.viewer.layers["discs cells"].name = "other"
    session.viewer.layers["discs"].name = "picture"
    session.viewer.layers.reverse()
    client.release.set()
    session.settle()
    assert len(areas(session)) == 2


def test_two_viewers_do_not_know_of_each_other(session, make_napari_viewer_proxy, make_session):
    other_viewer = make_napari_viewer_proxy()
    other_viewer.add_image(discs(), name="other")
    other = make_session(other_viewer)
    other.start()
    click(other, 20, 20)
    assert not session.has_target
    click(session, 20, 60)
    assert areas(other) == {1: AREA}


def test_closing_in_the_middle_of_a_request_is_quiet(session, client):
    client.hold()
    session.prompting.click(20, 20)
    run_action(session, find_action("segment_image"))
    session.close()
    assert session.connection.state == "off"
    assert session.jobs.n_running == 0


# --- features


def test_cells_know_where_they_come_from(session):
    click(session, 20, 20)
    run(session, "segment_image")
    table = table_of(session.cells)
    assert table["index"] == [1, 2, 3, 4]
    assert table["origin"] == ["prompted", "automatic", "automatic", "automatic"]
    assert table["detector_score"][1] == pytest.approx(0.9)
    assert np.isnan(table["detector_score"][0])
    assert table["n_prompts"] == [1, 0, 0, 0]


def test_chosen_channels_are_given_to_the_model_and_remembered_for_pictures_like_it(viewer, make_session):
    picture = np.stack([discs(), discs(centres=((50, 50),))], axis=-1)
    viewer.add_image(np.moveaxis(picture, -1, 0), name="image 1")
    session = make_session(viewer)
    session.start()
    session.set_channels(ChannelMap(cell=ChannelRef("image 1", 1), axis=0))
    session.settle()
    assert session.source.shape == (100, 110)
    session.prompting.click(50, 50)
    session.settle()
    assert session.target.at((), 50, 50) == 1

    viewer.add_image(np.moveaxis(picture, -1, 0), name="image 2")
    session.settle()
    assert session.source.channels == ChannelMap(cell=ChannelRef("image 2", 1), axis=0)


def test_channels_that_do_not_exist_change_nothing(session):
    before = session.source
    with pytest.raises(ChannelError, match="no layer 'gone'"):
        session.set_channels(ChannelMap(cell=ChannelRef("gone")))
    assert session.source is before


def test_other_channels_leave_the_labels_that_were_chosen(viewer, make_session):
    viewer.add_image(np.stack([discs(), discs(value=180)]), name="two")
    session = make_session(viewer)
    session.start()
    session.set_channels(ChannelMap(None, ChannelRef("two", 1), False, 0))
    mine = viewer.add_labels(np.zeros(discs().shape, np.uint32), name="mine")
    session.use_labels(mine)
    session.set_channels(ChannelMap(ChannelRef("two", 0), ChannelRef("two", 1), False, 0))
    assert session.target.layer.name == "mine"


def test_beside_points_of_the_user_the_only_image_is_worked_on(viewer, make_session):
    viewer.add_image(discs(), name="a")
    viewer.add_points([[5, 5]], name="marks")
    session = make_session(viewer)
    session.start()
    assert session.source is not None and session.source.file_name == "a"


def test_labels_that_no_memory_holds_are_refused_with_what_helps(session, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(_ledgers, "np", SimpleNamespace(zeros=full, uint32=np.uint32))
    with pytest.raises(ImageTooLargeError, match="Write into"):
        session._place.ledgers.add()


def test_the_view_of_a_coarse_level_reaches_to_its_last_pixels(viewer, make_session):
    picture = np.zeros((401, 410), np.uint8)
    layer = viewer.add_image([picture, picture[::2, ::2], picture[::4, ::4]], multiscale=True)
    session = make_session(viewer)
    session.start()
    layer.data_level = 2
    layer.corner_pixels = np.array([[0, 0], [100, 102]])
    assert session._place.looking.view() == (0, 0, 401, 410)


def test_a_path_that_is_none_is_not_taken_for_one(viewer, make_session):
    viewer.add_image(discs(), name="many", metadata={"path": [f"{number}.tif" for number in range(200)]})
    session = make_session(viewer)
    session.start()
    assert session.source.path is None
