"""Decoded windows land on the pixels that they speak of."""

import numpy as np
import pytest

from napari_cellsam.geometry import Frame
from napari_cellsam.models.backend import Decoded
from napari_cellsam.models.pasting import paste


def decoded(logits, window, iou=0.9):
    return Decoded(np.asarray(logits, np.float32), np.array(window, np.float32), iou)


def square(n, low, high):
    """Return (n, n) logits, positive from ``low`` to ``high`` along both axes, sharp at the edges."""
    inside = np.zeros(n, bool)
    inside[low:high] = True
    return np.where(inside[:, None] & inside, 4.0, -4.0)


def test_at_equal_scale_every_logit_is_one_pixel():
    logits = np.where(np.random.default_rng(0).random((8, 8)) < 0.5, -3.0, 3.0)
    mask = paste(decoded(logits, (20, 10, 28, 18)), Frame((0, 0, 64, 64), (64, 64)), (64, 64), 0.5)
    assert np.array_equal(mask.full((64, 64))[10:18, 20:28], logits > 0)
    assert mask.area == (logits > 0).sum()


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0, 3.0])
def test_a_square_lands_within_half_a_pixel(zoom):
    frame = Frame((40, 60, 140, 160), (round(100 * zoom), round(100 * zoom)))
    # The window covers image rows 60-92 and columns 70-102; the inner half of it is the cell.
    edges = frame.edges_to_picture(np.array([[60, 70, 92, 102]], np.float32))[0]
    mask = paste(decoded(square(32, 8, 24), edges), frame, (300, 300), 0.5)
    assert mask.box == pytest.approx((68, 78, 83, 93), abs=0.5)
    assert mask.area == pytest.approx(16 * 16, abs=2 * 16)


def test_a_coarse_grid_is_interpolated():
    frame = Frame((0, 0, 64, 64), (64, 64))
    mask = paste(decoded(square(8, 2, 6), (0, 0, 64, 64)), frame, (64, 64), 0.5)
    assert mask.box == (16, 16, 47, 47)


def test_a_window_beyond_the_border_is_cut_there():
    frame = Frame((0, 0, 50, 50), (50, 50))
    mask = paste(decoded(np.full((10, 10), 5.0), (-5, 44, 5, 54)), frame, (50, 50), 0.5)
    assert mask.corner == (44, 0)
    assert mask.crop.shape == (6, 5) and mask.crop.all()


@pytest.mark.parametrize("window", [(-30, 0, -20, 10), (60, 0, 70, 10), (0, -20, 10, -10), (0, 51, 10, 61)])
def test_a_window_outside_the_picture_gives_an_empty_mask(window):
    mask = paste(decoded(np.full((10, 10), 5.0), window), Frame((0, 0, 50, 50), (50, 50)), (50, 50), 0.5)
    assert mask.crop.shape == (0, 0)


def test_a_frame_that_reaches_beyond_the_image_gives_no_pixels_there():
    mask = paste(decoded(np.full((8, 8), 5.0), (0, 0, 64, 64)), Frame((0, 0, 64, 64), (64, 64)), (20, 30), 0.5)
    assert mask.crop.shape == (20, 30)


def test_pixels_belong_to_the_cell_from_the_threshold_on():
    ramp = np.tile(np.linspace(-4, 4, 9, dtype=np.float32), (3, 1))
    frame = Frame((0, 0, 3, 9), (3, 9))
    wide, narrow = (paste(decoded(ramp, (0, 0, 9, 3)), frame, (3, 9), t) for t in (0.1, 0.9))
    assert wide.crop.shape[1] == 7 and narrow.crop.shape[1] == 2
    assert wide.probability.max() == round(255 / (1 + np.exp(-4)))


def test_nothing_above_the_threshold_is_an_empty_mask_with_a_score():
    mask = paste(decoded(np.full((4, 4), -1.0), (0, 0, 4, 4), 1.2), Frame((0, 0, 9, 9), (9, 9)), (9, 9), 0.5)
    assert mask.area == 0 and mask.score == 1.0


def test_logits_are_kept_with_their_place_in_the_image():
    frame = Frame((100, 200, 150, 250), (100, 100))
    mask = paste(decoded(square(8, 2, 6), (10, 20, 50, 60)), frame, (400, 400), 0.5, keep_logits=True)
    assert mask.low_res.window == (110, 205, 130, 225)
    assert mask.logits.shape == (8, 8)
