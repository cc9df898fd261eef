"""The place of a layer in the world."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cellsam.widgets._placement import (
    are_apart,
    data_coordinates,
    pixel_size_um_of,
    placement_of,
    same_place,
)

PLACED = {
    "turned": {"rotate": 30, "translate": (7, 8), "scale": (0.5, 2)},
    "sheared": {"shear": (0.4,), "scale": (3, 1)},
    "affine": {"affine": [[0, 1, 5], [-2, 0.5, 6], [0, 0, 1]], "translate": (1, 2)},
    "in micrometres": {"units": ("um", "um"), "scale": (0.25, 0.25), "translate": (-40, 9)},
}


@pytest.fixture
def viewer():
    return ViewerModel()


def stack(viewer, shape=(3, 4, 20, 30), **placed):
    return viewer.add_image(np.zeros(shape, np.uint8), **placed)


@pytest.mark.parametrize("how", PLACED)
def test_a_layer_put_on_all_axes_of_another_lies_on_it(viewer, how):
    image = stack(viewer, (20, 30), **PLACED[how])
    labels = viewer.add_labels(np.zeros((20, 30), np.uint8), **placement_of(image, (0, 1)))
    for point in ((0, 0), (3.5, 11), (19, 29)):
        np.testing.assert_allclose(labels.data_to_world(point), image.data_to_world(point))
    assert same_place(image, (0, 1), labels, (0, 1))


def test_a_layer_put_on_the_last_axes_lies_on_each_plane(viewer):
    image = stack(
        viewer, scale=(9, 4, 0.5, 0.25), translate=(1, 2, 3, 4), affine=np.diag([1, 1, 3, 2, 1]), shear=np.zeros(6)
    )
    flat = viewer.add_image(np.zeros((20, 30)), **placement_of(image, (2, 3)))
    np.testing.assert_allclose(flat.data_to_world((5, 6)), image.data_to_world((2, 1, 5, 6))[-2:])


def test_turned_planes_keep_their_angle_without_the_leading_axes(viewer):
    turn = np.eye(4)
    turn[2:, 2:] = [[0.6, -0.8], [0.8, 0.6]]
    image = stack(viewer, rotate=turn, scale=(1, 2, 3, 3), shear=(0, 0, 0, 0, 0, 0.2))
    flat = viewer.add_image(np.zeros((4, 20, 30)), **placement_of(image, (1, 2, 3)))
    np.testing.assert_allclose(flat.data_to_world((3, 5, 6)), image.data_to_world((0, 3, 5, 6))[1:])


@pytest.mark.parametrize("n_channels", [1, 2, 3, 5])
def test_a_stretched_entry_covers_all_of_the_other_layer(viewer, n_channels):
    image = stack(viewer, (3, n_channels, 8, 9), scale=(2, 3, 1, 1), translate=(0, 10, 0, 0))
    placed = placement_of(image, range(4), {1: n_channels})
    labels = viewer.add_labels(np.zeros((3, 1, 8, 9), np.uint8), **placed)
    for channel in range(n_channels):
        at = labels.world_to_data(image.data_to_world((2, channel, 4, 5)))
        assert np.round(at).astype(int).tolist() == [2, 0, 4, 5]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"scale": (0.5, 0.5)}, False),
        ({"translate": (0, 0.5)}, False),
        ({"rotate": 1}, False),
        ({"affine": np.diag([1, 1.001, 1])}, False),
        ({"translate": (0, 1e-9)}, True),
        ({"units": ("um", "um")}, False),
    ],
)
def test_layers_lie_on_each_other_only_if_all_their_pixels_do(viewer, change, same):
    one, other = stack(viewer, (20, 30)), stack(viewer, (20, 30), **change)
    assert same_place(one, (0, 1), other, (0, 1)) is same


def test_one_place_told_in_two_units_is_one_place(viewer):
    one = stack(viewer, (20, 30), units=("um", "um"), scale=(0.5, 0.5), translate=(3, 4))
    other = stack(viewer, (20, 30), units=("nm", "nm"), scale=(500, 500), translate=(3000, 4000))
    assert same_place(one, (0, 1), other, (0, 1))


def test_equal_axes_at_other_sliders_are_not_one_place(viewer):
    assert not same_place(stack(viewer, (3, 2, 8, 9)), (0, 2, 3), stack(viewer, (3, 8, 9)), (0, 1, 2))


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_planes_are_apart_unless_they_are_turned_or_sheared_into_other_axes(viewer):
    assert are_apart(stack(viewer, (4, 20, 30), rotate=(0, 0, 30), scale=(1e-6, 1, 1)), (1, 2))
    assert not are_apart(stack(viewer, (4, 20, 30), rotate=(0, 1, 0)), (1, 2))
    assert not are_apart(stack(viewer, (4, 20, 30), shear=(0, 0.1, 0)), (1, 2))
    assert are_apart(stack(viewer, (20, 30), rotate=30), (0, 1))


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        ({}, None),
        ({"scale": (0.5, 0.5)}, None),
        ({"scale": (0.5, 0.25), "units": ("um", "um")}, (0.5, 0.25)),
        ({"scale": (500, 250), "units": ("nm", "um")}, (0.5, 250)),
        ({"scale": (0.5, 0.25), "units": ("um", "um"), "rotate": 30}, (0.5, 0.25)),
        ({"scale": (0.5, 0.25), "units": ("um", "um"), "affine": np.diag([2, 2, 1])}, (1, 0.5)),
        ({"units": ("s", "um")}, None),
    ],
)
def test_the_size_of_a_pixel_is_known_only_in_units_of_length(viewer, placed, expected):
    assert pixel_size_um_of(stack(viewer, (20, 30), **placed)) == (
        expected if expected is None else pytest.approx(expected)
    )


def test_places_are_found_also_where_the_viewer_has_another_unit_than_the_layer(viewer):
    coarse = stack(viewer, (5, 20, 30), units=("um",) * 3, scale=(2, 0.5, 0.5))
    stack(viewer, (5, 20, 30), units=("nm",) * 3, scale=(2000, 500, 500))
    viewer.dims.set_current_step(0, 3)
    assert data_coordinates(viewer, coarse, viewer.dims.point)[0] == pytest.approx(3)


def test_a_layer_of_fewer_axes_takes_the_last_ones_of_a_position(viewer):
    stack(viewer, (5, 20, 30))
    flat = stack(viewer, (20, 30), translate=(1, 2))
    assert data_coordinates(viewer, flat, (4, 8, 9)).tolist() == [7, 7]
