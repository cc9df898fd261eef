"""The filling of polygons: label images of the lines around cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.export.runs import Runs, paint_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Polygon", "fill_polygons"]

Polygon = tuple[int, list[Any]]
"""A label, and rings ``(n, 2)`` of ``(y, x)`` corners; holes are rings too."""

_CELLS = 4096  # filled together


def fill_polygons(polygons: Sequence[Polygon], shape: tuple[int, int]) -> NDArray[np.uint32]:
    """Fill polygons by the even-odd rule: a pixel belongs to a cell if its centre does.

    Where polygons overlap, the smaller one has the pixel, so that a cell within another is not lost.

    Parameters
    ----------
    polygons
        In coordinates where (0, 0) is the outer corner of the first pixel, and its centre is (0.5, 0.5). Parts beyond
        the image are cut off.
    shape
        ``(Y, X)`` of the result.

    Returns
    -------
    ndarray
        ``(Y, X)`` uint32.
    """
    canvas = np.zeros(shape, np.uint32)
    whole = [(label, [np.asarray(ring, float) for ring in rings if len(ring) > 2]) for label, rings in polygons]
    areas = [sum(map(_signed_area, rings)) for _, rings in whole]
    order = sorted(range(len(whole)), key=lambda i: -abs(areas[i]))
    for first in range(0, len(order), _CELLS):
        paint_runs(_fill([whole[i] for i in order[first : first + _CELLS]], shape), canvas)
    return canvas


def _signed_area(ring: NDArray[np.float64]) -> float:
    """Return the area of a ring; holes that run the other way round count against it."""
    y, x = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _fill(polygons: Sequence[Polygon], shape: tuple[int, int]) -> Runs:
    """Return the runs of pixels inside polygons, in their order."""
    rings = [(i, ring) for i, (_, own) in enumerate(polygons) for ring in own]
    if not rings:
        return Runs(np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    sizes = [len(ring) for _, ring in rings]
    ends = np.cumsum(sizes)
    y, x = np.concatenate([ring for _, ring in rings]).T
    following = np.arange(1, len(y) + 1)
    following[ends - 1] = ends - sizes
    owner, row, column = _cross(np.repeat([i for i, _ in rings], sizes), y, x, following, shape[0])
    order = np.lexsort((column, row, owner))
    owner, row, column = owner[order], row[order], column[order]
    # pixel x lies between two lines if its centre x + 0.5 does
    bounds = np.clip(np.ceil(column - 0.5), 0, shape[1]).astype(np.int64)
    start, stop = bounds[0::2], bounds[1::2]
    labels = np.array([label for label, _ in polygons], np.uint32)[owner[0::2]]
    filled = stop > start
    return Runs(labels[filled], (row[0::2] * shape[1] + start)[filled], (stop - start)[filled])


def _cross(
    owner: NDArray[Any], y: NDArray[Any], x: NDArray[Any], following: NDArray[Any], height: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Find where lines cross the middles of rows: owner, row and column of each crossing."""
    next_y, next_x = y[following], x[following]
    first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), 0, height).astype(np.int64)
    count = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), 0, height).astype(np.int64) - first
    line = np.repeat(np.arange(len(y)), count)
    row = np.arange(len(line)) + np.repeat(first - np.cumsum(count) + count, count)
    with np.errstate(divide="ignore", invalid="ignore"):  # level lines cross nothing
        slope = (next_x - x) / (next_y - y)
    return owner[line], row, x[line] + (row + 0.5 - y[line]) * slope[line]
