"""Tiles of an image too large for one look."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_cellsam.errors import ImageShapeError, OptionError

__all__ = ["Region", "Tile", "plan_tiles"]

Region = tuple[int, int, int, int]
"""``(y0, x0, y1, x1)`` in pixels, the last row and column excluded."""


@dataclass(frozen=True)
class Tile:
    """A part of an image that a model looks at.

    Attributes
    ----------
    region
        ``(y0, x0, y1, x1)`` in pixels, the last row and column excluded; may reach beyond the image.
    shape
        ``(Y, X)`` of the image.
    counts
        Whether what is not found in it is not there; False if other tiles were looked at in its place.
    """

    region: Region
    shape: tuple[int, int]
    counts: bool = True

    @property
    def inner(self) -> tuple[bool, bool, bool, bool]:
        """Whether the image goes on behind the top, left, bottom and right border."""
        y0, x0, y1, x1 = self.region
        return y0 > 0, x0 > 0, y1 < self.shape[0], x1 < self.shape[1]

    def margin_of(self, box: Region) -> float:
        """Return the pixels from a box to the nearest border behind which the image goes on; infinity without one."""
        top, left, bottom, right = self.region
        gaps = box[0] - top, box[1] - left, bottom - box[2], right - box[3]
        return min((gap for gap, inner in zip(gaps, self.inner, strict=True) if inner), default=math.inf)


def plan_tiles(shape: tuple[int, int], tile: int, overlap_px: int, *, tight: bool = False) -> list[Tile]:
    """Cover an image with tiles of one size.

    As many tiles are taken as the overlap demands, and spread evenly, so neighbours overlap by at least ``overlap_px``.
    The last one ends at the border of the image: none is stretched, padded or wrapped. Along a side that is not longer
    than a tile there is one, as long as that side.

    Parameters
    ----------
    shape
        ``(Y, X)`` of the image.
    tile
        Side of a tile in pixels.
    overlap_px
        Least overlap of neighbours in pixels, less than the tile.
    tight
        Whether tiles may be shorter than that, so that equally many overlap no more than they must.

    Returns
    -------
    list of Tile
        Row by row.

    Raises
    ------
    OptionError
        If the tile has no side, or the overlap is negative or as long as the tile.
    ImageShapeError
        If the image has no pixels.
    """
    if tile < 1 or not 0 <= overlap_px < tile:
        raise OptionError(f"got tiles of {tile} with an overlap of {overlap_px} pixels; expected 0 <= overlap < tile")
    if min(shape) < 1:
        raise ImageShapeError(f"got an image of shape {shape}, which has no pixels")
    rows, columns = (_spans(n, tile, overlap_px, tight) for n in shape)
    return [Tile((y0, x0, y1, x1), shape) for y0, y1 in rows for x0, x1 in columns]


def _spans(length: int, tile: int, overlap_px: int, tight: bool) -> list[tuple[int, int]]:
    """Return start and end of the tiles along one side."""
    if length <= tile:
        return [(0, length)]
    n_tiles = math.ceil((length - overlap_px) / (tile - overlap_px))
    if tight:
        tile = math.ceil((length + (n_tiles - 1) * overlap_px) / n_tiles)
    starts = [i * (length - tile) // (n_tiles - 1) for i in range(n_tiles)]
    return [(start, start + tile) for start in starts]
