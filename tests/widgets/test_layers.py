"""The labels layer that cells are written into."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.editing.edits import edit_between
from napari_cellsam.errors import ImageShapeError
from napari_cellsam.widgets._layers import LabelsTarget, add_labels, find_labels
from napari_cellsam.widgets._source import ImageSource


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def target(viewer):
    made = LabelsTarget(viewer.add_labels(np.zeros((2, 30, 40), np.uint32), name="cells"))
    yield made
    made.close()


def cell(label, plane, window):
    """Return the edit that puts a cell on background."""
    under = np.zeros((window[0].stop - window[0].start, window[1].stop - window[1].start), np.uint32)
    return edit_between(plane, (window[0].start, window[1].start), under, np.full_like(under, label))


def test_cells_are_written_where_they_belong_and_are_one_step_of_napari(target):
    told = []
    target.layer.events.paint.connect(lambda event: told.append(event.value))
    target.write([cell(3, (1,), np.s_[2:4, 5:9]), cell(4, (1,), np.s_[10:12, 5:6])])
    assert (target.read((1,), np.s_[2:4, 5:9]) == 3).all()
    assert target.at((1,), 11, 5) == 4
    assert np.asarray(target.layer.data[0]).sum() == 0
    assert len(told) == 1


def test_what_has_changed_since_is_left_alone(target):
    edit = cell(3, (0,), np.s_[0:1, 0:4])
    target.write([edit])
    target.write([edit_between((0,), (0, 1), np.array([[3]]), np.array([[8]]))])
    undone = target.write([edit.inverse()])
    assert target.read((0,), np.s_[0:1, 0:4]).tolist() == [[0, 8, 0, 0]]
    assert [len(part.rows) for part in undone] == [3]


def test_edits_of_one_pixel_are_written_in_order(target):
    first = cell(3, (0,), np.s_[0:1, 0:2])
    target.write([first, edit_between((0,), (0, 0), np.array([[3, 3]]), np.array([[5, 3]]))])
    assert target.read((0,), np.s_[0:1, 0:2]).tolist() == [[5, 3]]


def test_nothing_is_found_beyond_the_picture(target):
    assert [target.at((0,), y, x) for y, x in ((-1, 0), (0, -1), (30, 0), (0, 40))] == [0, 0, 0, 0]


def test_our_own_writing_is_not_told_as_painting_but_the_brush_is(target):
    told = []
    target.painted.connect(told.append)
    target.write([cell(3, (1,), np.s_[2:4, 5:9])])
    assert told == []
    target.layer.brush_size = 1
    target.layer.paint((1, 20, 21), 7)
    [[edit]] = told
    assert (edit.plane, edit.rows.tolist(), edit.columns.tolist()) == ((1,), [20], [21])
    assert (edit.before.tolist(), edit.after.tolist()) == ([0], [7])


@pytest.mark.parametrize("how", ["paint", "fill", "setitem"])
def test_whatever_napari_changes_can_be_taken_back(target, how):
    told = []
    target.painted.connect(told.append)
    target.write([cell(3, (1,), np.s_[2:8, 5:9])])
    before = np.array(target.layer.data)
    if how == "paint":
        target.layer.brush_size = 9
        target.layer.paint((1, 4, 5), 7)
    elif how == "fill":
        target.layer.fill((1, 4, 6), 9)
    else:
        with target.layer.block_history():
            for value in (5, 6):
                target.layer.data_setitem((np.array([1, 0]), np.array([2, 3]), np.array([6, value])), value)
    assert (np.array(target.layer.data) != before).any()
    [edits] = told
    target.write([edit.inverse() for edit in reversed(edits)])
    assert (np.array(target.layer.data) == before).all()


def test_numbers_are_new_also_after_painting(viewer):
    labels = np.zeros((3, 8, 8), np.uint16)
    labels[2, 0, 0] = 41
    target = LabelsTarget(viewer.add_labels(labels))
    assert target.take_number() == 42
    target.layer.brush_size = 1
    target.layer.paint((0, 5, 5), 99)
    assert [target.take_number() for _ in range(2)] == [100, 101]
    target.close()


def test_an_empty_layer_begins_at_one(target):
    assert target.take_number() == 1


def test_a_layer_with_several_resolutions_is_refused(viewer):
    layer = viewer.add_labels([np.zeros((8, 8), np.uint32), np.zeros((4, 4), np.uint32)], multiscale=True, name="big")
    with pytest.raises(ImageShapeError, match="'big' has several resolutions"):
        LabelsTarget(layer)


def test_a_closed_target_hears_nothing(target):
    told = []
    target.painted.connect(told.append)
    target.close()
    target.layer.paint((1, 20, 21), 7)
    target.layer.events.paint.connect(target._on_paint)  # so that the fixture can close it again
    assert told == []


def test_our_layer_lies_on_the_image_however_that_is_placed(viewer):
    image = viewer.add_image(
        np.zeros((3, 20, 30), np.uint8), name="z", scale=(4, 0.5, 0.5), translate=(0, 7, 8), rotate=(0, 0, 30)
    )
    layer = add_labels(viewer, image, np.zeros(image.data.shape, np.uint32), ImageSource(viewer, image).placement)
    assert layer.name == "z cells"
    assert np.asarray(layer.data).shape == (3, 20, 30)
    for point in ((0, 0, 0), (2, 5, 9)):
        np.testing.assert_allclose(layer.data_to_world(point), image.data_to_world(point))


def test_our_layer_is_found_again_also_renamed(viewer):
    image = viewer.add_image(np.zeros((20, 30), np.uint8), name="a")
    other = viewer.add_image(np.zeros((20, 30), np.uint8), name="b")
    layer = add_labels(viewer, image, np.zeros((20, 30), np.uint32), {})
    layer.name = "my cells"
    image.name = "something else"
    assert find_labels(viewer, image, (20, 30)).unique_id == layer.unique_id
    assert find_labels(viewer, image, (20, 31)) is None
    assert find_labels(viewer, other, (20, 30)) is None


def test_a_labels_layer_of_the_user_is_never_taken(viewer):
    image = viewer.add_image(np.zeros((20, 30), np.uint8), name="a")
    viewer.add_labels(np.zeros((20, 30), np.uint32), name="a cells")
    assert find_labels(viewer, image, (20, 30)) is None
