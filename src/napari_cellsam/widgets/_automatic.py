"""The automatic run: all cells of a picture or a part of it, written while they come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.types import Cell, Image, Mask
from napari_cellsam.widgets._cell_writer import CellWriter, erasing
from napari_cellsam.widgets._edits import CropEdit, Plane
from napari_cellsam.widgets._records import CellRecord, RecordChange

if TYPE_CHECKING:
    from napari_cellsam.errors import CellsamError
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Job, Report
    from napari_cellsam.widgets._session import Session

__all__ = ["Automatic", "Region", "Rule"]

Region = tuple[int, int, int, int]
"""``(y0, x0, y1, x1)`` in pixels, the last row and column excluded."""

Rule = Literal["fill", "replace"]
"""What happens to cells that are there: ``"fill"`` keeps all, ``"replace"`` those that a person touched."""

_TOPIC = "automatic"
_TICK_MS = 15
_BUDGET_S = 0.012  # of the GUI thread, a tick
_MARGIN_PX = 48  # around a region, so that cells at its border are seen whole


@dataclass(frozen=True)
class _Advanced:
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class _FoundCells:
    plane: Plane
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False)
class _Erased:
    edits: list[CropEdit]
    changes: list[RecordChange]


@dataclass(frozen=True, eq=False)
class _Task:
    """One plane, or a part of it: how its picture is had, and which automatic cells go first."""

    plane: Plane
    read: Callable[[], Image]
    region: Region | None
    unwanted: tuple[CellRecord, ...]


class Automatic:
    """Runs the model over planes; a run is one step of the history.

    ``changed`` is emitted with progress, and when a run begins or ends.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._job: Job[Any] | None = None
        self._writer: CellWriter | None = None
        self._last_words: str | None = None
        self.progress = (0, 0)
        self._timer = QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    @property
    def running(self) -> bool:
        """Whether a run is under way, or some of its cells wait to be written."""
        return self._writer is not None

    def run(self, planes: Sequence[Plane] | None = None, region: Region | None = None, rule: Rule = "fill") -> None:
        """Find all cells.

        Parameters
        ----------
        planes
            Which; the one that is shown when None.
        region
            Part of each plane; all of it when None.
        rule
            What happens to cells that are there.
        """
        session = self._session
        self.cancel()
        planes = [session.plane] if planes is None else list(planes)
        tasks = [_Task(plane, session.image_reader(plane), region, self._unwanted(plane, rule)) for plane in planes]
        what = "the view" if region else "the image" if len(planes) == 1 else "all planes"
        self._writer, self._last_words, self.progress = CellWriter(session, f"segment {what}"), None, (0, 0)
        options = session.options

        def work(call: Call, report: Report) -> tuple[str, ...]:
            notes: dict[str, None] = {}
            for number, task in enumerate(tasks):

                def advanced(done: int, total: int, number: int = number) -> None:
                    report(_Advanced(number * total + done, len(tasks) * total))

                notes |= dict.fromkeys(self._segment(task, options, advanced, call, report))
            return tuple(notes)

        self._job = session.jobs.submit(
            work, on_done=self._done, on_error=self._failed, on_report=self._heard, topic=_TOPIC
        )
        self._timer.start()
        self.changed.emit()

    def cancel(self) -> None:
        """End the run; the cells that were found stay."""
        if self._job is None or self._writer is None:
            return
        self._session.jobs.cancel(_TOPIC)
        self._writer.write()
        self._end(f"Cancelled. {self._writer.n_written} cells were found, and stay.")

    def drop(self) -> None:
        """End the run, and write nothing more: there is nowhere to write."""
        self._session.jobs.cancel(_TOPIC)
        self._end("")

    def close(self) -> None:
        """Let go; nothing more is written."""
        self._writer = self._job = None
        self._timer.stop()
        self._timer.deleteLater()

    def _unwanted(self, plane: Plane, rule: Rule) -> tuple[CellRecord, ...]:
        if rule == "fill":
            return ()
        return tuple(r for r in self._session.cells if r.plane == plane and r.origin == "automatic")

    def _segment(
        self, task: _Task, options: Any, advanced: Callable[[int, int], None], call: Call, report: Report
    ) -> tuple[str, ...]:
        """Segment one plane, in a thread of its own; return what the user should know."""
        image, corner = _part(task.read(), task.region)
        if task.unwanted:
            region = task.region or (0, 0, *image.shape)
            labels = self._session.target.read(task.plane, np.s_[region[0] : region[2], region[1] : region[3]])
            report(_Erased(*erasing(task.plane, labels, region[:2], task.unwanted)))

        def found(cells: tuple[Cell, ...]) -> None:
            moved = (_moved(cell, corner) for cell in cells)
            report(_FoundCells(task.plane, tuple(c for c in moved if task.region is None or _lies_in(c, task.region))))

        result = self._session.client.segment(image, options, on_progress=advanced, on_cells=found, call=call)
        return result.notes

    def _heard(self, news: _FoundCells | _Erased | _Advanced) -> None:
        if self._writer is None:
            return
        if isinstance(news, _FoundCells):
            self._writer.add(news.plane, news.cells)
        elif isinstance(news, _Erased):
            self._writer.add_edits(news.edits, news.changes)
        else:
            self.progress = news.done, news.total
            self.changed.emit()

    def _tick(self) -> None:
        """Write cells for as long as the window may wait."""
        if self._writer is None:
            return
        more = self._writer.write(_BUDGET_S)
        if not more and self._last_words is not None:
            self._end(" ".join((f"{self._writer.n_written} cells were added.", self._last_words)).strip())

    def _done(self, notes: tuple[str, ...]) -> None:
        self._job = None
        self._last_words = " ".join(f"{note[:1].upper()}{note[1:]}." for note in notes)

    def _failed(self, error: CellsamError) -> None:
        if self._writer is not None:
            self._writer.write()
        self._end("")
        self._session.failed(error)

    def _end(self, text: str) -> None:
        self._timer.stop()
        self._writer = self._job = None
        self.progress = (0, 0)
        if text:
            self._session.say(text)
        self.changed.emit()


def _part(image: Image, region: Region | None) -> tuple[Image, tuple[int, int]]:
    """Return the part of an image around a region, and the part's first pixel."""
    if region is None:
        return image, (0, 0)
    y0, x0, y1, x1 = region
    top, left = max(y0 - _MARGIN_PX, 0), max(x0 - _MARGIN_PX, 0)
    pixels = image.pixels[top : y1 + _MARGIN_PX, left : x1 + _MARGIN_PX].copy()
    return Image(pixels, image.nuclear, image.cell, image.rgb, image.pixel_size_um), (top, left)


def _moved(cell: Cell, corner: tuple[int, int]) -> Cell:
    """Return a cell of a part in pixels of the plane."""
    y, x = cell.mask.corner
    return Cell(Mask(cell.mask.crop, (y + corner[0], x + corner[1]), cell.mask.score), cell.score)


def _lies_in(cell: Cell, region: Region) -> bool:
    """Return whether a cell's middle lies in a region."""
    y0, x0, y1, x1 = cell.mask.box
    y, x = (y0 + y1) / 2, (x0 + x1) / 2
    return region[0] <= y < region[2] and region[1] <= x < region[3]
