from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.data.sample_layers import as_layers, open_sample
from napari_cellsam.types import Image


def test_a_picture_of_one_channel_is_one_plane():
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)

    [(plane, arguments, kind)] = as_layers(Image(pixels, cell=0), "yeast")

    np.testing.assert_array_equal(plane, pixels[..., 0])
    assert (arguments, kind) == ({"name": "yeast"}, "image")


def test_channels_with_roles_become_layers_that_say_them():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)

    cell, nuclear = as_layers(Image(pixels, nuclear=2, cell=0), "tissue")

    assert (cell[1]["name"], nuclear[1]["name"]) == ("tissue cell", "tissue nuclear")
    np.testing.assert_array_equal(cell[0], pixels[..., 0])
    np.testing.assert_array_equal(nuclear[0], pixels[..., 2])


@pytest.mark.parametrize("n_channels", [3, 4])
def test_a_colour_picture_stays_one_layer_of_three_colours(n_channels):
    pixels = np.zeros((2, 3, n_channels), np.uint8)

    [(plane, arguments, _)] = as_layers(Image(pixels, rgb=True), "slide")

    assert plane.shape == (2, 3, 3)
    assert arguments["rgb"]


def test_a_sample_opens_as_layers_called_after_it():
    assert all(arguments["name"].startswith("floating_cell") for _, arguments, _ in open_sample("floating_cell"))
