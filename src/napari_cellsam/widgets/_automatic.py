"""The automatic run: all cells of a picture or a part of it, written while they come in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.editing.edits import Plane
from napari_cellsam.errors import CellsamError, OptionError
from napari_cellsam.widgets._cell_writer import CellWriter
from napari_cellsam.widgets._preferences import RULES, Rule
from napari_cellsam.widgets._run_progress import RunProgress
from napari_cellsam.widgets._search import Advanced, FoundCells, OldCells, PlaneDone, Search, Task
from napari_cellsam.widgets._search_region import Box, Region
from napari_cellsam.widgets._turn import Turn

if TYPE_CHECKING:
    from napari_cellsam.widgets._layers import LabelsTarget
    from napari_cellsam.widgets._session import Session

__all__ = ["Automatic", "Outcome", "Region", "Rule"]

Outcome = Literal["cancelled", "failed", "found"]
"""What came of a run; ``"cancelled"`` while it is under way."""

_TOPIC = "automatic"
_TICK_MS = 15


class Automatic:
    """Runs the model over planes; a run is one step of the history.

    ``changed`` is emitted with progress, and when a run begins or ends.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._writer: CellWriter | None = None
        self._outcomes: WeakKeyDictionary[LabelsTarget, Outcome] = WeakKeyDictionary()
        self._notes: tuple[str, ...] | None = None
        self._error: CellsamError | None = None
        self._progress, self._n_planes, self._begun_s = RunProgress(), 1, 0.0
        self._timer = QTimer()
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    @property
    def running(self) -> bool:
        """Whether a run is under way, or some of its cells wait to be written."""
        return self._writer is not None

    def outcome(self, target: LabelsTarget) -> Outcome | None:
        """Return what came of the last run in a labels layer; None if there was none."""
        return self._outcomes.get(target)

    @property
    def n_written(self) -> int:
        """Number of cells that the run has written so far; 0 without one."""
        return 0 if self._writer is None else self._writer.n_written

    @property
    def progress(self) -> tuple[int, int]:
        """Tiles done and tiles in all, as many for each plane as for the one that is searched; 0 of 0 without a run."""
        now = self._progress
        return now.plane * now.n_tiles + now.tiles, now.n_planes * now.n_tiles

    @property
    def progress_text(self) -> str:
        """How far the run is, in words; empty without one."""
        return self._progress.text if self.running else ""

    def run(
        self, planes: Sequence[Plane] | None = None, region: Region | Box | None = None, rule: Rule = "fill"
    ) -> None:
        """Find all cells.

        Parameters
        ----------
        planes
            Which; the one that is shown when None.
        region
            Part of each plane: a box, or what shapes enclose; all of it when None. Cells belong to it whose middle
            lies in it.
        rule
            What happens to cells that are there: ``"fill"`` keeps all, ``"replace"`` those that a person touched;
            ``"new"`` leaves their layer as it is, and adds another one.

        Raises
        ------
        NoImageError, ImageShapeError
            If there is no image, or the window shows no plane of it.
        OptionError
            If there is no such rule.
        """
        session = self._session
        if rule not in RULES:
            raise OptionError(f"rule is {rule!r}; expected {' or '.join(map(repr, RULES))}")
        self.cancel()
        planes, part = [session.plane] if planes is None else list(planes), Region.of(region)
        readers = [session.image_reader(plane) for plane in planes]
        if rule == "new" and session.has_target:
            session.use_new_labels()
        target = session.target
        sizes = [session.diameter(plane) for plane in planes]
        tasks = [
            Task(plane, read, part, self._old(plane, rule), size)
            for plane, read, size in zip(planes, readers, sizes, strict=True)
        ]
        self._begin(CellWriter(session, f"segment {_what(part, len(planes))}"), len(planes))
        session.jobs.submit(
            Search(lambda: session.client, target, tasks, session.options),
            on_done=self._done,
            on_error=self._failed,
            on_report=self._heard,
            on_taken_back=self._taken_back,
            topic=_TOPIC,
        )
        self.changed.emit()

    def cancel(self) -> None:
        """End the run; the cells that were written stay, and so do old ones where no new ones are."""
        if self._writer is None:
            return
        self._session.jobs.cancel(_TOPIC)
        self._end(f"Cancelled. Cells that were found stay: {self._writer.n_written}.")

    def _taken_back(self) -> bool:
        """End the run; return whether cells were written already."""
        written = self.n_written > 0
        self.cancel()
        return written

    def drop(self) -> None:
        """End the run, and write nothing more: there is nowhere to write."""
        self._session.jobs.cancel(_TOPIC)
        self._end("")

    def close(self) -> None:
        """Let go; nothing more is written."""
        self._writer = None
        self._timer.stop()
        self._timer.deleteLater()

    def _old(self, plane: Plane, rule: Rule) -> frozenset[int]:
        """Return the cells that give way to new ones."""
        if rule != "replace":
            return frozenset()
        return frozenset(r.label for r in self._session.cells if r.plane == plane and r.is_replaceable)

    def _begin(self, writer: CellWriter, n_planes: int) -> None:
        self._writer, self._notes, self._error = writer, None, None
        self._outcomes[self._session.target] = "cancelled"
        self._n_planes, self._begun_s = n_planes, time.monotonic()
        self._progress = RunProgress(n_planes=n_planes)
        self._timer.start()

    def _heard(self, news: Any) -> None:
        if self._writer is None:
            return
        if isinstance(news, FoundCells):
            self._writer.add(news.plane, news.cells)
        elif isinstance(news, OldCells):
            self._writer.give_way(news.plane, news.edits)
        elif isinstance(news, PlaneDone):
            self._writer.finish(news.plane)
        elif isinstance(news, Advanced):
            n_tiles = news.total or self._progress.n_tiles  # planes have as many tiles as the one before
            elapsed_s = time.monotonic() - self._begun_s
            self._progress = RunProgress(news.number, self._n_planes, news.done, n_tiles, elapsed_s)
            self.changed.emit()

    def _tick(self) -> None:
        """Write cells for as long as the window may wait."""
        try:
            if self._writer is None or self._writer.write(Turn()):
                return
        except CellsamError as error:
            self._outcomes[self._session.target] = "failed"
            self.drop()
            self._session.failed(error)
            return
        if self._error is not None:
            failure = self._error
            self._outcomes[self._session.target] = "failed"
            self._end("")
            self._session.failed(failure)
        elif self._notes is not None:
            self._outcomes[self._session.target] = "found"
            gone = f" {self._writer.n_erased} older ones went." if self._writer.n_erased else ""
            notes = "".join(f" {note[:1].upper()}{note[1:]}." for note in self._notes)
            self._end(f"{self._writer.n_written} cells were added.{gone}{notes}")

    def _done(self, notes: tuple[str, ...]) -> None:
        self._notes = notes

    def _failed(self, error: CellsamError) -> None:
        self._error = error  # told when the cells that came in are written

    def _end(self, text: str) -> None:
        self._timer.stop()
        self._writer = None
        self._progress = RunProgress()
        if text:
            self._session.say(text)
        self.changed.emit()


def _what(region: Region | None, n_planes: int) -> str:
    if region is not None:
        return "a region" if region.polygons_yx else "the view"
    return "the image" if n_planes == 1 else "all planes"
