"""Stacks and other images: one click at a known place of the world makes the cell there, whatever holds the pixels."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from tests.widgets.conftest import DISCS, discs

from napari_cellsam.errors import ImageShapeError
from napari_cellsam.widgets._actions import find_action, run_action
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef

DISC = discs(centres=DISCS[:1]) > 0
NOTHING = np.zeros((100, 110), np.uint8)
PLACE = DISCS[0]
ELSEWHERE = (5, 90)


def as_zarr(pixels):
    """Return pixels as a zarr array in memory."""
    made = zarr.create_array(store=zarr.storage.MemoryStore(), shape=pixels.shape, dtype=pixels.dtype)
    made[...] = pixels
    return made


def world_of(session, place):
    """Return where a pixel of the plane that is shown is in the world."""
    viewer, layer = session.viewer, session.source.layer
    at = session.source.to_data(viewer.dims.point)
    return tuple(layer.data_to_world((*at[:-2], *place)))


def click(session, place, **options):
    """Click at the place in the world where a pixel is."""
    session.prompting.click(*session.to_yx(world_of(session, place)), **options)
    session.settle()


def cell_under(session, place):
    """Return what napari says is under a place of the world in the labels layer; 0 for background."""
    return int(session.target.layer.get_value(world_of(session, place), world=True) or 0)


def shown(session):
    """Return the plane of the labels that is shown."""
    return np.asarray(session.target.layer.data)[session.plane]


@pytest.fixture
def begin(viewer, make_session):
    def begun(data, step=(), **options):
        viewer.add_image(data, name="picture", **options)
        session = make_session(viewer)
        session.start()
        for axis, position in enumerate(step):
            viewer.dims.set_current_step(axis, position)
        session.settle()
        return session

    return begun


TIMES = np.stack([NOTHING, discs(), NOTHING])
TIMES_AND_DEPTHS = np.stack([np.zeros_like(TIMES), TIMES])
CHANNELS_INSIDE = np.stack([TIMES, np.zeros_like(TIMES)], axis=1)  # (Z, C, Y, X)

STACKS = {
    "(Y, X)": (discs(), (), {}, ()),
    "(T, Y, X)": (TIMES, (1,), {}, (1,)),
    "(T, Z, Y, X)": (TIMES_AND_DEPTHS, (1, 1), {}, (1, 1)),
    "(Z, C, Y, X)": (CHANNELS_INSIDE, (1, 0), {"axis_labels": ("z", "c", "y", "x")}, (1, 0)),
    "(C, Y, X)": (np.stack([discs(), NOTHING]), (), {"axis_labels": ("c", "y", "x")}, ()),
    "dask (T, Y, X)": (da.from_array(TIMES, chunks=(1, 64, 64)), (1,), {}, (1,)),
    "zarr (T, Y, X)": (as_zarr(TIMES), (1,), {}, (1,)),
    "float (T, Y, X)": (TIMES.astype(np.float32), (1,), {}, (1,)),
    "uint16": (discs().astype(np.uint16), (), {}, ()),
    "RGB": (np.stack([discs()] * 3, axis=-1), (), {"rgb": True}, ()),
    "RGB of times": (np.stack([TIMES] * 3, axis=-1), (1,), {"rgb": True}, (1,)),
    "multiscale": ([discs(), discs()[::2, ::2]], (), {"multiscale": True}, ()),
    "multiscale of times": ([TIMES, TIMES[:, ::2, ::2]], (1,), {"multiscale": True}, (1,)),
    "multiscale of dask": ([da.from_array(a, chunks=32) for a in (discs(), discs()[::2, ::2])], (), {}, ()),
    "anisotropic": (TIMES, (1,), {"scale": (5.0, 0.5, 0.2)}, (1,)),
    "translated": (TIMES, (1,), {"translate": (10, -30, 200)}, (1,)),
    "rotated": (discs(), (), {"rotate": 30}, ()),
    "rotated and scaled": (discs(), (), {"rotate": -75, "scale": (0.3, 0.7), "translate": (4, 5)}, ()),
    "rotated times": (
        TIMES,
        (1,),
        {"rotate": [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]], "scale": (3, 0.5, 0.5)},
        (1,),
    ),
    "sheared": (discs(), (), {"shear": [0.4]}, ()),
    "flipped": (discs(), (), {"affine": [[-2, 0, 7], [0, 1, 0], [0, 0, 1]]}, ()),
}


@pytest.mark.parametrize("kind", STACKS)
def test_a_click_in_the_world_makes_the_cell_there_and_nowhere_else(begin, kind):
    data, step, options, plane = STACKS[kind]
    session = begin(data, step, **options)
    click(session, PLACE)
    assert session.plane == plane
    assert cell_under(session, PLACE) == 1
    assert cell_under(session, ELSEWHERE) == 0
    assert np.array_equal(shown(session) > 0, DISC)
    assert np.count_nonzero(np.asarray(session.target.layer.data)) == DISC.sum()


@pytest.mark.parametrize("kind", STACKS)
def test_whatever_holds_the_pixels_a_cell_is_refined_deleted_and_brought_back(begin, kind):
    data, step, options, _ = STACKS[kind]
    session = begin(data, step, **options)
    click(session, PLACE)
    click(session, (25, 20), outside=True)
    assert cell_under(session, (25, 20)) == 0
    assert cell_under(session, PLACE) == 1
    session.viewer.cursor.position = world_of(session, PLACE)
    run_action(session, find_action("delete_cell"))
    assert not shown(session).any()
    session.undo()
    session.undo()
    assert np.array_equal(shown(session) > 0, DISC)


@pytest.mark.parametrize("kind", ["(T, Z, Y, X)", "(Z, C, Y, X)", "dask (T, Y, X)", "zarr (T, Y, X)", "RGB of times"])
def test_all_planes_of_a_stack_are_searched_each_in_its_place(begin, kind):
    data, step, options, plane = STACKS[kind]
    session = begin(data, step, **options)
    run_action(session, find_action("segment_stack"))
    session.settle()
    labels = np.asarray(session.target.layer.data)
    assert np.array_equal(labels[plane] > 0, discs() > 0)
    assert np.count_nonzero(labels) == np.count_nonzero(discs())
    assert {record.plane for record in session.cells} == {plane}


def test_undo_takes_back_what_was_done_on_a_plane_that_is_not_shown(begin):
    session = begin(np.stack([discs(), discs()]))
    click(session, PLACE)
    session.viewer.dims.set_current_step(0, 1)
    click(session, DISCS[1])
    session.viewer.dims.set_current_step(0, 0)
    session.undo()
    labels = np.asarray(session.target.layer.data)
    assert np.array_equal(labels[0] > 0, DISC)
    assert not labels[1].any()
    session.undo()
    assert not labels.any()
    session.redo()
    session.redo()
    assert [len(np.unique(plane)) - 1 for plane in labels] == [1, 1]


def test_an_answer_that_comes_when_another_plane_is_shown_lands_where_the_click_was(begin, client):
    session = begin(np.stack([discs(), NOTHING]))
    client.hold()
    session.prompting.click(*PLACE)
    session.viewer.dims.set_current_step(0, 1)
    client.release.set()
    session.settle()
    labels = np.asarray(session.target.layer.data)
    assert np.array_equal(labels[0] > 0, DISC)
    assert not labels[1].any()
    assert session.prompting.active is None


def test_a_cell_of_one_plane_is_not_refined_on_another(begin):
    session = begin(np.stack([discs(), discs()]))
    click(session, PLACE)
    session.viewer.dims.set_current_step(0, 1)
    click(session, PLACE)
    labels = np.asarray(session.target.layer.data)
    assert [int(plane.max()) for plane in labels] == [1, 2]
    assert len(session.history) == 2


def test_cells_of_one_number_on_two_planes_are_deleted_each_by_itself(begin):
    session = begin(np.stack([discs(), discs()]))
    own = session.viewer.add_labels(np.stack([DISC, DISC]).astype(np.uint32) * 5, name="mine")
    session.use_labels(own)
    session.settle()
    session.prompting.delete(*PLACE)
    assert [int(plane.max()) for plane in np.asarray(own.data)] == [0, 5]


def test_the_channel_that_the_model_gets_is_not_the_one_that_is_shown(begin):
    session = begin(CHANNELS_INSIDE, (1, 1), axis_labels=("z", "c", "y", "x"))
    session.set_channels(ChannelMap(cell=ChannelRef("picture", 0), axis=1))
    session.settle()
    click(session, PLACE)
    assert cell_under(session, PLACE) == 1


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")  # napari's, of such layers
@pytest.mark.parametrize(
    "rotate", [[[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], [[0.8, 0, -0.6], [0, 1, 0], [0.6, 0, 0.8]]]
)
def test_a_layer_that_is_turned_out_of_its_planes_is_refused_with_what_to_do(viewer, make_session, rotate):
    viewer.add_image(TIMES, name="turned", rotate=rotate)
    session = make_session(viewer)
    session.start()
    assert session.source is None
    assert "turned" in session.heard[-1]
    assert "undo that first" in session.heard[-1]


def test_rolled_axes_are_refused_until_rows_and_columns_are_shown_again(begin):
    session = begin(TIMES, (1,))
    session.viewer.dims.order = (1, 0, 2)
    with pytest.raises(ImageShapeError, match="rows and columns"):
        session.prompting.click(*PLACE)
    session.viewer.dims.order = (0, 1, 2)
    click(session, PLACE)
    assert cell_under(session, PLACE) == 1
