"""Previous masks, laid over the window in which they are corrected."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.geometry import hat_matrix

__all__ = ["lay_over", "with_room"]

_GROWTH = 0.25  # of a window's side, where a mask runs into its end
_MARGIN = 0.15  # of a window's side, that a click inside the cell keeps from its end
_CUT_OFF = 0.05  # share of an end of the window from which a mask is taken to go on behind it
_SAME = 1e-2  # pixels of the picture by which equal windows may differ for rounding
_OUTSIDE = -4.0  # logit where nothing was answered

Floats = NDArray[np.float32]


def with_room(window: Floats, logits: Floats, inside: Floats) -> Floats:
    """Return a window that leaves room for a cell that is corrected.

    Parameters
    ----------
    window
        ``(4,)`` x0, y0, x1, y1 of an earlier answer: outer edges in pixels of the picture.
    logits
        ``(h, w)`` the earlier answer, evenly over the window.
    inside
        ``(N, 2)`` clicks inside the cell as x, y.

    Returns
    -------
    NDArray
        The same window where the cell ends inside of it and no click is near its ends, else a larger one.
    """
    low, high = window[:2].astype(np.float64), window[2:].astype(np.float64)
    size = high - low
    ends = ((logits[:, 0], logits[:, -1]), (logits[0], logits[-1]))  # of x, of y
    begins, goes_on = (np.array([np.mean(pair[i] > 0) >= _CUT_OFF for pair in ends]) for i in (0, 1))
    grown_low, grown_high = low - _GROWTH * size * begins, high + _GROWTH * size * goes_on
    if len(inside):
        grown_low = np.minimum(grown_low, inside.min(0) + 0.5 - _MARGIN * size)
        grown_high = np.maximum(grown_high, inside.max(0) + 0.5 + _MARGIN * size)
    if np.array_equal(grown_low, low) and np.array_equal(grown_high, high):
        return window.copy()
    centre, size = (grown_low + grown_high) / 2, grown_high - grown_low
    size = np.maximum(size, size[::-1] / 2)  # as all windows: never narrower than half as long
    return np.concatenate((centre - size / 2, centre + size / 2)).astype(np.float32)


def lay_over(logits: Floats, window: Floats, target: Floats, shape: tuple[int, int]) -> Floats:
    """Return logits over another window and at another resolution, so that any model's answer can be corrected.

    Parameters
    ----------
    logits
        ``(h, w)``.
    window, target
        ``(4,)`` x0, y0, x1, y1 that they cover evenly, and that the result is to cover.
    shape
        ``(h', w')`` of the result.

    Returns
    -------
    NDArray
        Interpolated, or averaged where it is coarser; -4 where the old window does not reach.
    """
    if logits.shape == shape and np.allclose(window, target, rtol=0, atol=_SAME):
        return logits.copy()
    (down, known_rows), (across, known_columns) = (
        _resample(window[axis::2], target[axis::2], n_old, n_new)
        for axis, n_old, n_new in zip((1, 0), logits.shape, shape, strict=True)
    )
    moved: Floats = (down @ logits @ across.T).astype(np.float32)
    moved[~(known_rows[:, None] & known_columns)] = _OUTSIDE
    return moved


def _resample(old: Floats, new: Floats, n_old: int, n_new: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the matrix from the old span's pixels to the new one's, and which of these lie in the old one."""
    per_pixel = n_old / float(old[1] - old[0])
    step = float(new[1] - new[0]) / n_new * per_pixel  # old pixels per new pixel
    first = float(new[0] - old[0]) * per_pixel - 0.5  # the new span's edge
    finer = max(math.ceil(step), 1)
    samples = hat_matrix(n_old, first + step / finer / 2, step / finer, finer * n_new)
    at = first + step * (np.arange(n_new) + 0.5)
    return samples.reshape(n_new, finer, n_old).mean(1, dtype=np.float32), (at > -0.5) & (at < n_old - 0.5)
