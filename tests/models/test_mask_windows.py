"""Windows of corrected masks grow where the cell goes on, and the earlier answer stays where it was."""

import numpy as np
import pytest

from napari_cellsam.models.mask_windows import lay_over, with_room

WINDOW = np.array([100, 200, 132, 264], np.float32)  # two pixels of the picture per row, one per column
NO_CLICKS = np.zeros((0, 2), np.float32)


def answer(rows, columns, side=32):
    logits = np.full((side, side), -5, np.float32)
    logits[rows, columns] = 5
    return logits


def extent(grid, edges):
    """Return the outer edges of what belongs to the cell."""
    y, x = np.nonzero(grid > 0)
    x0, y0, x1, y1 = map(float, edges)
    across, down = (x1 - x0) / grid.shape[1], (y1 - y0) / grid.shape[0]
    return [x0 + x.min() * across, y0 + y.min() * down, x0 + (x.max() + 1) * across, y0 + (y.max() + 1) * down]


def test_a_cell_with_room_keeps_its_window():
    window = with_room(WINDOW, answer(slice(5, 20), slice(8, 25)), np.array([[115, 230]], np.float32))
    assert np.array_equal(window, WINDOW) and window is not WINDOW


def test_a_click_behind_the_end_moves_it():
    x0, y0, x1, y1 = with_room(WINDOW, answer(slice(5, 20), slice(8, 25)), np.array([[140, 230]], np.float32))
    assert x0 == 100 and 142 < x1 < 150
    assert (y0, y1) == (200, 264)


@pytest.mark.parametrize(
    ("rows", "columns", "moved"),
    [
        (slice(0, 9), slice(9, 20), [0, -1, 0, 0]),
        (slice(9, 20), slice(0, 9), [-1, 0, 0, 0]),
        (slice(25, 32), slice(9, 20), [0, 0, 0, 1]),
        (slice(9, 20), slice(25, 32), [0, 0, 1, 0]),
    ],
)
def test_a_mask_that_runs_into_an_end_moves_it(rows, columns, moved):
    change = with_room(WINDOW, answer(rows, columns), NO_CLICKS) - WINDOW
    for side, expected in enumerate(moved):
        if expected:
            assert change[side] * expected >= 8
        else:
            assert abs(change[side]) <= 4  # narrow windows become half as wide as they are long


def test_a_single_pixel_at_the_end_is_no_reason():
    assert np.array_equal(with_room(WINDOW, answer(slice(0, 1), slice(9, 10)), NO_CLICKS), WINDOW)


def test_a_window_is_never_narrower_than_half_as_long():
    x0, y0, x1, y1 = with_room(WINDOW, answer(slice(20, 32), slice(9, 20)), NO_CLICKS)
    assert x1 - x0 >= (y1 - y0) / 2 - 1e-3


def test_the_same_window_and_shape_change_nothing():
    logits = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    same = lay_over(logits, WINDOW, WINDOW + np.float32(0.001), (32, 32))
    assert np.array_equal(same, logits) and same is not logits


@pytest.mark.parametrize(("shape", "within"), [((32, 32), 2.5), ((256, 256), 1.2), ((12, 40), 6)])
def test_an_answer_stays_at_its_place_in_the_picture(shape, within):
    logits = answer(slice(10, 20), slice(20, 32))
    target = np.array([90, 190, 150, 270], np.float32)
    moved = lay_over(logits, WINDOW, target, shape)
    assert moved.shape == shape
    assert extent(moved, target) == pytest.approx(extent(logits, WINDOW), abs=within)
    columns = target[0] + (np.arange(shape[1]) + 0.5) / shape[1] * 60
    assert (moved[:, columns > WINDOW[2]] == -4).all() and (moved[:, columns < WINDOW[0]] == -4).all()


def test_what_becomes_coarser_is_averaged():
    chequers = (np.indices((64, 64)).sum(0) % 2 * 2 - 1).astype(np.float32)
    assert np.abs(lay_over(chequers, WINDOW, WINDOW, (8, 8))).max() < 1e-5
