"""The slow writer: many edits, written a little at a time while the window goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_cellsam.editing.edits import CropEdit
from napari_cellsam.widgets._pieces import pieces_of
from napari_cellsam.widgets._turn import Turn

if TYPE_CHECKING:
    from napari_cellsam.widgets._layers import LabelsTarget

__all__ = ["SlowWriter"]

_TICK_MS = 5
_EDITS_AT_ONCE, _PIXELS_AT_ONCE = 24, 40_000


class SlowWriter:
    """Writes edits into a labels layer; a few at once, many from the event loop.

    Parameters
    ----------
    target
        The layer.
    """

    def __init__(self, target: LabelsTarget) -> None:
        self._target = target
        self._pieces: Iterator[list[CropEdit]] | None = None
        self._written: list[CropEdit] = []
        self._done: Callable[[list[CropEdit]], None] | None = None
        self._timer = QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    @property
    def writing(self) -> bool:
        """Whether something is still to be written."""
        return self._pieces is not None

    def start(self, edits: Sequence[CropEdit], done: Callable[[list[CropEdit]], None]) -> None:
        """Write edits, after all that is still to be written.

        Parameters
        ----------
        edits
            In order.
        done
            Called with what was really changed, when all is written; at once for a few edits.
        """
        self.finish()
        self._pieces, self._written, self._done = pieces_of(edits), [], done
        if len(edits) <= _EDITS_AT_ONCE and sum(len(edit.rows) for edit in edits) <= _PIXELS_AT_ONCE:
            self.finish()
        else:
            self._timer.start()

    def finish(self) -> None:
        """Write all that is left, now."""
        while self.writing:
            self._write()

    def drop(self) -> None:
        """Write nothing more; what was written counts."""
        if self._done is not None:
            self._end()

    def close(self) -> None:
        """Write all that is left, and end."""
        self.finish()
        self._timer.deleteLater()

    def _tick(self) -> None:
        turn = Turn()
        while self.writing and turn.goes_on():
            self._write()

    def _write(self) -> None:
        piece = None if self._pieces is None else next(self._pieces, None)
        if piece is None:
            self._end()
        else:
            self._written += self._target.write(piece)

    def _end(self) -> None:
        self._timer.stop()
        done, written = self._done, self._written
        self._pieces, self._done, self._written = None, None, []
        if done is not None:
            done(written)
