"""Outlines are drawn over a picture whose contrast is stretched."""

import imageio.v3 as iio
import numpy as np
import pytest

from napari_cellsam.errors import ImageShapeError, OutputError
from napari_cellsam.export.overlay import draw_overlay, find_outlines, save_overlay
from napari_cellsam.types import Image

LABELS = np.zeros((6, 7), int)
LABELS[1:5, 1:4] = 1
LABELS[1:5, 4:6] = 2


def test_the_outline_is_the_rim_of_each_cell():
    expected = [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 0],
        [0, 1, 0, 1, 1, 1, 0],
        [0, 1, 0, 1, 1, 1, 0],
        [0, 1, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(find_outlines(LABELS), np.array(expected, bool))


def test_a_dim_picture_is_stretched_to_grey_and_outlined():
    pixels = np.linspace(100, 200, 42).reshape(6, 7).astype(np.uint16)
    canvas = draw_overlay(Image.from_array(pixels), LABELS)
    background = canvas[LABELS == 0]
    assert (background == background[:, :1]).all()
    assert (background.min(), background.max()) == (0, 255)
    assert (canvas[find_outlines(LABELS)] == (255, 214, 0)).all()


def test_nuclei_are_bluer_than_whole_cells():
    pixels = np.zeros((6, 7, 2), np.uint8)
    pixels[0, 0, 0] = pixels[0, 1, 1] = 200
    canvas = draw_overlay(Image.from_array(pixels), np.zeros((6, 7), int)).astype(int)
    assert canvas[0, 0, 2] > canvas[0, 0, 0]
    assert canvas[0, 1, 0] > canvas[0, 1, 2]


def test_a_colour_picture_keeps_its_colours_and_is_not_changed():
    pixels = np.full((6, 7, 3), (200, 100, 50), np.uint8)
    image = Image.from_array(pixels)
    canvas = draw_overlay(image, LABELS)
    assert canvas[0, 0].tolist() == [200, 100, 50]
    assert (image.pixels == (200, 100, 50)).all()


def test_a_constant_picture_is_black():
    assert draw_overlay(Image.from_array(np.full((6, 7), 9.0)), np.zeros((6, 7), int)).max() == 0


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ImageShapeError, match=r"\(6, 7\).*\(6, 8\)"):
        draw_overlay(Image.from_array(np.zeros((6, 8))), LABELS)


def test_an_overlay_is_written_as_png(tmp_path):
    image = Image.from_array(np.arange(42, dtype=np.uint8).reshape(6, 7))
    save_overlay(tmp_path / "a.png", image, LABELS)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.png"), draw_overlay(image, LABELS))
    with pytest.raises(OutputError, match="exists already"):
        save_overlay(tmp_path / "a.png", image, LABELS)
