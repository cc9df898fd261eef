"""The shapes of the cells of a plane, all of them measured together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["measure_shapes"]

_ROWS = 512  # looked at together
_DIGITS_PX, _DIGITS_UM = 4, 6
_WEIGHTS = np.zeros(50)  # of a pixel on a perimeter, by 1 + 2 for each neighbour on it beside, 10 for each in a corner
_WEIGHTS[[5, 7, 15, 17, 25, 27]] = 1
_WEIGHTS[[21, 33]] = np.sqrt(2)
_WEIGHTS[[13, 23]] = (1 + np.sqrt(2)) / 2


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs of pixels along rows: the place of each's cell among the cells, where it begins, and how long it is."""

    cell: NDArray[np.int64]
    y: NDArray[np.int64]
    x: NDArray[np.int64]
    length: NDArray[np.int64]


def measure_shapes(
    labels: NDArray[np.uint32],
    used: NDArray[np.uint32],
    area: NDArray[np.int64],
    centroids: NDArray[np.float64],
    pixel_size_um: tuple[float, float] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Measure the shape of every cell as scikit-image's ``regionprops`` does.

    Parameters
    ----------
    labels
        ``(Y, X)``, 0 background; numbers may have gaps, and a cell several pieces.
    used
        ``(N,)``, the labels that there are, rising.
    area
        ``(N,)`` in pixels.
    centroids
        ``(2, N)``, y and x in pixels.
    pixel_size_um
        ``(y, x)`` in micrometres, or None where it is not known.

    Returns
    -------
    dict
        ``equivalent_diameter_px`` (of the circle of that area), ``axis_major_length_px`` and ``axis_minor_length_px``
        (of the ellipse of the same moments), and the three as ``_um`` where the size of a pixel is known;
        ``perimeter_px``, ``eccentricity`` (0 of a circle) and ``orientation`` (of the long axis, in radians from the
        downward axis, -pi/2 to pi/2, rising towards the right), of the pixels as if they were square.
    """
    centres = np.rint(centroids).astype(np.int64)
    sums = np.zeros((5, len(used)))
    for runs in _strips_of_runs(labels, used):
        sums += _moments(runs, centres)
    spreads = _spreads(sums, area)
    major, minor = _axes(spreads)
    columns = {"equivalent_diameter_px": _diameter(area), "axis_major_length_px": major, "axis_minor_length_px": minor}
    if pixel_size_um is not None:
        height, width = pixel_size_um
        columns["equivalent_diameter_um"] = _diameter(area * (height * width))
        axes_um = _axes(spreads * [[height * height], [width * width], [height * width]])
        columns["axis_major_length_um"], columns["axis_minor_length_um"] = axes_um
    columns["perimeter_px"] = _perimeters(labels, used)
    columns["eccentricity"] = np.sqrt(1 - np.square(minor / np.where(major > 0, major, 1))) * (major > 0)
    columns["orientation"] = _orientation(spreads)
    return {name: values.round(_DIGITS_UM if name.endswith("_um") else _DIGITS_PX) for name, values in columns.items()}


def _strips_of_runs(labels: NDArray[np.uint32], used: NDArray[np.uint32]) -> Iterator[_Runs]:
    """Yield the runs of some rows after those of others, from left to right and row by row."""
    for top in range(0, labels.shape[0], _ROWS):
        rows = labels[top : top + _ROWS]
        begins = np.ones(rows.shape, bool)
        np.not_equal(rows[:, 1:], rows[:, :-1], out=begins[:, 1:])
        start = np.flatnonzero(begins)
        length = np.diff(start, append=rows.size)
        y, x = np.divmod(start, rows.shape[1])
        owner = rows[y, x]
        inside = owner > 0
        cell = np.searchsorted(used, owner[inside])
        yield _Runs(cell, y[inside] + top, x[inside], length[inside])


def _moments(runs: _Runs, centres: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum y, x, their squares and their product over the pixels, from whole numbers near the centroid: so all is exact.

    Far from the corner of a large image, sums of squares from there would leave no digits for small cells.
    """
    y, x, n = runs.y - centres[0, runs.cell], runs.x - centres[1, runs.cell], runs.length
    steps = n * (n - 1) // 2
    sum_x = n * x + steps
    sum_xx = n * x * x + 2 * x * steps + steps * (2 * n - 1) // 3
    terms: tuple[NDArray[Any], ...] = (n * y, sum_x, n * y * y, sum_xx, y * sum_x)
    return np.array([np.bincount(runs.cell, term, centres.shape[1]) for term in terms])


def _spreads(sums: NDArray[np.float64], area: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the variance of y, that of x, and their covariance."""
    y, x, yy, xx, yx = sums / area
    return np.array([yy - y * y, xx - x * x, yx - y * x])


def _axes(spreads: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the long and the short axis of the ellipses of these variances."""
    yy, xx, yx = spreads
    middle, reach = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    return 4 * np.sqrt(middle + reach), 4 * np.sqrt(np.maximum(middle - reach, 0))


def _orientation(spreads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angle of the long axis; -pi/4 of what has none, as scikit-image says."""
    yy, xx, yx = spreads
    return np.where((yy == xx) & (yx == 0), -np.pi / 4, np.arctan2(2 * yx, yy - xx) / 2)


def _diameter(area: NDArray[Any]) -> NDArray[np.float64]:
    """Return the diameter of the circle of an area."""
    diameter: NDArray[np.float64] = np.sqrt(4 * area / np.pi)
    return diameter


def _perimeters(labels: NDArray[np.uint32], used: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return the length of the line through the pixels that have another cell or none above, below or beside."""
    perimeters = np.zeros(len(used))
    height, width = labels.shape
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        above, below = min(2, top), min(2, height - bottom)
        rows = np.zeros((bottom - top + 4, width + 4), np.uint32)
        rows[2 - above : len(rows) - 2 + below, 2:-2] = labels[top - above : bottom + below]
        lines = _lines(rows)
        at = np.flatnonzero(lines[1:-1]) + lines.shape[1]
        flat = lines.ravel()
        owner = flat[at]
        code = np.ones(len(at), np.uint8)
        for step in (-1, 1, -lines.shape[1], lines.shape[1]):
            code += np.uint8(2) * (flat[at + step] == owner)
        for step in (-1 - lines.shape[1], 1 - lines.shape[1], lines.shape[1] - 1, lines.shape[1] + 1):
            code += np.uint8(10) * (flat[at + step] == owner)
        perimeters += np.bincount(np.searchsorted(used, owner), _WEIGHTS[code], len(used))
    return perimeters


def _lines(rows: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return labels but for those of pixels that have their own cell on all four sides, without the outermost ones."""
    own = rows[1:-1, 1:-1]
    inside = own == rows[:-2, 1:-1]
    for neighbours in (rows[2:, 1:-1], rows[1:-1, :-2], rows[1:-1, 2:]):
        inside &= own == neighbours
    return np.where(inside, np.uint32(0), own)
