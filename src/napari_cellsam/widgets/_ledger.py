"""The ledger of a labels layer: its cells, and everything that was done to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import CropEdit
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.editing.verified import VerifiedRegions
from napari_cellsam.widgets._history import History
from napari_cellsam.widgets._layers import LabelsTarget
from napari_cellsam.widgets._records import CellTable
from napari_cellsam.widgets._slow_writer import SlowWriter

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["Ledger"]


class Ledger:
    """Writes actions into a labels layer, and takes them back, in the order in which they happened.

    What napari's own tools do in the layer is an action too. ``changed`` is emitted after each; ``did`` with its kind
    (``"do"``, ``"undo"``, ``"redo"``) and what was really done.

    Parameters
    ----------
    layer
        Ours, or one that the user chose.
    """

    changed = Signal()
    did = Signal(str, object)
    closed = Signal()

    def __init__(self, layer: Labels) -> None:
        self.target = LabelsTarget(layer)
        self.cells = CellTable()
        self.verified = VerifiedRegions(self.target.shape)
        self.history = History()
        self._writer = SlowWriter(self.target)
        self.target.painted.connect(self._painted)
        self.target.replaced.connect(self._writer.drop)  # what was to be written was meant for the other array

    @property
    def writing(self) -> bool:
        """Whether a large step is still being undone or done again; another step waits for its end."""
        return self._writer.writing

    def apply(self, action: Action) -> None:
        """Do something, as one step of the history."""
        self._writer.finish()
        edits = self.target.write(action.edits)
        self.cells.apply(action.changes)
        self.verified.apply(action.marks)
        self._did(replace(action, edits=tuple(edits)))

    def undo(self) -> str | None:
        """Take the newest step back; return its title, None if there is none."""
        self._writer.finish()
        return self._do("undo", self.history.undo())

    def redo(self) -> str | None:
        """Do the step again that was taken back last; return its title, None if there is none."""
        self._writer.finish()
        return self._do("redo", self.history.redo())

    def close(self) -> None:
        """Listen to the layer no more; it stays as it is."""
        if not self.target.is_usable:
            self._writer.drop()
        self._writer.close()
        self.target.close()
        self.closed.emit()

    def _do(self, kind: str, action: Action | None) -> str | None:
        if action is None:
            return None
        self.cells.apply(action.changes)
        self.verified.apply(action.marks)

        def written(edits: list[CropEdit]) -> None:
            self.did.emit(kind, replace(action, edits=tuple(edits)))
            self.changed.emit()

        self._writer.start(action.edits, written)
        return action.title

    def _did(self, action: Action) -> None:
        """Take in something that was done just now."""
        self.history.push(action)
        self.did.emit("do", action)
        self.changed.emit()

    def _painted(self, edits: Sequence[CropEdit]) -> None:
        """Take what napari's own tools did into the history, and note whose cells it changed."""
        self._writer.finish()
        changes = []
        for plane, label in sorted({(edit.plane, label) for edit in edits for label in edit.labels()}):
            old = self.cells.get(plane, label)
            if old is None:
                changes.append(RecordChange(None, CellRecord(label, plane, "manual")))
            elif old.origin in ("automatic", "prompted"):
                record = replace(old, origin="edited")
                changes.append(RecordChange(old, record))
        self.cells.apply(changes)
        self._did(Action("paint", tuple(edits), tuple(changes)))
