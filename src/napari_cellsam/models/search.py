"""The search of an image for cells: where to look next, and which cells are final."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from napari_cellsam.data.tiling import Candidate, Tile, join_settled
from napari_cellsam.geometry import Frame
from napari_cellsam.labels import assemble, boxes_of
from napari_cellsam.types import Cell, Mask

__all__ = ["Search"]

_MOST_SPLITS = 2  # more than the cells of any picture need; without an end, a low score cut would split on and on
_SPLIT = "more cells than the detector has queries: parts of the image were looked at in quarters"
_FULL = "a part of the image still held more cells than the detector has queries; a smaller diameter shows them larger"
_MEMORY = "the device's memory was full: parts of the image were looked at in quarters"


class Search:
    """A search that goes from frame to frame.

    Cells become final as soon as no frame that is still to look at can change them. A pixel that a final cell has stays
    its own.

    Parameters
    ----------
    frames, tiles
        Where to look, and the same places as tiles.
    shape
        ``(Y, X)`` of the image.
    min_area
        Cells with fewer pixels are dropped.
    """

    def __init__(self, frames: Sequence[Frame], tiles: Sequence[Tile], shape: tuple[int, int], min_area: int) -> None:
        self._frames, self._tiles = list(frames), list(tiles)
        self._waiting = deque(range(len(frames)))
        self._min_area = min_area
        self._open: list[Candidate] = []
        self._taken = np.zeros(shape, bool)
        self._n_splits: dict[int, int] = {}
        self._notes: dict[str, None] = {}

    @property
    def n_frames(self) -> int:
        """Number of frames in all; grows when one turns out to be too full."""
        return len(self._frames)

    @property
    def n_done(self) -> int:
        """Number of frames that were looked at."""
        return len(self._frames) - len(self._waiting)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        return tuple(self._notes)

    def note(self, text: str) -> None:
        """Take down something that the user should know."""
        self._notes[text] = None

    def next(self) -> tuple[int, Frame] | None:
        """Return number and frame of the next look; None at the end."""
        if not self._waiting:
            return None
        number = self._waiting.popleft()
        return number, self._frames[number]

    def add(self, mask: Mask, score: float, number: int) -> None:
        """Take in what was found in a frame."""
        self._open.append(Candidate(mask, score, number))

    def split(self, number: int, parts: Sequence[Frame], *, memory: bool = False) -> bool:
        """Look at the parts of a frame next, in its place.

        Parameters
        ----------
        number
            Which frame.
        parts
            Frames that cover it; those beyond the image are left out.
        memory
            Whether that is because it does not fit into memory; else because it holds too many cells.

        Returns
        -------
        bool
            False if the frame was split often enough: then what was found in it is all there will be.
        """
        n_splits = self._n_splits.get(number, 0) + 1
        if n_splits > _MOST_SPLITS:
            if not memory:
                self.note(_FULL)
            return False
        self.note(_MEMORY if memory else _SPLIT)
        shape = self._tiles[number].shape
        for part in reversed(parts):
            if part.region[0] < shape[0] and part.region[1] < shape[1]:
                self._n_splits[len(self._frames)] = n_splits
                self._waiting.appendleft(len(self._frames))
                self._frames.append(part)
                self._tiles.append(Tile(part.region, shape))
        return True

    def settle(self) -> tuple[Cell, ...]:
        """Return the cells that have become final, disjoint from each other and from all before."""
        pending = [self._tiles[number].region for number in self._waiting]
        chosen, still_open = join_settled(self._open, self._tiles, pending)
        final = [self._open[i] for i in chosen]
        self._open = [self._open[i] for i in still_open]
        return self._assemble(final) if final else ()

    def _assemble(self, final: Sequence[Candidate]) -> tuple[Cell, ...]:
        """Give every pixel to one cell, within a window around all of them."""
        shape = self._taken.shape
        corners = np.array([c.mask.corner for c in final])
        ends = corners + np.array([c.mask.crop.shape for c in final])
        y0, x0 = np.maximum(corners.min(0), 0)
        y1, x1 = np.minimum(ends.max(0), shape)
        taken = self._taken[y0:y1, x0:x1]
        masks = [self._left_of(c.mask, int(y0), int(x0)) for c in final]
        labels, rows = assemble(masks, [c.score for c in final], (y1 - y0, x1 - x0), min_area=self._min_area)
        labels[taken] = 0  # a hole may have been filled that an earlier cell lies in
        cells = []
        for number, (row, box) in enumerate(zip(rows, boxes_of(labels, missing_ok=True), strict=False), start=1):
            if not np.isfinite(box).all():
                continue
            top, left, bottom, right = box.astype(int)
            crop = labels[top : bottom + 1, left : right + 1] == number
            mask = Mask(crop, (int(y0) + int(top), int(x0) + int(left)), final[row].mask.score)
            cells.append(Cell(mask, final[row].score))
        taken |= labels > 0
        return tuple(cells)

    def _left_of(self, mask: Mask, y0: int, x0: int) -> Mask:
        """Return a mask in a window that begins at ``(y0, x0)``, without pixels that others have.

        A mask that has lost more than half is a contradiction to what is final: it is emptied.
        """
        (y, x), (height, width) = mask.corner, mask.crop.shape
        top, left = max(-y, 0), max(-x, 0)
        taken = self._taken[y + top : y + height, x + left : x + width]
        if not taken.any():
            return Mask(mask.crop, (y - y0, x - x0), mask.score, mask.probability)
        crop = mask.crop.copy()
        crop[top : top + taken.shape[0], left : left + taken.shape[1]] &= ~taken
        if 2 * int(crop.sum()) < mask.area:
            crop[:] = False
        return Mask(crop, (y - y0, x - x0), mask.score, mask.probability)
