"""The region of a picture that is searched: a box, or shapes within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.errors import ImageShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Box", "Region", "lies_inside"]

Box = tuple[int, int, int, int]
"""``(y0, x0, y1, x1)`` in pixels, the last row and column excluded."""


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a picture.

    Attributes
    ----------
    box
        ``(y0, x0, y1, x1)`` in pixels, the last row and column excluded.
    polygons_yx
        Each ``(N, 2)`` corners; a place is in the region if it is in one of them. None at all: the whole box.
    """

    box: Box
    polygons_yx: tuple[NDArray[np.float64], ...] = ()

    def __post_init__(self) -> None:
        y0, x0, y1, x1 = self.box
        if min(y0, x0) < 0 or y1 <= y0 or x1 <= x0:
            raise ImageShapeError(f"got region {self.box}; expected 0 <= y0 < y1 and 0 <= x0 < x1")

    @classmethod
    def of(cls, region: Region | Box | None) -> Region | None:
        """Return a region, also of a bare box; None is the whole picture."""
        if region is None or isinstance(region, Region):
            return region
        return cls((int(region[0]), int(region[1]), int(region[2]), int(region[3])))

    @classmethod
    def around(cls, polygons: Sequence[ArrayLike], shape: tuple[int, int]) -> Region:
        """Return the region that polygons enclose in a picture.

        Parameters
        ----------
        polygons
            Each ``(N, 2)`` corners ``(y, x)``.
        shape
            Of the picture.

        Raises
        ------
        ImageShapeError
            If there is no polygon, one has less than three corners, or they lie beyond the picture.
        """
        corners = [np.asarray(polygon, np.float64) for polygon in polygons]
        if not corners or any(p.ndim != 2 or p.shape[1] != 2 or len(p) < 3 for p in corners):
            raise ImageShapeError(
                f"got {len(corners)} shapes as a region; expected at least one, with three corners or more"
            )
        low = np.floor(np.min([p.min(0) for p in corners], axis=0)).astype(int)
        high = np.ceil(np.max([p.max(0) for p in corners], axis=0)).astype(int) + 1
        y0, x0 = np.maximum(low, 0).tolist()
        y1, x1 = np.minimum(high, shape).tolist()
        if y1 <= y0 or x1 <= x0:
            raise ImageShapeError("The shape lies beyond the image; draw it on the image.")
        return cls((y0, x0, y1, x1), tuple(corners))

    def pixels(self) -> NDArray[np.bool_]:
        """Return which pixels ``(h, w)`` of the box lie in the region."""
        y0, x0, y1, x1 = self.box
        shape = (y1 - y0, x1 - x0)
        if not self.polygons_yx:
            return np.ones(shape, bool)
        masks = [_filled(polygon - (y0, x0), shape) for polygon in self.polygons_yx]
        return np.asarray(np.logical_or.reduce(masks))

    def holds(self, y: float, x: float) -> bool:
        """Return whether a place lies in the region."""
        y0, x0, y1, x1 = self.box
        in_box = y0 <= y < y1 and x0 <= x < x1
        return in_box and (not self.polygons_yx or any(lies_inside(p, y, x) for p in self.polygons_yx))


def lies_inside(polygon: NDArray[np.float64], y: float, x: float) -> bool:
    """Return whether a place lies in a polygon, by the even-odd rule.

    Parameters
    ----------
    polygon
        ``(N, 2)`` corners ``(y, x)``; the last one is joined to the first.
    y, x
        The place.
    """
    ys, xs = polygon.T
    next_ys, next_xs = np.roll(polygon, -1, axis=0).T
    crosses = (ys > y) != (next_ys > y)
    with np.errstate(divide="ignore", invalid="ignore"):  # of edges that are not crossed
        at = xs + (y - ys) / (next_ys - ys) * (next_xs - xs)
    return bool(np.count_nonzero(crosses & (x < at)) % 2)


def _filled(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels of a picture lie in a polygon, as `lies_inside` does for one place.

    Each edge notes in the rows that it crosses where it does so; a pixel is inside if an odd number of edges is crossed
    to the right of it. To ask for each pixel instead takes seconds for a large picture and a shape drawn in one stroke.
    """
    height, width = shape
    crossed = np.zeros((height, width + 1), np.uint8)
    for (y, x), (next_y, next_x) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        low, high = np.clip(np.ceil(sorted((y, next_y))), 0, height).astype(int)
        rows = np.arange(low, high)
        at = x + (rows - y) / (next_y - y) * (next_x - x) if len(rows) else rows
        crossed[rows, np.clip(np.ceil(at), 0, width).astype(int)] ^= 1
    return np.bitwise_xor.accumulate(crossed[:, :0:-1], axis=1)[:, ::-1].astype(bool)
