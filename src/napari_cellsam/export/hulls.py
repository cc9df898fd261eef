"""The convex hulls of cells, all of them found together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Extents", "convex_areas"]

_TOGETHER = 2**19  # rows of cells


@dataclass(frozen=True, eq=False)
class Extents:
    """Where cells begin and end in rows.

    Attributes
    ----------
    cell
        ``(R,)`` int32, the place of the cell among the cells.
    y
        ``(R,)`` int32, the row.
    left, right
        ``(R,)`` int32, the first and the last pixel that the cell has there.
    """

    cell: NDArray[np.int32]
    y: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: Sequence[Extents]) -> Extents:
        """Join those of some rows with those of the next rows, and so on, and sort them by cell and row."""
        cell = np.concatenate([part.cell for part in parts])
        rank = np.argsort(cell, kind="stable")
        y, left, right = (
            np.concatenate([getattr(part, name) for part in parts])[rank] for name in ("y", "left", "right")
        )
        return cls(cell[rank], y, left, right)

    def batches(self) -> Iterator[Extents]:
        """Yield some whole cells after others."""
        first = 0
        while first < len(self.cell):
            last = min(first + _TOGETHER, len(self.cell)) - 1
            end = int(np.searchsorted(self.cell, self.cell[last], side="right"))
            yield Extents(*(column[first:end] for column in (self.cell, self.y, self.left, self.right)))
            first = end


@dataclass(frozen=True, eq=False)
class _Chain:
    """The left sides of cells as corners ``(t, x)`` in half pixels, t rising within each cell."""

    cell: NDArray[np.int32]
    t: NDArray[np.int64]
    x: NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_]) -> _Chain:
        return _Chain(self.cell[mask], self.t[mask], self.x[mask])


def convex_areas(extents: Extents, n_cells: int) -> NDArray[np.int64]:
    """Count the pixels whose centre is within, or on the edge of, the hull of the cell's pixels.

    Parameters
    ----------
    extents
        By rising cell and row; each cell has some.
    n_cells
        How many cells there are.

    Returns
    -------
    ndarray
        ``(N,)`` int64. A pixel counts as the diamond between the middles of its edges, as in scikit-image.
    """
    areas = np.zeros(n_cells, np.int64)
    for batch in extents.batches():
        first = np.flatnonzero(np.diff(batch.cell, prepend=-1))
        last = np.append(first[1:], len(batch.cell)) - 1
        areas[batch.cell[first]] = batch.y[last].astype(np.int64) - batch.y[first] + 1
        for side in (batch.left, -batch.right):
            _count(_hull(_chain(batch, side)), areas)
    return areas


def _chain(extents: Extents, side: NDArray[np.int32]) -> _Chain:
    """Return the corners of the diamonds at one side of cells, that side as their left one."""
    goes_on = np.zeros(len(side) + 1, bool)  # in the row before
    goes_on[1:-1] = (extents.cell[1:] == extents.cell[:-1]) & (extents.y[1:] == extents.y[:-1] + 1)
    t = 2 * extents.y.astype(np.int64)[:, None] + np.array([-1, 0, 1])
    x = 2 * side.astype(np.int64)[:, None] + np.array([0, -1, 0])
    after = goes_on[1:-1]
    x[:-1, 2] = np.where(after, np.minimum(x[:-1, 2], x[1:, 0]), x[:-1, 2])
    there = np.ones(t.shape, bool)
    there[:, 0] = ~goes_on[:-1]  # the row before has that corner
    return _Chain(np.repeat(extents.cell, 3)[there.ravel()], t[there], x[there])


def _hull(chain: _Chain) -> _Chain:
    """Keep the corners of the hull.

    All corners that are not left of the line from the one before to the one after go at once, which changes no hull,
    until there are none in a cell.
    """
    done = []
    while len(chain.cell):
        cell, t, x = chain.cell, chain.t, chain.x
        out = np.zeros(len(cell), bool)
        turn = (t[1:-1] - t[:-2]) * (x[2:] - x[:-2]) - (x[1:-1] - x[:-2]) * (t[2:] - t[:-2])
        out[1:-1] = (turn <= 0) & (cell[:-2] == cell[2:])
        busy = np.zeros(int(cell[-1]) + 1, bool)
        busy[cell[out]] = True
        done.append(chain.where(~busy[cell]))
        chain = chain.where(busy[cell] & ~out)
    cell = np.concatenate([part.cell for part in done])
    rank = np.argsort(cell, kind="stable")
    return _Chain(
        cell[rank], np.concatenate([part.t for part in done])[rank], np.concatenate([part.x for part in done])[rank]
    )


def _count(hull: _Chain, areas: NDArray[np.int64]) -> None:
    """Add, for each row of pixels, how far left its first pixel within the hull is."""
    edge = hull.cell[1:] == hull.cell[:-1]
    cell, t, x = hull.cell[:-1][edge], hull.t[:-1][edge], hull.x[:-1][edge]
    height, width = np.diff(hull.t)[edge], np.diff(hull.x)[edge]
    odd = t & 1  # even t are the rows
    n_rows = (height - odd + 1) // 2
    found = _sum_floors(n_rows, 2 * height, -2 * width, -(x * height + width * odd))
    np.add.at(areas, cell, found)


def _sum_floors(
    n: NDArray[np.int64], divisor: NDArray[np.int64], slope: NDArray[np.int64], offset: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Sum ``(slope * i + offset) // divisor`` over i from 0 to n - 1 by Euclid's algorithm.

    That takes the same few steps for an edge of ten rows as for one of ten thousand.
    """
    total = np.zeros(len(n), np.int64)
    left = np.arange(len(n))
    while len(left):
        total[left] += n * (n - 1) // 2 * (slope // divisor) + n * (offset // divisor)
        slope, offset = slope % divisor, offset % divisor
        highest = slope * n + offset
        more = highest >= divisor
        left, highest, old = left[more], highest[more], divisor[more]
        divisor, slope = slope[more], old
        n, offset = highest // old, highest % old
    return total
