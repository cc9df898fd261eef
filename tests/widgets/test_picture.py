"""Planes of channels, read when they are needed."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_cellsam.errors import ChannelError, ImageReadError
from napari_cellsam.widgets._picture import Picture, read_image

ALL = slice(None), slice(None)


def grey(value, dtype=np.uint8):
    return Picture(np.full((4, 5), value, dtype), "grey", ALL)


@pytest.mark.parametrize(("roles", "nuclear", "cell"), [("nuclear", 0, None), ("cell", None, 0)])
def test_one_picture_has_its_role(roles, nuclear, cell):
    image = read_image({roles: grey(7)}, (0.5, 0.25))
    assert (image.nuclear, image.cell, image.pixel_size_um) == (nuclear, cell, (0.5, 0.25))
    assert image.pixels.shape == (4, 5, 1) and (image.pixels == 7).all()


def test_two_pictures_keep_their_order_and_values():
    image = read_image({"nuclear": grey(7), "cell": grey(9)}, None)
    assert (image.nuclear, image.cell) == (0, 1)
    assert image.pixels[0, 0].tolist() == [7, 9]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ((np.uint8, np.uint16), np.uint16),
        ((np.uint16, np.float64), np.float32),
        ((np.int32, np.uint8), np.float32),
        ((bool, np.uint8), np.uint8),
    ],
)
def test_pictures_of_two_types_become_one_that_holds_both(types, expected):
    image = read_image({"nuclear": grey(1, types[0]), "cell": grey(200, types[1])}, None)
    assert image.pixels.dtype == expected
    assert image.pixels[0, 0].tolist() == [1, 200]


def test_an_image_does_not_change_with_the_array_that_it_was_read_from():
    data = np.full((4, 5), 7, np.uint8)
    image = read_image({"cell": Picture(data, "grey", ALL)}, None)
    data[:] = 1
    assert (image.pixels == 7).all()
    assert data.flags.writeable


def test_a_failure_of_the_library_says_which_layer_it_was():
    def fail(block):
        raise OSError("chunk 3 is gone")

    broken = da.zeros((4, 5)).map_blocks(fail, dtype=float, meta=np.zeros((0, 0)))
    with pytest.raises(ImageReadError, match="'far away' cannot be read: chunk 3 is gone"):
        read_image({"cell": Picture(broken, "far away", ALL)}, None)


def test_nothing_is_no_image():
    with pytest.raises(ChannelError, match="choose a channel"):
        read_image({}, None)
