"""The threshold of the detector's boxes: one step of the history a gesture, and moved back when that is undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.errors import OptionError
from napari_cellsam.widgets._box_cells import Step

if TYPE_CHECKING:
    from napari_cellsam.widgets._box_cells import BoxCells
    from napari_cellsam.widgets._history import History
    from napari_cellsam.widgets._records import CellTable

__all__ = ["FLOOR", "BoxThreshold"]

FLOOR = 0.05
"""Lowest threshold, and lowest score of a candidate."""

_REST_MS = 600


@dataclass(eq=False)
class _ThresholdStep(Step):
    """The threshold before and after."""

    title: str = "move the threshold"
    before: float = 0.0
    after: float = 0.0
    undone: bool = False


class BoxThreshold:
    """Score from which boxes are shown.

    ``moved`` is emitted with the value before when the user moves it; ``set_back`` when undoing or redoing does.

    Parameters
    ----------
    value
        At first.
    """

    moved = Signal(float)
    set_back = Signal()

    def __init__(self, value: float) -> None:
        self._value = max(value, FLOOR)
        self._pressed = False
        self._step: _ThresholdStep | None = None
        self._resting = QTimer()
        self._resting.setSingleShot(True)
        self._resting.setInterval(_REST_MS)
        self._resting.timeout.connect(self.release)

    @property
    def value(self) -> float:
        """The threshold."""
        return self._value

    @property
    def resting(self) -> bool:
        """Whether what follows would be a step of its own."""
        return self._step is None

    def move(self, value: float) -> None:
        """Move it, at least to the floor.

        Raises
        ------
        OptionError
            If it is no score.
        """
        if not 0 <= value <= 1:
            raise OptionError(f"the threshold is {value}; expected 0 to 1")
        before, self._value = self._value, float(max(value, FLOOR))
        if before == self._value:
            return
        if self._step is None:
            self._step = _ThresholdStep(before=before)
        self._step.after = self._value
        if not self._pressed:
            self._resting.start()
        self.moved.emit(before)

    def press(self) -> None:
        """Take all moves for one step until `release`; without, until it rests a while."""
        self._pressed, self._step = True, None
        self._resting.stop()

    def release(self) -> None:
        """End the step."""
        self._pressed, self._step = False, None
        self._resting.stop()

    def lead(self, boxes: BoxCells, cells: CellTable, before: float) -> None:
        """Let cells be written whose boxes came above, and taken away whose boxes are below.

        Parameters
        ----------
        boxes
            Of the plane that is shown.
        cells
            What is known of all cells.
        before
            The threshold before.
        """
        if self._step is None:
            return
        for candidate in boxes.candidates:
            if candidate.by_hand:
                continue
            if candidate.score < self._value:
                record = boxes.candidates.record_of(candidate.number, cells)
                if record is not None or boxes.is_waiting(candidate.number):
                    boxes.want(candidate.number, "erase", self._step)
            elif candidate.score < before:
                boxes.want(candidate.number, "place", self._step)

    def follow(self, history: History) -> None:
        """Move back as steps are undone and done again."""
        undone, done = history.redo_group, history.undo_group
        if isinstance(undone, _ThresholdStep) and not undone.undone:
            self._set_back(undone, undone.before)
        elif isinstance(done, _ThresholdStep) and done.undone:
            self._set_back(done, done.after)

    def close(self) -> None:
        """Let go of the timer."""
        self._resting.stop()
        self._resting.deleteLater()

    def _set_back(self, step: _ThresholdStep, value: float) -> None:
        step.undone = not step.undone
        self._value, self._step = value, None
        self.set_back.emit()
