"""Tiles of an image too large for one look, and the joining of what was found in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.types import Mask

__all__ = ["Candidate", "Tile", "join", "join_settled", "plan_tiles"]

Ints = NDArray[np.intp]
Region = tuple[int, int, int, int]

# A mask that ends this close to the border of its tile may go on behind it: outlines are not sharper than that.
_TOUCH_PX = 2
# Views of one cell agree better than this, cells side by side overlap less.
_SAME_CELL = 0.5
_PAIRS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Tile:
    """A part of an image that a model looks at.

    Attributes
    ----------
    region
        ``(y0, x0, y1, x1)`` in pixels, the last row and column excluded; may reach beyond the image.
    shape
        ``(Y, X)`` of the image.
    """

    region: Region
    shape: tuple[int, int]

    @property
    def inner(self) -> tuple[bool, bool, bool, bool]:
        """Whether the image goes on behind the top, left, bottom and right border."""
        y0, x0, y1, x1 = self.region
        return y0 > 0, x0 > 0, y1 < self.shape[0], x1 < self.shape[1]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A cell as one tile shows it.

    Attributes
    ----------
    mask
        The cell, in pixels of the image.
    score
        How sure the detector is, 0 to 1.
    tile
        Number of the tile.
    """

    mask: Mask
    score: float
    tile: int


def plan_tiles(shape: tuple[int, int], tile: int, overlap_px: int) -> list[Tile]:
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
    rows, columns = (_spans(n, tile, overlap_px) for n in shape)
    return [Tile((y0, x0, y1, x1), shape) for y0, y1 in rows for x0, x1 in columns]


def _spans(length: int, tile: int, overlap_px: int) -> list[tuple[int, int]]:
    """Return start and end of the tiles along one side."""
    if length <= tile:
        return [(0, length)]
    n_tiles = math.ceil((length - overlap_px) / (tile - overlap_px))
    starts = [i * (length - tile) // (n_tiles - 1) for i in range(n_tiles)]
    return [(start, start + tile) for start in starts]


def join(candidates: Sequence[Candidate], tiles: Sequence[Tile]) -> list[int]:
    """Choose one view of every cell that overlapping tiles show.

    Two candidates of different tiles are the same cell when they share more than half of the smaller one, or of the one
    that is cut. Of views that show the cell whole (it does not reach a border behind which the image goes on), the one
    with the best score stays; a score counts less where that border is nearer than the cell is wide, because the
    surroundings of the cell are cut away. Cut views of a cell that another tile shows whole go. Of a cell that no tile
    shows whole, the largest view stays; there, two views are the same cell when they agree where both tiles look.
    Candidates of one tile never displace each other: the detector predicts a set.

    Parameters
    ----------
    candidates
        In any order.
    tiles
        What ``Candidate.tile`` counts; any regions, also such that lie in each other.

    Returns
    -------
    list of int
        Indices of the candidates that stay, rising. Empty masks do not.

    Raises
    ------
    OptionError
        If a candidate names a tile that does not exist.
    """
    settled, _ = join_settled(candidates, tiles, ())
    return settled


def join_settled(
    candidates: Sequence[Candidate], tiles: Sequence[Tile], pending: Sequence[Region]
) -> tuple[list[int], list[int]]:
    """Choose one view of every cell whose fate no further tile can change; as `join` would, had it seen all.

    Parameters
    ----------
    candidates, tiles
        As for `join`.
    pending
        Regions that are still to be looked at.

    Returns
    -------
    chosen : list of int
        Indices of candidates that stay, rising.
    open : list of int
        Indices of candidates that must be asked for again with what the pending regions show, rising.
    """
    wrong = next((c.tile for c in candidates if not 0 <= c.tile < len(tiles)), None)
    if wrong is not None:
        raise OptionError(f"a candidate names tile {wrong}; there are tiles 0 to {len(tiles) - 1}")
    views = [_View.of(i, c, tiles[c.tile]) for i, c in enumerate(candidates) if c.mask.crop.any()]
    same, alike = _matches(views)
    waiting = _linked([i for i, view in enumerate(views) if view.meets(pending)], same, alike)
    kept: set[int] = set()
    whole = [i for i, view in enumerate(views) if not view.cut and i not in waiting]
    for i in sorted(whole, key=lambda i: (-views[i].quality, i)):
        if kept.isdisjoint(same[i]):
            kept.add(i)
    left = [i for i, view in enumerate(views) if view.cut and i not in waiting and kept.isdisjoint(same[i])]
    kept.update(_largest_of_each(left, alike, views))
    return sorted(views[i].index for i in kept), sorted(views[i].index for i in waiting)


def _linked(seeds: Sequence[int], same: Sequence[set[int]], alike: Sequence[set[int]]) -> set[int]:
    """Return everything that is linked to one of the seeds, directly or through others."""
    found, waiting = set(seeds), list(seeds)
    while waiting:
        i = waiting.pop()
        further = (same[i] | alike[i]) - found
        found |= further
        waiting.extend(further)
    return found


@dataclass(frozen=True, eq=False)
class _View:
    """A candidate with what joining asks of it."""

    index: int
    candidate: Candidate
    tile: Tile
    box: Region  # the last row and column excluded
    area: int
    margin: float  # pixels to the nearest border behind which the image goes on; infinity without one

    @classmethod
    def of(cls, index: int, candidate: Candidate, tile: Tile) -> _View:
        """Measure a candidate."""
        y0, x0, y1, x1 = (int(v) for v in candidate.mask.box)
        box = y0, x0, y1 + 1, x1 + 1
        top, left, bottom, right = tile.region
        gaps = box[0] - top, box[1] - left, bottom - box[2], right - box[3]
        margin = min((gap for gap, inner in zip(gaps, tile.inner, strict=True) if inner), default=math.inf)
        return cls(index, candidate, tile, box, candidate.mask.area, margin)

    @property
    def cut(self) -> bool:
        """Whether the cell may go on behind the border of the tile."""
        return self.margin < _TOUCH_PX

    @property
    def quality(self) -> float:
        """Score, less where the surroundings of the cell are cut away."""
        return self.candidate.score * min(1.0, self.margin / math.sqrt(self.area))

    def meets(self, regions: Sequence[Region]) -> bool:
        """Return whether the cell reaches into one of the regions."""
        y0, x0, y1, x1 = self.box
        return any(y0 < bottom and top < y1 and x0 < right and left < x1 for top, left, bottom, right in regions)

    def within(self, region: Region) -> NDArray[np.bool_]:
        """Return the mask inside a region of the image that holds some of its crop."""
        (y, x), crop = self.candidate.mask.corner, self.candidate.mask.crop
        y0, x0, y1, x1 = region
        return crop[max(y0 - y, 0) : max(y1 - y, 0), max(x0 - x, 0) : max(x1 - x, 0)]


def _matches(views: Sequence[_View]) -> tuple[list[set[int]], list[set[int]]]:
    """Return for every view those of other tiles that show the same cell, and those that look alike though cut."""
    same: list[set[int]] = [set() for _ in views]
    alike: list[set[int]] = [set() for _ in views]
    for i, j in _overlapping(views):
        a, b = views[i], views[j]
        shared = _common(a.box, b.box)
        n_shared = int(np.count_nonzero(a.within(shared) & b.within(shared)))
        if not n_shared:
            continue
        # A whole view that covers little of a cut one is something else: perhaps a part of a cell that no tile holds.
        part = min(view.area for view in (a, b) if view.cut or a.cut == b.cut)
        if n_shared > _SAME_CELL * part:
            same[i].add(j)
            same[j].add(i)
        if a.cut and b.cut:
            seen = _common(a.tile.region, b.tile.region)
            n_seen = int(np.count_nonzero(a.within(seen)) + np.count_nonzero(b.within(seen))) - n_shared
            if j in same[i] or n_shared > _SAME_CELL * n_seen:
                alike[i].add(j)
                alike[j].add(i)
    return same, alike


def _common(a: Region, b: Region) -> Region:
    """Return the region that two regions share."""
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _overlapping(views: Sequence[_View]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of views from different tiles whose boxes overlap, found by sorting instead of trying all."""
    if not views:
        return
    order = np.array(sorted(range(len(views)), key=lambda i: views[i].box[0]), np.intp)
    y0, x0, y1, x1 = np.array([views[i].box for i in order], np.intp).T
    tile = np.array([views[i].candidate.tile for i in order], np.intp)
    # Those that begin at or after view k and before its end are k + 1 ... last[k] - 1.
    last = np.searchsorted(y0, y1)
    counts = last - np.arange(len(order)) - 1
    for first, stop in _blocks(counts):
        a = np.repeat(np.arange(first, stop), counts[first:stop])
        begins = np.repeat(np.cumsum(counts[first:stop]) - counts[first:stop], counts[first:stop])
        b = a + 1 + np.arange(len(a)) - begins
        hit = (x0[a] < x1[b]) & (x0[b] < x1[a]) & (tile[a] != tile[b])
        yield from zip(order[a[hit]].tolist(), order[b[hit]].tolist(), strict=True)


def _blocks(counts: Ints) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows whose counts add up to a bounded number of pairs."""
    total, first = 0, 0
    for row, count in enumerate(counts.tolist()):
        if total and total + count > _PAIRS_AT_ONCE:
            yield first, row
            total, first = 0, row
        total += count
    yield first, len(counts)


def _largest_of_each(members: Sequence[int], alike: Sequence[set[int]], views: Sequence[_View]) -> list[int]:
    """Return the largest view of every group of views that are linked by looking alike."""
    waiting = dict.fromkeys(sorted(members, key=lambda i: (-views[i].area, -views[i].candidate.score, i)))
    chosen = []
    while waiting:
        largest = next(iter(waiting))
        chosen.append(largest)
        group = [largest]
        del waiting[largest]
        while group:
            for other in sorted(alike[group.pop()] & waiting.keys()):
                del waiting[other]
                group.append(other)
    return chosen
