"""Tests of the prepared picture."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.data.prepare import prepare
from napari_cellsam.types import Image


def _picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 4000, shape).astype(np.uint16)


def test_one_channel_goes_to_blue() -> None:
    prepared = prepare(Image.from_array(_picture(40, 30)))
    assert prepared.shape == (3, 40, 30) and prepared.dtype == np.float32
    assert not prepared[:2].any() and prepared[2].any()


def test_two_channels_are_nuclear_then_whole_cell() -> None:
    pixels = np.zeros((4, 4, 2), np.uint8)
    pixels[0, 0, 0] = pixels[3, 3, 1] = 9
    prepared = prepare(Image.from_array(pixels), clahe=False)
    assert np.argwhere(prepared).tolist() == [[1, 0, 0], [2, 3, 3]]


def test_values_are_stretched_to_zero_and_one() -> None:
    prepared = prepare(Image.from_array(np.array([[10, 15, 20]], np.uint8)), clahe=False)
    np.testing.assert_allclose(prepared[2], [[0, 0.5, 1]], atol=1e-3)


def test_the_percentile_leaves_zeros_out_and_the_minimum_takes_them_in() -> None:
    pixels = np.zeros((100, 100), np.float32)
    pixels[0, :10] = 50
    pixels[0, 10] = 1000
    values = prepare(Image.from_array(pixels), clahe=False)[2]
    ceiling = np.percentile(pixels[pixels != 0], 99.9)
    np.testing.assert_allclose(values[0, :11], np.r_[np.full(10, 50 / ceiling), 1], rtol=1e-5)
    assert values[1:].max() == 0


@pytest.mark.parametrize("value", [0, 7, 65535])
@pytest.mark.parametrize("clahe", [True, False])
def test_a_constant_channel_becomes_zeros(value: int, clahe: bool) -> None:
    assert not prepare(Image.from_array(np.full((20, 20), value, np.uint16)), clahe=clahe).any()


def test_a_colour_picture_becomes_grey_in_blue() -> None:
    pixels = np.zeros((1, 4, 3), np.uint8)
    pixels[0, [1, 2, 3], [0, 1, 2]] = 255  # black, red, green, blue
    prepared = prepare(Image.from_array(pixels), clahe=False)
    assert not prepared[:2].any()
    np.testing.assert_allclose(prepared[2], [[0, 0.2125 / 0.7154, 1, 0.0721 / 0.7154]], atol=2e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 500), (127, 129)])
@pytest.mark.parametrize("clahe", [True, False])
def test_small_and_thin_pictures_stay_in_range(shape: tuple[int, int], clahe: bool) -> None:
    prepared = prepare(Image.from_array(_picture(*shape)), clahe=clahe)
    assert prepared.shape == (3, *shape)
    assert np.isfinite(prepared).all() and prepared.min() >= 0 and prepared.max() <= 1


def test_the_largest_floats_do_not_overflow() -> None:
    top = np.finfo(np.float32).max
    prepared = prepare(Image.from_array(np.array([[-top, 0, top]])), clahe=False)
    np.testing.assert_allclose(prepared[2], [[0, 0.5, 1]], atol=2e-3)


def test_the_image_itself_is_left_alone() -> None:
    image = Image.from_array(_picture(30, 30).astype(np.float32))
    before = image.pixels.copy()
    prepare(image)
    np.testing.assert_array_equal(image.pixels, before)
