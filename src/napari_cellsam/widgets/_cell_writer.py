"""The writing of many cells into a labels layer, a little at a time, so that the window never waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.widgets._edits import CropEdit, Plane, edit_between, place
from napari_cellsam.widgets._history import Action
from napari_cellsam.widgets._records import CellRecord, RecordChange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.types import Cell
    from napari_cellsam.widgets._session import Session

__all__ = ["CellWriter", "erasing"]

_AT_ONCE = 24  # cells in one write
_FREE_SHARE = 0.5  # of a cell's pixels that must be on background
_ERASED_AT_ONCE = 40_000  # pixels


@dataclass(frozen=True, eq=False)
class _Part:
    """Cells of a plane, or changes that are ready to be made."""

    plane: Plane = ()
    cells: tuple[Cell, ...] = ()
    edits: tuple[CropEdit, ...] = ()
    changes: tuple[RecordChange, ...] = ()


class CellWriter:
    """Writes cells where there is background; all that it writes is one step of the history.

    Parameters
    ----------
    session
        Whose labels.
    title
        Of the step.
    """

    def __init__(self, session: Session, title: str) -> None:
        self._session, self._title = session, title
        self._waiting: deque[_Part] = deque()
        self._group = object()
        self.n_written = 0

    def add(self, plane: Plane, cells: Sequence[Cell]) -> None:
        """Let cells wait to be written, in pixels of the plane; they share no pixels with each other."""
        for start in range(0, len(cells), _AT_ONCE):
            self._waiting.append(_Part(plane, tuple(cells[start : start + _AT_ONCE])))

    def add_edits(self, edits: Sequence[CropEdit], changes: Sequence[RecordChange]) -> None:
        """Let changes wait that were prepared elsewhere."""
        self._waiting.extend(_Part(edits=(edit,)) for edit in edits)
        self._waiting.append(_Part(changes=tuple(changes)))

    def write(self, budget_s: float | None = None) -> bool:
        """Write what waits, for as long as the budget lasts; return whether something still waits."""
        begun = time.perf_counter()
        while self._waiting and (budget_s is None or time.perf_counter() - begun < budget_s):
            self._write(self._waiting.popleft())
        return bool(self._waiting)

    def _write(self, part: _Part) -> None:
        edits, changes = list(part.edits), list(part.changes)
        for cell in part.cells:
            edit, change = self._placed(part.plane, cell)
            if edit is not None and change is not None:
                edits.append(edit)
                changes.append(change)
                self.n_written += 1
        if edits or changes:
            self._session.apply(Action(self._title, tuple(edits), tuple(changes), self._group))

    def _placed(self, plane: Plane, cell: Cell) -> tuple[CropEdit | None, RecordChange | None]:
        """Return how a cell is written; nothing if most of it lies on others."""
        target, mask = self._session.target, cell.mask
        (y, x), (height, width) = mask.corner, mask.crop.shape
        under = target.read(plane, (slice(y, y + height), slice(x, x + width)))
        if np.count_nonzero(mask.crop & (under == 0)) < _FREE_SHARE * mask.area:
            return None, None
        label = target.take_number()
        edit = edit_between(plane, mask.corner, under, place(under, mask.crop, label))
        record = CellRecord(label, plane, "automatic", float(cell.score), float(mask.score))
        return edit, RecordChange(None, record)


def erasing(
    plane: Plane, labels: NDArray[np.integer[Any]], corner: tuple[int, int], unwanted: Sequence[CellRecord]
) -> tuple[list[CropEdit], list[RecordChange]]:
    """Return how cells are erased; takes a while for large pictures, so ask in another thread.

    Parameters
    ----------
    plane
        Where in the stack.
    labels, corner
        ``(h, w)`` part of the plane, and its first pixel.
    unwanted
        The cells; those that are not in the part are left alone.
    """
    numbers = np.array([record.label for record in unwanted], labels.dtype)
    rows, columns = np.nonzero(np.isin(labels, numbers))
    values = labels[rows, columns].astype(np.uint32)
    y, x = (rows + corner[0]).astype(np.int32), (columns + corner[1]).astype(np.int32)
    nothing = np.zeros(1, np.uint32)
    parts = [slice(start, start + _ERASED_AT_ONCE) for start in range(0, len(y), _ERASED_AT_ONCE)]
    edits = [CropEdit(plane, y[part], x[part], values[part], nothing) for part in parts]
    present = set(np.unique(values).tolist())
    return edits, [RecordChange(record, None) for record in unwanted if record.label in present]
