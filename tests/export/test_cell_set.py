"""A set of cells refuses what is no label image, and gives its planes."""

import numpy as np
import pytest
from tests.export.scenes import make_scene, with_image

from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.export.cell_set import CellFacts, CellSet, used_labels
from napari_cellsam.types import Image


@pytest.mark.parametrize("labels", [np.zeros((2, 2)), np.array([[-1]]), np.array([[2**32]]), np.zeros((0, 2), int)])
def test_what_is_no_label_image_is_refused(labels):
    with pytest.raises(ImageShapeError):
        CellSet.from_array(labels)


def test_labels_of_another_type_must_be_converted():
    with pytest.raises(ImageShapeError, match="from_array"):
        CellSet(np.zeros((2, 2), np.int64))


@pytest.mark.parametrize(("shape", "axis"), [((2, 2), "T"), ((2, 2, 2), ""), ((2, 2, 2), "Q")])
def test_the_axis_must_fit_the_shape(shape, axis):
    with pytest.raises(OptionError, match="'T' or 'Z'"):
        CellSet(np.zeros(shape, np.uint32), axis)


def test_an_array_of_planes_is_a_stack_of_depths_unless_told():
    assert CellSet.from_array(np.zeros((2, 2, 2), bool)).axis == "Z"


def test_there_must_be_an_image_of_the_right_shape_for_each_plane():
    image = Image.from_array(np.zeros((3, 3), np.uint8))
    for labels, axis in ((np.zeros((2, 2), np.uint32), ""), (np.zeros((2, 3, 3), np.uint32), "T")):
        with pytest.raises(ImageShapeError, match="for each plane"):
            CellSet(labels, axis, images=(image,))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_scores_are_shares(share):
    with pytest.raises(OptionError, match="0 to 1"):
        CellFacts(detector_score=share)


def test_a_plane_is_a_set_of_its_own_with_its_facts_and_image():
    stack = with_image(make_scene("a stack of depths"))
    plane = stack.at(1)
    np.testing.assert_array_equal(plane.labels, stack.labels[1])
    assert (plane.name, plane.axis, plane.images) == ("a_z1", "", (stack.images[1],))
    assert {label: known for (_, label), known in plane.facts.items()} == {
        label: known for (index, label), known in stack.facts.items() if index == 1
    }
    assert make_scene("one cell").at(0).name == "a"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../evil", "_.._evil"),
        ("plate\\A:1", "plate_A_1"),
        ("a\0b\n", "a_b_"),
        (".hidden", "hidden"),
        ("..", "cells"),
    ],
)
def test_a_name_leads_to_no_other_folder(name, expected):
    assert CellSet.from_array(np.ones((2, 3), int), name=name).name == expected


def test_lines_are_traced_once():
    cells = make_scene("one cell")
    assert cells.rings(0) is cells.rings(0)


@pytest.mark.parametrize("scene", ["numbers with gaps", "a crowd", "an empty image", "a stack of times"])
def test_used_labels_rise_without_the_background(scene):
    labels = make_scene(scene).labels
    np.testing.assert_array_equal(used_labels(labels), np.unique(labels[labels > 0]))


def test_bytes_of_a_files_name_that_are_no_text_become_lines():
    assert CellSet.from_array(np.ones((2, 2), int), name="cell_\udcfc").name == "cell__"
