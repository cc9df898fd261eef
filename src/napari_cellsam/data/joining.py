"""The joining of what overlapping tiles show: one view of every cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.overlap import common, overlapping, touching
from napari_cellsam.data.tiling import Region, Tile
from napari_cellsam.errors import OptionError
from napari_cellsam.types import Mask

__all__ = ["Candidate", "Joining", "View", "join", "n_shared"]

# A mask that ends this close to the border of its tile may go on behind it: outlines are not sharper than that.
_TOUCH_PX = 2
# Views of one cell agree better than this, cells side by side overlap less.
_SAME_CELL = 0.5


@dataclass(frozen=True, eq=False)
class Candidate:
    """A cell as one tile shows it.

    Attributes
    ----------
    mask
        The cell, in pixels of the image.
    score
        How sure the model is, 0 to 1.
    tile
        Number of the tile.
    """

    mask: Mask
    score: float
    tile: int


@dataclass(frozen=True, eq=False)
class View:
    """A candidate with what joining asks of it.

    Attributes
    ----------
    index
        As how many-th it came, from 0.
    candidate, tile
        What was found, and where.
    box
        The pixels' bounding box.
    area
        Number of pixels.
    margin
        Pixels to the nearest border of the tile behind which the image goes on; infinity without one.
    """

    index: int
    candidate: Candidate
    tile: Tile
    box: Region
    area: int
    margin: float

    @classmethod
    def of(cls, index: int, candidate: Candidate, tile: Tile) -> View:
        """Measure a candidate."""
        y0, x0, y1, x1 = (int(v) for v in candidate.mask.box)
        box = y0, x0, y1 + 1, x1 + 1
        return cls(index, candidate, tile, box, candidate.mask.area, tile.margin_of(box))

    @property
    def cut(self) -> bool:
        """Whether the cell may go on behind the border of the tile."""
        return self.margin < _TOUCH_PX

    @property
    def quality(self) -> float:
        """Score, less where the surroundings of the cell are cut away."""
        return self.candidate.score * min(1.0, self.margin / math.sqrt(self.area))

    def within(self, region: Region) -> NDArray[np.bool_]:
        """Return the mask inside a region of the image that holds some of its crop."""
        (y, x), crop = self.candidate.mask.corner, self.candidate.mask.crop
        y0, x0, y1, x1 = region
        return crop[max(y0 - y, 0) : max(y1 - y, 0), max(x0 - x, 0) : max(x1 - x, 0)]


def n_shared(a: View, b: View) -> int:
    """Return how many pixels two views whose boxes overlap share."""
    both = common(a.box, b.box)
    return int(np.count_nonzero(a.within(both) & b.within(both)))


def join(candidates: Sequence[Candidate], tiles: Sequence[Tile]) -> list[int]:
    """Choose one view of every cell that overlapping tiles show.

    Two candidates of different tiles are the same cell when they share more than half of the smaller one, or of the one
    that is cut. Of views that show the cell whole (it does not reach a border behind which the image goes on), the one
    with the best score stays; a score counts less where that border is nearer than the cell is wide, because the
    surroundings of the cell are cut away. Cut views of a cell that another tile shows whole go, and so do those in a
    place that another tile shows with all around it, and found no such cell in. Of a cell that no tile shows whole, the
    largest view stays; there, two views are the same cell when they agree where both tiles look. Candidates of one tile
    never displace each other: the detector predicts a set.

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
    joining = Joining(tiles)
    joining.add(candidates)
    return [view.index for view in joining.settle(())]


class Joining:
    """Joins candidates as they come in, tile by tile; the choice is that of `join` on all of them.

    Parameters
    ----------
    tiles
        What ``Candidate.tile`` counts; may grow.
    """

    def __init__(self, tiles: Sequence[Tile]) -> None:
        self._tiles = tiles
        self._n_added = 0
        self._views: dict[int, View] = {}
        # For every open view, those of other tiles that show the same cell, and those that look alike though cut.
        self._same: dict[int, set[int]] = {}
        self._alike: dict[int, set[int]] = {}

    @property
    def open_boxes(self) -> list[Region]:
        """Where views are whose fate is open."""
        return [view.box for view in self._views.values()]

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Take in candidates; those without pixels count, but are never chosen.

        Raises
        ------
        OptionError
            If one names a tile that does not exist.
        """
        n_known = len(self._views)
        for candidate in candidates:
            if not 0 <= candidate.tile < len(self._tiles):
                raise OptionError(
                    f"a candidate names tile {candidate.tile}; there are tiles 0 to {len(self._tiles) - 1}"
                )
            if candidate.mask.crop.any():
                index = self._n_added
                self._views[index] = View.of(index, candidate, self._tiles[candidate.tile])
                self._same[index], self._alike[index] = set(), set()
            self._n_added += 1
        views = list(self._views.values())
        for i, j in overlapping([v.box for v in views], [v.candidate.tile for v in views], n_known):
            self._compare(views[i], views[j])

    def settle(self, pending: Sequence[Region]) -> list[View]:
        """Choose among the views that no further tile can change; they are not looked at again.

        Parameters
        ----------
        pending
            Regions that are still to be looked at.

        Returns
        -------
        list of View
            Those that stay, in the order in which they came.
        """
        exposed = touching(self.open_boxes, pending)
        still_open = self._linked([i for i, hit in zip(self._views, exposed, strict=True) if hit])
        settled = {i: view for i, view in self._views.items() if i not in still_open}
        kept = self._choose(settled)
        chosen = [view for i, view in settled.items() if i in kept]
        for i in settled:
            del self._views[i], self._same[i], self._alike[i]
        return chosen

    def _compare(self, a: View, b: View) -> None:
        """Note whether two views show the same cell, or look alike though cut."""
        shared = n_shared(a, b)
        if not shared:
            return
        # A whole view that covers little of a cut one is something else: perhaps a part of a cell that no tile holds.
        part = min(view.area for view in (a, b) if view.cut or a.cut == b.cut)
        same = shared > _SAME_CELL * part
        if same:
            self._same[a.index].add(b.index)
            self._same[b.index].add(a.index)
        if a.cut and b.cut:
            seen = common(a.tile.region, b.tile.region)
            n_seen = int(np.count_nonzero(a.within(seen)) + np.count_nonzero(b.within(seen))) - shared
            if same or shared > _SAME_CELL * n_seen:
                self._alike[a.index].add(b.index)
                self._alike[b.index].add(a.index)

    def _linked(self, seeds: Iterable[int]) -> set[int]:
        """Return all views that are linked to one of the seeds, directly or through others."""
        waiting = list(seeds)
        found = set(waiting)
        while waiting:
            i = waiting.pop()
            further = (self._same[i] | self._alike[i]) - found
            found |= further
            waiting.extend(further)
        return found

    def _choose(self, views: dict[int, View]) -> set[int]:
        """Return the views that stay of some that have no link to others."""
        kept: set[int] = set()
        whole = [i for i, view in views.items() if not view.cut]
        for i in sorted(whole, key=lambda i: (-views[i].quality, i)):
            if kept.isdisjoint(self._same[i]):
                kept.add(i)
        left = [i for i, view in views.items() if view.cut and kept.isdisjoint(self._same[i])]
        return kept | self._largest_of_each([i for i in left if not self._is_refuted(views[i])], views)

    def _is_refuted(self, view: View) -> bool:
        """Return whether another tile shows the place of a cut view with all around it, where it found no such cell."""
        room = max(math.sqrt(view.area), _TOUCH_PX)
        y0, x0, y1, x1 = view.box
        for tile in self._tiles:
            top, left, bottom, right = tile.region
            holds = top <= y0 and left <= x0 and bottom >= y1 and right >= x1
            if holds and tile.counts and tile.margin_of(view.box) >= room:
                return True
        return False

    def _largest_of_each(self, members: Sequence[int], views: dict[int, View]) -> set[int]:
        """Return the largest view of every group of views that are linked by looking alike."""
        waiting = dict.fromkeys(sorted(members, key=lambda i: (-views[i].area, -views[i].candidate.score, i)))
        chosen = set()
        while waiting:
            largest = next(iter(waiting))
            chosen.add(largest)
            group = [largest]
            del waiting[largest]
            while group:
                for other in sorted(self._alike[group.pop()] & waiting.keys()):
                    del waiting[other]
                    group.append(other)
        return chosen
