"""The axes of an image layer."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cellsam.widgets._axes import describe_layer


@pytest.fixture
def viewer():
    return ViewerModel()


def test_a_plain_stack_has_no_channels(viewer):
    axes = describe_layer(viewer.add_image(np.zeros((3, 20, 30), np.uint16)))
    assert (axes.problem, axes.shape, axes.picture_shape, axes.size) == (None, (3, 20, 30), (3, 20, 30), (20, 30))
    assert (axes.channel_axis, axes.n_channels, axes.channel_names) == (None, 1, ())
    assert not axes.rgb and not axes.multiscale


@pytest.mark.parametrize("label", ["c", "C", "channel", "Channels "])
def test_an_axis_that_the_layer_calls_channel_is_one(viewer, label):
    layer = viewer.add_image(np.zeros((4, 2, 20, 30), np.uint8), axis_labels=("z", label, "y", "x"))
    axes = describe_layer(layer)
    assert (axes.channel_axis, axes.n_channels) == (1, 2)
    assert (axes.picture_axes, axes.picture_shape) == ((0, 2, 3), (4, 20, 30))
    assert axes.channel_names == ("channel 0", "channel 1")


def test_an_axis_that_the_user_chose_has_the_channels_whatever_it_is_called(viewer):
    layer = viewer.add_image(np.zeros((4, 2, 20, 30), np.uint8), axis_labels=("z", "c", "y", "x"))
    assert describe_layer(layer, 0).picture_shape == (2, 20, 30)


def test_a_colour_picture_has_colours_and_its_shape_is_without_them(viewer):
    axes = describe_layer(viewer.add_image(np.zeros((5, 20, 30, 4), np.uint8), rgb=True))
    assert (axes.rgb, axes.shape, axes.n_channels) == (True, (5, 20, 30), 3)
    assert axes.channel_names == ("red", "green", "blue")


def test_of_several_resolutions_the_finest_counts(viewer):
    layer = viewer.add_image([np.zeros((2, 64, 48)), np.zeros((2, 32, 24))], multiscale=True)
    axes = describe_layer(layer)
    assert (axes.multiscale, axes.shape) == (True, (2, 64, 48))


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize(
    ("shape", "options", "axis", "problem"),
    [
        ((20, 30, 3), {"axis_labels": ("y", "x", "c"), "rgb": False}, None, "on axis 2, where rows and columns"),
        ((2, 20, 30), {}, 5, "has no axis 5; its axes are 0 to 2"),
        ((2, 20, 30), {}, -1, "has no axis -1"),
        ((2, 20, 30), {}, 1, "on axis 1, where rows and columns"),
        ((20, 30, 3), {"rgb": True}, 0, "is a colour picture, so axis 0 cannot be its channels"),
        ((4, 20, 30), {"rotate": (0, 20, 0)}, None, "turned or sheared out of its planes"),
        ((4, 20, 30), {"shear": (0, 0.5, 0)}, None, "turned or sheared out of its planes"),
    ],
)
def test_what_cannot_be_used_is_said_with_the_name_of_the_layer(viewer, shape, options, axis, problem):
    layer = viewer.add_image(np.zeros(shape, np.uint8), name="day 3", **options)
    said = describe_layer(layer, axis).problem
    assert said.startswith("Layer 'day 3'") and problem in said


def test_channels_turned_into_depth_are_refused(viewer):
    turned = np.eye(4)
    turned[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    layer = viewer.add_image(np.zeros((2, 4, 20, 30), np.uint8), rotate=turned)
    assert describe_layer(layer).problem is None
    assert "between its channels and other axes" in describe_layer(layer, 0).problem


def test_layers_without_a_picture_are_refused(viewer):
    points = viewer.add_points([[1, 2]], name="clicks")
    labels = viewer.add_labels(np.zeros((20, 30), int), name="cells")
    for layer in (points, labels):
        assert f"{layer.name!r} is no picture" in describe_layer(layer).problem
