"""Tiles of an image too large for one look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from napari_cellsam.errors import ImageShapeError, OptionError

__all__ = ["Region", "Spans", "Tile", "plan_spans", "plan_tiles"]

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


@dataclass(frozen=True)
class Spans(Sequence[tuple[int, int]]):
    """Start and end of the tiles along one side of an image, in pixels; none is made before it is asked for.

    Attributes
    ----------
    n_tiles
        How many there are.
    length, tile
        Of the side and of a tile, in units.
    unit
        Pixels of the image on whose multiples tiles begin.
    end
        Pixels of the side: where the last tile ends.
    """

    n_tiles: int
    length: int
    tile: int
    unit: int
    end: int

    def __len__(self) -> int:
        return self.n_tiles

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int]]: ...

    def __getitem__(self, index: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.n_tiles))]
        start = range(self.n_tiles)[index] * (self.length - self.tile) // max(self.n_tiles - 1, 1)
        return start * self.unit, min((start + self.tile) * self.unit, self.end)


def plan_tiles(shape: tuple[int, int], tile: int, overlap_px: int, *, tight: bool = False, unit: int = 1) -> list[Tile]:
    """Cover an image with tiles of one size.

    As many tiles are taken as the overlap demands, and spread evenly, so neighbours overlap by at least ``overlap_px``.
    The last one ends at the border of the image: none is stretched, padded or wrapped. Along a side that is not longer
    than a tile there is one, as long as that side.

    Parameters
    ----------
    shape
        ``(Y, X)`` of the image.
    tile
        Side of a tile, in units.
    overlap_px
        Least overlap of neighbours, in units; less than the tile.
    tight
        Whether tiles may be shorter than that, so that equally many overlap no more than they must.
    unit
        Pixels on whose multiples tiles begin. With more than one the last tile may be shorter than the others.

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
    rows, columns = map(list, plan_spans(shape, tile, overlap_px, tight=tight, unit=unit))
    return [Tile((y0, x0, y1, x1), shape) for y0, y1 in rows for x0, x1 in columns]


def plan_spans(
    shape: tuple[int, int], tile: int, overlap_px: int, *, tight: bool = False, unit: int = 1
) -> tuple[Spans, Spans]:
    """Return the rows and the columns of the tiles that `plan_tiles` makes, at no cost for each tile."""
    if tile < 1 or not 0 <= overlap_px < tile:
        raise OptionError(f"got tiles of {tile} with an overlap of {overlap_px} pixels; expected 0 <= overlap < tile")
    if min(shape) < 1:
        raise ImageShapeError(f"got an image of shape {shape}, which has no pixels")
    rows, columns = (_spans(n, tile, overlap_px, tight, unit) for n in shape)
    return rows, columns


def _spans(n_pixels: int, tile: int, overlap_px: int, tight: bool, unit: int) -> Spans:
    """Return start and end of the tiles along one side."""
    length = math.ceil(n_pixels / unit)
    if length <= tile:
        return Spans(1, length, length, unit, n_pixels)
    n_tiles = math.ceil((length - overlap_px) / (tile - overlap_px))
    if tight:
        tile = math.ceil((length + (n_tiles - 1) * overlap_px) / n_tiles)
    return Spans(n_tiles, length, tile, unit, n_pixels)
