"""The editing of the detector's boxes: what the user does to a box is done to its cell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_cellsam.types import Cell, Mask, Prompt
from napari_cellsam.widgets._asking import Asking

if TYPE_CHECKING:
    from napari_cellsam.widgets._box_cells import BoxCells
    from napari_cellsam.widgets._box_layer import BoxEdits
    from napari_cellsam.widgets._candidates import BoxYX, Candidate
    from napari_cellsam.widgets._session import Session

__all__ = ["BoxEditing"]


class BoxEditing:
    """Lets cells follow the boxes that a user moves, draws and deletes.

    ``changed`` is emitted when boxes are to be drawn anew.

    Parameters
    ----------
    session
        Whose cells.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._boxes: BoxCells | None = None
        self._pending: dict[int, BoxYX] = {}

    def use(self, boxes: BoxCells | None) -> None:
        """Work on the boxes of another plane; answers for the former ones are dropped."""
        if boxes is not self._boxes:
            self._boxes, self._pending = boxes, {}

    def pending(self) -> dict[int, BoxYX]:
        """Return where boxes were moved to whose cells are being outlined, by number."""
        running = self._session.jobs.running
        return {number: box for number, box in self._pending.items() if running(_topic(number))}

    def follow(self, edits: BoxEdits) -> None:
        """Do to the cells what was done to boxes."""
        boxes = self._boxes
        if boxes is None:
            return
        n_staying = boxes.remove(edits.deleted) if edits.deleted else 0
        if n_staying:
            self._session.say(f"Cells that you changed stay: {n_staying}. K deletes the one under the cursor.")
        for number, box in edits.moved.items():
            candidate = boxes.candidates.get(number)
            if candidate is not None:
                self._decode(boxes, box, candidate)
        for box in edits.drawn:
            self._decode(boxes, box, None)
        self.changed.emit()

    def _decode(self, boxes: BoxCells, box: BoxYX, candidate: Candidate | None) -> None:
        """Outline what is in a box; a new candidate if it is none's."""
        clipped = _clipped(box, self._session.target.shape)
        if clipped is None:
            self._session.say("The box lies beyond the image.")
            return
        prompt = Prompt(box=clipped)
        if candidate is not None:
            self._pending[candidate.number] = box

        def done(masks: list[Mask]) -> None:
            if boxes is self._boxes:  # otherwise another plane or layer is worked on
                self._answered(boxes, candidate, prompt, masks[0])

        topic = None if candidate is None else _topic(candidate.number)
        plane = boxes.candidates.plane
        Asking(self._session).decode(plane, [prompt], done, on_taken_back=self._taken_back, topic=topic)

    def _taken_back(self) -> bool:
        """Let the box be drawn where it was."""
        self.changed.emit()
        return False

    def _answered(self, boxes: BoxCells, candidate: Candidate | None, prompt: Prompt, mask: Mask) -> None:
        self.changed.emit()
        if mask.area == 0:
            self._session.say("The model sees no cell in this box.")
            return
        if candidate is None:
            y0, x0, y1, x1 = np.asarray(prompt.box_yxyx, float).tolist()
            cell = Cell(replace(mask, low_res=None), 1.0)
            candidate = boxes.candidates.add(cell, (y0, x0, y1, x1), by_hand=True)
        if candidate is None:
            self._session.say("There is no memory left for further boxes; hide them, and show them anew.", "warning")
            return
        boxes.outline(candidate, prompt, mask)


def _topic(number: int) -> str:
    return f"box {number}"


def _clipped(box: BoxYX, shape: tuple[int, int]) -> BoxYX | None:
    """Return the part of a box in a picture; None if there is none."""
    y0, x0 = max(box[0], 0.0), max(box[1], 0.0)
    y1, x1 = min(box[2], shape[0] - 1.0), min(box[3], shape[1] - 1.0)
    return (y0, x0, y1, x1) if y0 < y1 and x0 < x1 else None
