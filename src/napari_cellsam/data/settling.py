"""The cells of an image that become final while tiles are still to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_cellsam.data.joining import Candidate, Joining, View, n_shared
from napari_cellsam.data.overlap import overlapping, touching
from napari_cellsam.data.tiling import Region, Tile
from napari_cellsam.labels import assemble, survivors_of
from napari_cellsam.types import Cell, Mask

__all__ = ["Settling"]


@dataclass(eq=False)
class _Claim:
    """A view that was chosen and claims its pixels.

    Attributes
    ----------
    near
        Other claims whose boxes overlap this one's.
    shared
        Those of them that claim some of the same pixels, and how many.
    blocked
        Whether something still unknown may claim pixels in its box.
    sure
        Whether it is known to keep at least half of itself.
    final
        Whether it was handed over.
    """

    view: View
    near: set[int] = field(default_factory=set)
    shared: dict[int, int] = field(default_factory=dict)
    blocked: bool = True
    sure: bool = False
    final: bool = False

    @property
    def safe(self) -> bool:
        """Whether it keeps half of itself even if it loses every pixel that others claim too."""
        return 2 * sum(self.shared.values()) <= self.view.area


class Settling:
    """Hands over cells as soon as they are final: together those that `join` and `assemble` make of all candidates.

    What becomes of a claim depends on those that share pixels with it, on theirs, and so on; chains of cells that touch
    may go through a whole tissue. But nearly all claims keep more than half of themselves whatever the others do, and a
    chain ends at these: whether they stay is known as soon as their surroundings are. The few others are settled knot
    by knot. A cell is final when it and all around it are known to stay, with all that take pixels from these.

    Parameters
    ----------
    tiles
        What ``Candidate.tile`` counts; may grow.
    min_area
        Cells with fewer pixels are dropped.
    """

    def __init__(self, tiles: Sequence[Tile], min_area: int = 0) -> None:
        self._joining = Joining(tiles)
        self._min_area = min_area
        self._claims: dict[int, _Claim] = {}

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Take in what was found in a tile."""
        self._joining.add(candidates)

    def settle(self, pending: Sequence[Region]) -> list[Cell]:
        """Return the cells that have become final, in the order in which they were found.

        Parameters
        ----------
        pending
            Regions that are still to be looked at; none the last time.
        """
        self._enter(self._joining.settle(pending))
        waiting = {i: claim for i, claim in self._claims.items() if not claim.final}
        blocked = touching([c.view.box for c in waiting.values()], [*pending, *self._joining.open_boxes])
        for claim, hit in zip(waiting.values(), blocked.tolist(), strict=True):
            claim.blocked = hit
            claim.sure = claim.sure or (not hit and claim.safe)
        for knot in self._knots([i for i, claim in waiting.items() if not claim.sure]):
            self._untie(knot)
        known = {i for i in waiting if i in self._claims and self._is_known(i)}
        final = [i for i in known if all(self._claims[j].final or j in known for j in self._claims[i].near)]
        cells = self._cut_out(final)
        self._drop_what_is_behind(final)
        return cells

    def _enter(self, views: Sequence[View]) -> None:
        """Take in claims, none of which meets a final one."""
        known = [claim for claim in self._claims.values() if not claim.final]
        claims = [*known, *(_Claim(view) for view in views)]
        self._claims |= {claim.view.index: claim for claim in claims}
        for i, j in overlapping([claim.view.box for claim in claims], n_known=len(known)):
            a, b = claims[i], claims[j]
            a.near.add(b.view.index)
            b.near.add(a.view.index)
            shared = n_shared(a.view, b.view)
            if shared:
                a.shared[b.view.index] = b.shared[a.view.index] = shared

    def _knots(self, unsure: Sequence[int]) -> Iterator[set[int]]:
        """Yield claims that are linked by sharing pixels with each other, of which none is blocked."""
        left = set(unsure)
        while left:
            stack = [left.pop()]
            knot = set(stack)
            while stack:
                further = self._claims[stack.pop()].shared.keys() & left
                left -= further
                knot |= further
                stack.extend(further)
            if not any(self._claims[i].blocked for i in knot):
                yield knot

    def _untie(self, knot: set[int]) -> None:
        """Find out which claims of a knot stay, and let the others go."""
        around = knot.union(*(self._claims[i].shared for i in knot))
        views, masks, shape, _ = self._window(around)
        stay = {views[row].index for row in survivors_of(masks, [v.candidate.score for v in views], shape)}
        for i in knot:
            self._claims[i].sure = i in stay
        for i in knot - stay:
            for j in self._claims.pop(i).near:
                self._claims[j].near.discard(i)
                self._claims[j].shared.pop(i, None)

    def _is_known(self, i: int) -> bool:
        """Return whether it is known which pixels a claim keeps."""
        return self._claims[i].sure and all(self._claims[j].sure for j in self._claims[i].shared)

    def _cut_out(self, final: Sequence[int]) -> list[Cell]:
        """Return the final ones as cells, but for those that are too small."""
        if not final:
            return []
        around = set(final).union(*(self._claims[i].near for i in final))
        around |= set().union(*(self._claims[i].shared for i in around))
        views, masks, shape, (top, left) = self._window(around)
        labels, rows = assemble(masks, [v.candidate.score for v in views], shape, min_area=self._min_area)
        wanted, cells = set(final), []
        for number, row in enumerate(rows, start=1):
            view = views[row]
            if view.index in wanted:
                y0, x0, y1, x1 = view.box
                crop = labels[y0 - top : y1 - top, x0 - left : x1 - left] == number
                mask = _tight(Mask(crop, (y0, x0), view.candidate.mask.score))
                cells.append(Cell(mask, view.candidate.score))
        return cells

    def _window(self, members: Iterable[int]) -> tuple[list[View], list[Mask], tuple[int, int], tuple[int, int]]:
        """Return claims in their order, their masks in a window around all, the window's shape and its corner."""
        views = [self._claims[i].view for i in sorted(members)]
        boxes = np.array([view.box for view in views])
        (top, left), (bottom, right) = boxes[:, :2].min(0).tolist(), boxes[:, 2:].max(0).tolist()
        masks = []
        for view in views:
            mask = view.candidate.mask
            corner = mask.corner[0] - top, mask.corner[1] - left
            masks.append(Mask(mask.crop, corner, mask.score, mask.probability))
        return views, masks, (bottom - top, right - left), (top, left)

    def _drop_what_is_behind(self, final: Iterable[int]) -> None:
        """Forget final claims that no later cell needs to know."""
        for i in final:
            self._claims[i].final = True
        needed = {i for i, claim in self._claims.items() if not claim.final}
        for _ in range(2):  # what takes pixels from those around
            needed |= set().union(*(self._claims[i].near for i in needed))
        self._claims = {i: claim for i, claim in self._claims.items() if i in needed}


def _tight(mask: Mask) -> Mask:
    """Return a mask cut to its pixels."""
    y, x = mask.corner
    y0, x0, y1, x1 = (int(v) for v in mask.box)
    return Mask(mask.crop[y0 - y : y1 + 1 - y, x0 - x : x1 + 1 - x].copy(), (y0, x0), mask.score)
