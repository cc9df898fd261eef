"""The writing of many cells into a labels layer, a little at a time, so that the window never waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import CropEdit, Plane, edit_between, place
from napari_cellsam.editing.records import CellRecord, RecordChange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.types import Cell
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._turn import Turn

__all__ = ["CellWriter"]

_AT_ONCE = 8  # cells in one write
_FREE_SHARE = 0.5  # of a cell's pixels that must be on background, or on cells that give way
_ERASED_AT_ONCE = 20_000  # pixels


@dataclass(frozen=True, eq=False)
class _Part:
    """Cells of a plane to be written, or old ones to be erased; both empty: whatever is left of the old ones."""

    plane: Plane
    cells: tuple[Cell, ...] = ()
    old: tuple[int, ...] = ()


class CellWriter:
    """Writes cells where there is background; all that it writes is one step of the history.

    Background that a person verified stays: whoever says that every cell is outlined there knows of no other.

    Old cells that give way go when a new one lies on them, and the others at the end, so that a run that is cancelled
    leaves no gaps where it did not search.

    Parameters
    ----------
    session
        Whose labels.
    title
        Of the step.

    Attributes
    ----------
    n_written, n_erased
        Cells so far.
    group
        Of the step.
    """

    def __init__(self, session: Session, title: str) -> None:
        self._session, self._title = session, title
        self._waiting: deque[_Part] = deque()
        self._old: dict[Plane, dict[int, CropEdit]] = {}
        self.group = object()
        self.n_written = self.n_erased = 0

    def add(self, plane: Plane, cells: Sequence[Cell]) -> None:
        """Let cells wait to be written, in pixels of the plane; they share no pixels with each other."""
        for start in range(0, len(cells), _AT_ONCE):
            self._waiting.append(_Part(plane, tuple(cells[start : start + _AT_ONCE])))

    def give_way(self, plane: Plane, old: Mapping[int, CropEdit]) -> None:
        """Let the cells of a plane that come from now on take the place of old ones.

        Parameters
        ----------
        plane
            Where in the stack.
        old
            How each is erased, by number.
        """
        self._old[plane] = dict(old)

    def finish(self, plane: Plane) -> None:
        """Let the old cells wait to be erased on which no new one lies."""
        self._waiting.append(_Part(plane))

    def write(self, turn: Turn | None = None) -> bool:
        """Write what waits, or what there is time for in a turn; return whether something still waits.

        Raises
        ------
        OutputError
            If the layer cannot hold a cell.
        """
        while self._waiting and (turn is None or turn.goes_on()):
            part = self._waiting.popleft()
            if part.cells or part.old:
                self._write(part)
            else:
                self._waiting.extendleft(reversed(self._rest(part.plane)))
        return bool(self._waiting)

    def _write(self, part: _Part) -> None:
        edits: list[CropEdit] = []
        changes: list[RecordChange] = []
        gone: set[int] = set()
        self._erase(part.plane, part.old, edits, changes)
        try:
            for cell in part.cells:
                gone |= self._place(part.plane, cell, gone, edits, changes)
        finally:  # a cell that the layer cannot hold takes none of those before it along
            if edits or changes:
                self._session.apply(Action(self._title, tuple(edits), tuple(changes), self.group))

    def _place(
        self, plane: Plane, cell: Cell, gone: set[int], edits: list[CropEdit], changes: list[RecordChange]
    ) -> set[int]:
        """Note how a cell is written, unless most of it is not free; return which old cells go for it."""
        target, mask = self._session.target, cell.mask
        (y, x), (height, width) = mask.corner, mask.crop.shape
        window = (slice(y, y + height), slice(x, x + width))
        under = target.read(plane, window)
        if gone:
            under[np.isin(under, list(gone))] = 0
        going = self._going(plane, under[mask.crop]) if self._old.get(plane) else set()
        bare = np.where(np.isin(under, list(going)), 0, under).astype(under.dtype) if going else under
        free = mask.crop & (bare == 0) & ~self._session.verified.read(plane, window)
        if np.count_nonzero(free) < max(_FREE_SHARE * mask.area, 1):
            return set()
        label = target.take_number()
        self._erase(plane, tuple(going), edits, changes)
        edit = edit_between(plane, mask.corner, bare, place(bare, mask.crop, label))
        if edit is not None:
            edits.append(edit)
            record = CellRecord(label, plane, "automatic", float(cell.score), float(mask.score))
            changes.append(RecordChange(None, record))
            self.n_written += 1
        return going

    def _going(self, plane: Plane, numbers: NDArray[Any]) -> set[int]:
        """Return which of some cells give way, and were touched by nobody since."""
        cells, old = self._session.cells, self._old[plane]
        going = set()
        for number in map(int, np.unique(numbers)):
            record = cells.get(plane, number) if number in old else None
            if record is not None and record.is_replaceable:
                going.add(number)
        return going

    def _erase(self, plane: Plane, numbers: Sequence[int], edits: list[CropEdit], changes: list[RecordChange]) -> None:
        """Note how old cells are erased."""
        for number in numbers:
            edit = self._old[plane].pop(number, None)
            record = self._session.cells.get(plane, number)
            if edit is not None and record is not None and record.is_replaceable:
                edits.append(edit)
                changes.append(RecordChange(record, None))
                self.n_erased += 1

    def _rest(self, plane: Plane) -> list[_Part]:
        """Return the old cells that are left, a few at a time."""
        parts: list[_Part] = []
        few: list[int] = []
        n_pixels = 0
        for number, edit in self._old.get(plane, {}).items():
            few.append(number)
            n_pixels += len(edit.rows)
            if n_pixels >= _ERASED_AT_ONCE or len(few) >= _AT_ONCE:
                parts.append(_Part(plane, old=tuple(few)))
                few, n_pixels = [], 0
        return [*parts, _Part(plane, old=tuple(few))] if few else parts
