"""The search of an image for cells: where was looked, where is still to look, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from napari_cellsam.data.tiling import Candidate, Tile
from napari_cellsam.geometry import Frame

__all__ = ["Search"]

_MOST_SPLITS = 2  # more than the cells of any picture need; without an end, a low score cut would split on and on
_SPLIT = "more cells than the detector has queries: parts of the image were looked at in quarters"
_FULL = "a part of the image still held more cells than the detector has queries; a smaller diameter shows them larger"


@dataclass
class Search:
    """A search that goes from frame to frame.

    Attributes
    ----------
    frames, tiles
        Where to look, and the same places as tiles; both grow when a frame turns out to be too full.
    candidates
        What was found; ``Candidate.tile`` counts the tiles.
    notes
        What the user should know.
    """

    frames: list[Frame]
    tiles: list[Tile]
    candidates: list[Candidate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _n_splits: dict[int, int] = field(default_factory=dict)

    def split(self, number: int, parts: Sequence[Frame]) -> bool:
        """Put the parts of a frame that is too full at the end, to be looked at in its place.

        Parameters
        ----------
        number
            Which frame.
        parts
            Frames that cover it; those beyond the image are left out.

        Returns
        -------
        bool
            False if the frame was split often enough: then what was found in it is all there will be.
        """
        n_splits = self._n_splits.get(number, 0) + 1
        self.notes.append(_SPLIT if n_splits <= _MOST_SPLITS else _FULL)
        if n_splits > _MOST_SPLITS:
            return False
        shape = self.tiles[number].shape
        for part in parts:
            if part.region[0] < shape[0] and part.region[1] < shape[1]:
                self._n_splits[len(self.frames)] = n_splits
                self.frames.append(part)
                self.tiles.append(Tile(part.region, shape))
        return True
