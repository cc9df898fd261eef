"""Images are compressed where a sample of them becomes smaller."""

import numpy as np
import pytest

from napari_cellsam.service import convert
from napari_cellsam.service.messages import GetInfo
from napari_cellsam.service.squeezing import squeeze
from napari_cellsam.types import Image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1, 1), (700, 300, 2), (3, 200_000, 1), (5000, 2, 3)])
def test_a_compressed_image_is_the_same_image(dtype, shape):
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    request = convert.image_data(Image(pixels, cell=0))
    squeezed = squeeze(request)
    assert len(squeezed.pixels.data) <= len(request.pixels.data)
    assert convert.image_of(squeezed).image_id == Image(pixels, cell=0).image_id


def test_a_picture_becomes_smaller():
    request = convert.image_data(Image.from_array(np.full((300, 300), 7, np.uint16)))
    squeezed = squeeze(request)
    assert squeezed.pixels.compression == "zstd"
    assert len(squeezed.pixels.data) < len(request.pixels.data) / 10


def test_noise_is_left_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (600, 600), np.uint8)
    request = convert.image_data(Image.from_array(noise))
    assert squeeze(request) is request


def test_what_is_not_an_image_is_left_as_it_is():
    request = GetInfo()
    assert squeeze(request) is request
