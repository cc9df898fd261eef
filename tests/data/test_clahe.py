"""Tests of local equalization."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from skimage.exposure import equalize_adapthist

from napari_cellsam.data.clahe import equalize


def _channel(shape: tuple[int, int], power: float) -> np.ndarray:
    y, x = np.indices(shape)
    noise = np.random.default_rng(sum(shape)).random(shape)
    channel = (np.sin(x / 17) * np.cos(y / 23) + 1 + 0.3 * noise) ** power
    channel -= channel.min()
    return (channel / channel.max()).astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 64), (128, 128), (300, 200), (129, 257), (7, 300), (1, 40), (40, 1)])
@pytest.mark.parametrize("power", [1.0, 6.0])
def test_the_numbers_are_scikit_images(shape: tuple[int, int], power: float) -> None:
    channel = _channel(shape, power)
    expected = equalize_adapthist(channel, kernel_size=128)
    np.testing.assert_allclose(equalize(channel.copy(), 128), expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("kernel", [8, 32])
def test_other_blocks_give_scikit_images_numbers_too(kernel: int) -> None:
    channel = _channel((70, 50), 3.0)
    expected = equalize_adapthist(channel, kernel_size=kernel)
    np.testing.assert_allclose(equalize(channel.copy(), kernel), expected, rtol=0, atol=2e-7)


def test_a_picture_of_two_values_stays_in_range() -> None:
    channel = np.zeros((30, 30), np.float32)
    channel[3, 4] = 1
    expected = equalize_adapthist(channel, kernel_size=128)
    np.testing.assert_allclose(equalize(channel, 128), expected, atol=2e-7)


def test_memory_stays_far_below_the_pictures_own() -> None:
    channel = _channel((2048, 1024), 1.0)
    tracemalloc.start()
    equalize(channel, 128)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * channel.nbytes  # of which three quarters are a strip's, whatever the picture's height
