"""Cells that a detector found more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.data.overlap import common, overlapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.data.tiling import Region
    from napari_cellsam.types import Mask

__all__ = ["without_repeats"]

_SAME_CELL = 0.5  # IoU


def without_repeats(found: Sequence[tuple[Mask, float]]) -> list[tuple[Mask, float]]:
    """Return masks with their scores, of those that are one cell (IoU above one half) the surest, in their order.

    Two queries may answer for one cell; laid over each other, their masks would share its pixels one by one.

    Parameters
    ----------
    found
        Masks of one picture, with the score of each.
    """
    regions = [_region(mask) for mask, _ in found]
    same: list[list[int]] = [[] for _ in found]
    for i, j in overlapping(regions):
        if _is_same(found[i][0], found[j][0]):
            same[i].append(j)
            same[j].append(i)
    kept: set[int] = set()
    for i in sorted(range(len(found)), key=lambda i: (-found[i][1], i)):
        if kept.isdisjoint(same[i]):
            kept.add(i)
    return [found[i] for i in sorted(kept)]


def _is_same(a: Mask, b: Mask) -> bool:
    both = common(_region(a), _region(b))
    shared = int(np.count_nonzero(_within(a, both) & _within(b, both)))
    return shared > _SAME_CELL * (a.area + b.area - shared)


def _region(mask: Mask) -> Region:
    (y, x), (height, width) = mask.corner, mask.crop.shape
    return y, x, y + height, x + width


def _within(mask: Mask, region: Region) -> NDArray[np.bool_]:
    """Return the mask inside a region that lies in its crop."""
    (y, x), (y0, x0, y1, x1) = mask.corner, region
    return mask.crop[y0 - y : y1 - y, x0 - x : x1 - x]
