"""The memory that an image needs is compared with what is free."""

import pytest

from napari_cellsam.errors import ImageTooLargeError
from napari_cellsam.memory import available_bytes, check_memory, estimate_bytes


def test_the_estimate_grows_with_pixels_channels_and_type():
    assert estimate_bytes(100, 1, 1) == 100 * (2 + 16)
    assert estimate_bytes(100, 3, 2) == 100 * (3 * 4 + 16)
    assert estimate_bytes(100, 1, 8) == 100 * (8 + 4 + 16)


def test_an_image_is_refused_where_one_byte_is_missing():
    needed = estimate_bytes(200 * 100, 2, 1)
    check_memory((200, 100, 2), 1, available=needed)
    with pytest.raises(ImageTooLargeError, match="200 x 100"):
        check_memory((200, 100, 2), 1, available=needed - 1)


def test_a_picture_of_30000_by_30000_pixels_does_not_fit_in_8_gib():
    with pytest.raises(ImageTooLargeError, match="crop or downscale"):
        check_memory((30_000, 30_000, 3), 1, available=8 * 2**30)


def test_this_machine_has_some_memory():
    assert available_bytes() > 2**20
