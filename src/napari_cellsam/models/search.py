"""The search of an image for cells: where to look next, and which cells are final."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from napari_cellsam.data.joining import Candidate
from napari_cellsam.data.settling import Settling
from napari_cellsam.data.tiling import Tile
from napari_cellsam.geometry import Frame
from napari_cellsam.types import Cell, Mask

__all__ = ["Search"]

_MOST_SPLITS = 2  # more than the cells of any picture need; without an end, a low score cut would split on and on
_SPLIT = "more cells than the detector has queries: parts of the image were looked at in quarters"
_FULL = "a part of the image still held more cells than the detector has queries; a smaller diameter shows them larger"
_MEMORY = "the device's memory was full: parts of the image were looked at in quarters"


class Search:
    """A search that goes from frame to frame.

    Parameters
    ----------
    frames, tiles
        Where to look, and the same places as tiles.
    min_area
        Cells with fewer pixels are dropped.
    """

    def __init__(self, frames: Sequence[Frame], tiles: Sequence[Tile], min_area: int = 0) -> None:
        self._frames, self._tiles = list(frames), list(tiles)
        self._waiting = deque(range(len(frames)))
        self._found: list[Candidate] = []
        self._settling = Settling(self._tiles, min_area)
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
        self._found.append(Candidate(mask, score, number))

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
        self._tiles[number] = replace(self._tiles[number], counts=False)
        for part in reversed(parts):
            if part.region[0] < shape[0] and part.region[1] < shape[1]:
                self._n_splits[len(self._frames)] = n_splits
                self._waiting.appendleft(len(self._frames))
                self._frames.append(part)
                self._tiles.append(Tile(part.region, shape))
        return True

    def settle(self) -> tuple[Cell, ...]:
        """Return the cells that no frame still to look at can change; each comes once."""
        self._settling.add(self._found)
        self._found = []
        return tuple(self._settling.settle([self._tiles[number].region for number in self._waiting]))
