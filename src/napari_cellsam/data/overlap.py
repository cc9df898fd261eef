"""The overlap of regions of an image, found by sorting instead of trying all pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.tiling import Region

__all__ = ["common", "overlapping", "touching"]

Ints = NDArray[np.intp]

_PAIRS_AT_ONCE = 2_000_000


def common(a: Region, b: Region) -> Region:
    """Return the region that two regions share; it ends before it begins where they share none."""
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def touching(regions: Sequence[Region], others: Sequence[Region]) -> NDArray[np.bool_]:
    """Return for each region whether it shares a pixel with one of the others.

    Parameters
    ----------
    regions, others
        Any number.

    Returns
    -------
    ndarray
        ``(N,)`` bool, one for each of ``regions``.
    """
    if not regions or not others:
        return np.zeros(len(regions), bool)
    y0, x0, y1, x1 = _columns(regions)
    tops, lefts, bottoms, rights = _columns(others)
    near = (tops < y1.max()) & (bottoms > y0.min()) & (lefts < x1.max()) & (rights > x0.min())
    hit = np.zeros(len(regions), bool)
    for at in np.array_split(np.flatnonzero(near), len(regions) * len(others) // _PAIRS_AT_ONCE + 1):
        rows = (y0[:, None] < bottoms[at]) & (tops[at] < y1[:, None])
        hit |= (rows & (x0[:, None] < rights[at]) & (lefts[at] < x1[:, None])).any(1)
    return hit


def overlapping(
    regions: Sequence[Region], groups: Sequence[int] | None = None, n_known: int = 0
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of regions that share a pixel.

    Parameters
    ----------
    regions
        Any number.
    groups
        Pairs of one group are left out; each region is a group of its own when None.
    n_known
        Pairs of two among the first ``n_known`` are left out.

    Yields
    ------
    tuple of int
        Positions in ``regions``.
    """
    order = np.array(sorted(range(len(regions)), key=lambda i: regions[i][0]), np.intp)
    y0, x0, y1, x1 = _columns([regions[i] for i in order])
    group = order if groups is None else np.array(groups, np.intp)[order]
    # Those that begin at or after region k and before its end are k + 1 ... last[k] - 1.
    last = np.searchsorted(y0, y1)
    counts = last - np.arange(len(order)) - 1
    for first, stop in _blocks(counts):
        a = np.repeat(np.arange(first, stop), counts[first:stop])
        begins = np.repeat(np.cumsum(counts[first:stop]) - counts[first:stop], counts[first:stop])
        b = a + 1 + np.arange(len(a)) - begins
        hit = (x0[a] < x1[b]) & (x0[b] < x1[a]) & (group[a] != group[b])
        hit &= (order[a] >= n_known) | (order[b] >= n_known)
        yield from zip(order[a[hit]].tolist(), order[b[hit]].tolist(), strict=True)


def _columns(regions: Sequence[Region]) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the first rows, first columns, end rows and end columns."""
    y0, x0, y1, x1 = np.array(regions, np.intp).reshape(-1, 4).T
    return y0, x0, y1, x1


def _blocks(counts: Ints) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows whose counts add up to a bounded number of pairs."""
    total, first = 0, 0
    for row, count in enumerate(counts.tolist()):
        if total and total + count > _PAIRS_AT_ONCE:
            yield first, row
            total, first = 0, row
        total += count
    yield first, len(counts)
