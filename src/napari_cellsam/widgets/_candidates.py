"""The candidates: all cells that the detector proposes for a plane, also those with low scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.errors import OptionError

if TYPE_CHECKING:
    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.editing.records import CellRecord
    from napari_cellsam.types import Cell
    from napari_cellsam.widgets._records import CellTable

__all__ = ["BoxYX", "Candidate", "Candidates", "nearest"]

BoxYX = tuple[float, float, float, float]
"""``(y_min, x_min, y_max, x_max)``, centres of the outermost pixels."""

_OVERHEAD_BYTES = 600  # of a candidate beside its pixels


@dataclass(frozen=True, eq=False)
class Candidate:
    """A proposed cell.

    Attributes
    ----------
    number
        Its own, which no other candidate of the plane has.
    cell
        Pixels, detector's score and predicted IoU.
    box
        Around it.
    by_hand
        Whether a person drew the box; no threshold concerns it then.
    """

    number: int
    cell: Cell
    box: BoxYX
    by_hand: bool = False

    @property
    def score(self) -> float:
        """How sure the detector is, 0 to 1."""
        return float(self.cell.score)

    @property
    def n_bytes(self) -> int:
        """Memory that it holds."""
        return _OVERHEAD_BYTES + int(self.cell.mask.crop.nbytes)


class Candidates:
    """The candidates of a plane, and which cells of the labels layer they are.

    A box is seen while its cell is there, whatever its score; or while its score is high enough, unless its cell was
    taken away. So it is the cells' records that say which boxes are seen, also after undoing and redoing.

    Parameters
    ----------
    plane
        Where in the stack.
    budget_bytes
        Memory for all of them. When it is used up, new ones are not kept but counted in ``n_left_out``.
    """

    def __init__(self, plane: Plane, budget_bytes: int = 256 * 2**20) -> None:
        if budget_bytes < 1:
            raise OptionError(f"got {budget_bytes} bytes for candidates; expected at least 1")
        self.plane = plane
        self.n_left_out = 0
        self.n_bytes = 0
        self._budget = budget_bytes
        self._all: dict[int, Candidate] = {}
        self._label_of: dict[int, int] = {}
        self._number_of: dict[int, int] = {}
        self._dismissed: set[int] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._all.values()))

    def get(self, number: int) -> Candidate | None:
        """Return a candidate, or None."""
        return self._all.get(number)

    def add(self, cell: Cell, box: BoxYX | None = None, *, by_hand: bool = False) -> Candidate | None:
        """Keep a candidate; None if there is no memory for it.

        Parameters
        ----------
        cell
            In pixels of the plane; boxes of automatic ones are drawn around their pixels.
        box, by_hand
            As in `Candidate`.
        """
        candidate = Candidate(len(self._all) + 1, cell, cell.mask.box if box is None else box, by_hand)
        if self.n_bytes + candidate.n_bytes > self._budget:
            self.n_left_out += 1
            return None
        self._all[candidate.number] = candidate
        self.n_bytes += candidate.n_bytes
        return candidate

    def label_of(self, number: int) -> int | None:
        """Return the number of a candidate's cell, also if that is gone now; None if it never had one."""
        return self._label_of.get(number)

    def link(self, number: int, label: int) -> bool:
        """Take note of which cell a candidate is; return False if that is another one's already."""
        if self._number_of.get(label, number) != number:
            return False
        self._number_of[label] = number
        self._label_of[number] = label
        return True

    def record_of(self, number: int, cells: CellTable) -> CellRecord | None:
        """Return what is known of a candidate's cell; None if it is not there."""
        label = self._label_of.get(number)
        return None if label is None else cells.get(self.plane, label)

    def dismiss(self, number: int) -> None:
        """Show a candidate's box no more, although its cell stays or there is none."""
        self._dismissed.add(number)

    def shown(self, threshold: float, cells: CellTable) -> dict[int, tuple[BoxYX, float]]:
        """Return box and score of each candidate that is seen, by number."""
        shown = {}
        for number, candidate in self._all.items():
            if number in self._dismissed:
                continue
            record = self.record_of(number, cells)
            if record is not None:
                shown[number] = (_box_of(candidate, record), candidate.score)
            elif number not in self._label_of and candidate.score >= threshold:
                shown[number] = (candidate.box, candidate.score)
        return shown

    def text(self, n_shown: int, n_drawn: int) -> str:
        """Return in a line how many there are, how many are shown, and how many of these are drawn."""
        few = f"; the {n_drawn} in view nearest to the threshold are drawn" if n_drawn < n_shown else ""
        forgotten = f" {self.n_left_out} more did not fit into memory." if self.n_left_out else ""
        return f"{n_shown} of {len(self)} boxes{few}.{forgotten}"


def nearest(
    shown: dict[int, tuple[BoxYX, float]], threshold: float, view: tuple[int, int, int, int], limit: int
) -> dict[int, tuple[BoxYX, float]]:
    """Return the boxes in the view whose scores are nearest to a threshold.

    Parameters
    ----------
    shown
        Box and score by number; at least one.
    threshold
        The score.
    view
        ``(y0, x0, y1, x1)`` in pixels, the end excluded.
    limit
        How many at most.
    """
    y0, x0, y1, x1 = view
    numbers, (boxes, scores) = list(shown), map(np.array, zip(*shown.values(), strict=True))
    seen = (boxes[:, 2] >= y0) & (boxes[:, 0] < y1) & (boxes[:, 3] >= x0) & (boxes[:, 1] < x1)
    order = np.argsort(np.where(seen, np.abs(scores - threshold), np.inf), kind="stable")
    return {numbers[at]: shown[numbers[at]] for at in order[: min(limit, int(seen.sum()))]}


def _box_of(candidate: Candidate, record: CellRecord) -> BoxYX:
    """Return the box that a cell was decoded with last, or else the detector's."""
    boxes = [prompt.box_yxyx for prompt in record.prompts if prompt.box_yxyx is not None]
    if not boxes:
        return candidate.box
    y0, x0, y1, x1 = np.asarray(boxes[-1], float).tolist()
    return y0, x0, y1, x1
