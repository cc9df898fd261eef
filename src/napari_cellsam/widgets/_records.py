"""The records of the cells of a labels layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psygnal import Signal

from napari_cellsam.editing.edits import Plane
from napari_cellsam.editing.records import CellRecord, RecordChange

__all__ = ["CellTable"]


class CellTable:
    """The records of all cells of a labels layer.

    ``changed`` is emitted once after each set of changes.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._records: dict[tuple[Plane, int], CellRecord] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[CellRecord]:
        return iter(tuple(self._records.values()))

    def get(self, plane: Plane, label: int) -> CellRecord | None:
        """Return the record of a cell, or None."""
        return self._records.get((plane, label))

    def apply(self, changes: Iterable[RecordChange]) -> None:
        """Change records."""
        changes = tuple(changes)
        for change in changes:
            if change.after is None:
                self._records.pop(change.key, None)
            else:
                self._records[change.key] = change.after
        if changes:
            self.changed.emit()
