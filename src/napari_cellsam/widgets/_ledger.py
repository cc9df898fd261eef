"""The ledger of a labels layer: its cells, and everything that was done to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import CropEdit, Plane
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.editing.verified import VerifiedRegions
from napari_cellsam.widgets._history import History
from napari_cellsam.widgets._layers import LabelsTarget
from napari_cellsam.widgets._records import CellTable
from napari_cellsam.widgets._slow_writer import SlowWriter

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

__all__ = ["Ledger"]

_NEAR_PX = 256  # pieces of a cell that are farther apart are not looked for


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

    def settle(self) -> None:
        """Write all that is still to be written of a large step, so that the layer and the records agree."""
        self._writer.finish()

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
        changes: list[RecordChange] = []
        erased = self._erased(edits)
        for plane, label in sorted({(edit.plane, label) for edit in edits for label in edit.labels()}):
            old = self.cells.get(plane, label)
            if label in erased[plane]:
                changes += [RecordChange(old, None)] if old is not None else []
            elif old is None:
                changes.append(RecordChange(None, CellRecord(label, plane, "manual")))
            elif old.origin in ("automatic", "prompted"):
                record = replace(old, origin="edited")
                changes.append(RecordChange(old, record))
        self.cells.apply(changes)
        self._did(Action("paint", tuple(edits), tuple(changes)))

    def _erased(self, edits: Sequence[CropEdit]) -> dict[Plane, set[int]]:
        """Return the cells by plane that lost pixels, and of which nothing is left where these were or near."""
        gone: dict[Plane, set[int]] = {}
        for plane in {edit.plane for edit in edits}:
            parts = [edit for edit in edits if edit.plane == plane]
            lost = {int(label) for edit in parts for label in np.unique(edit.before)} - {0}
            if lost:
                lost -= set(np.unique(self._near(plane, parts)).tolist())
            gone[plane] = lost
        return gone

    def _near(self, plane: Plane, edits: Sequence[CropEdit]) -> NDArray[Any]:
        """Return a crop of a plane around edits; napari tells of those of its fill tool before it makes them."""
        places = [np.concatenate([getattr(edit, axis) for edit in edits]) for axis in ("rows", "columns")]
        top, left = (max(int(at.min()) - _NEAR_PX, 0) for at in places)
        bottom, right = (int(at.max()) + _NEAR_PX + 1 for at in places)
        crop = np.array(self.target.layer.data[(*plane, slice(top, bottom), slice(left, right))])
        for edit in edits:
            crop[edit.rows - top, edit.columns - left] = edit.after
        return crop
