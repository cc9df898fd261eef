"""The detector's boxes: all that it proposes, with a threshold that needs no new run, and cells that follow them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.errors import CellsamError, ImageShapeError
from napari_cellsam.widgets._box_cells import BoxCells, Step
from napari_cellsam.widgets._box_editing import BoxEditing
from napari_cellsam.widgets._box_layer import BoxLayer
from napari_cellsam.widgets._box_memory import BoxMemory
from napari_cellsam.widgets._box_threshold import FLOOR, BoxThreshold
from napari_cellsam.widgets._camera import camera_of
from napari_cellsam.widgets._candidates import nearest
from napari_cellsam.widgets._turn import Turn

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call
    from napari_cellsam.types import Cell
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._plane_cache import PlaneReader
    from napari_cellsam.widgets._session import Session

__all__ = ["DetectorBoxes"]

_TOPIC = "boxes"
_USUAL = 0.4  # threshold where the user has set none
_TICK_MS, _REFRESH_MS = 15, 60
_MOST_DRAWN = 400  # napari takes 0.3 ms for a box


class DetectorBoxes:
    """Shows the detector's boxes in an editable layer of ours.

    One run keeps every candidate with a score of 0.05 or more, up to 256 MiB for the planes visited last. From then on
    moving the threshold only shows and hides boxes; cells that nobody has touched follow. A box is drawn around the
    pixels of its cell. ``changed`` is emitted when anything that a dock shows has changed.

    Parameters
    ----------
    session
        What is looked at.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._on = False
        self._memory = BoxMemory(session)
        self._run_step: Step | None = None
        self._n_shown = 0
        self._layer, self._editing = BoxLayer(session.viewer), BoxEditing(session)
        self._threshold = BoxThreshold(session.options.box_score or _USUAL)
        self._ticking, self._refreshing = QTimer(interval=_TICK_MS), QTimer(interval=_REFRESH_MS, singleShot=True)
        self._ticking.timeout.connect(self._tick)
        self._refreshing.timeout.connect(self._refresh)
        self._layer.edited.connect(self._editing.follow)
        self._layer.drawn.connect(self.changed.emit)
        self._layer.removed.connect(self._on_removed)
        self._editing.changed.connect(self._redraw)
        self._threshold.moved.connect(self._on_threshold)
        self._threshold.set_back.connect(self._on_set_back)
        camera = camera_of(session.viewer)
        self._heard = (camera.events.center, camera.events.zoom)
        for event in self._heard:
            event.connect(self._on_camera)
        self._news = (session.changed, session.store.changed)
        for signal in self._news:
            signal.connect(self._follow)

    @property
    def on(self) -> bool:
        """Whether boxes are shown, where there are any."""
        return self._on

    @property
    def running(self) -> bool:
        """Whether boxes are looked for or to be drawn, or cells wait to be written."""
        waiting = self._now is not None and self._now.n_waiting > 0
        return bool(waiting or self._session.jobs.running(_TOPIC) or self._refreshing.isActive() or self._layer.drawing)

    @property
    def n_shown(self) -> int:
        """Number of boxes that are above the threshold, or have a cell; not all of them may be drawn."""
        return self._n_shown

    @property
    def n_all(self) -> int:
        """Number of candidates of the plane that is shown."""
        return 0 if self._now is None else len(self._now.candidates)

    @property
    def help(self) -> str:
        """What the user should know about the boxes, in a line."""
        if not self._on:
            return "Show the detector's boxes to move the threshold and to correct them."
        if self._now is None:
            return "Boxes of this plane are not known yet; show them anew to find them."
        return self._now.candidates.text(self._n_shown, self._layer.n_drawn)

    @property
    def threshold(self) -> float:
        """Score from which a box is shown, 0.05 to 1; boxes and cells follow it at once.

        Raises
        ------
        OptionError
            If it is set to what is no score.
        """
        return self._threshold.value

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold.move(value)

    def press(self) -> None:
        """Take all changes of the threshold for one step until `release`; without, until it rests a while."""
        self._threshold.press()

    def release(self) -> None:
        """End the step."""
        self._threshold.release()

    def show(self) -> None:
        """Find the boxes of the plane that is shown, unless all of them are known, and show them.

        Raises
        ------
        NoImageError, ImageShapeError
            If there is no image, or the window shows no plane of it.
        """
        session = self._session
        read = session.image_reader(session.plane)
        session.target  # noqa: B018 - added if there is none, since boxes belong to it
        self._on = True
        self._memory.recall()
        if self._now is None or not (self._now.complete or session.jobs.running(_TOPIC)):
            self._begin(read)
        self._editing.use(self._now)
        self._redraw()
        self.changed.emit()

    def hide(self) -> None:
        """Remove the layer of the boxes; the cells stay, and what was found is kept."""
        self._stop()
        self._on = False
        self._layer.remove()
        self.changed.emit()

    def close(self) -> None:
        """Let go of everything; the layer stays."""
        for signal in self._news:
            signal.disconnect(self._follow)
        for event in self._heard:
            event.disconnect(self._on_camera)
        self._on = False
        self._memory.clear()
        self._layer.close()
        self._threshold.close()
        for timer in (self._ticking, self._refreshing):
            timer.stop()
            timer.deleteLater()

    # --- the run

    @property
    def _now(self) -> BoxCells | None:
        """The boxes of what is looked at."""
        return self._memory.now

    def _begin(self, read: PlaneReader) -> None:
        """Look for boxes."""
        session = self._session
        now = self._memory.begin()
        step = self._run_step = Step("find boxes")
        options = replace(session.options, box_score=FLOOR, score_rule="fixed")

        def work(call: Call, report: Report) -> object:
            return session.client.segment(read(call), options, on_cells=report, call=call)

        session.jobs.submit(
            work,
            on_done=lambda _: self._done(now),
            on_error=self._failed,
            on_report=lambda cells: self._heard_of(now, cells, step),
            topic=_TOPIC,
        )
        self._ticking.start()

    def _heard_of(self, now: BoxCells, cells: tuple[Cell, ...], step: Step) -> None:
        for cell in cells:
            candidate = now.candidates.add(cell)
            if candidate is not None:
                now.want(candidate.number, "place" if candidate.score >= self.threshold else "find", step)
        self._redraw()

    def _done(self, now: BoxCells) -> None:
        now.complete = True
        self._redraw()

    def _failed(self, error: CellsamError) -> None:
        self._memory.forget()  # it is incomplete; the cells stay
        self._redraw()
        self._session.failed(error)

    def _stop(self) -> None:
        """Look for no more boxes; what is incomplete is not kept."""
        self._session.jobs.cancel(_TOPIC)
        if self._now is not None and not self._now.complete:
            self._memory.forget()
        if self._now is not None:
            self._now.clear()
        self._editing.use(None)
        self._run_step = None

    def _tick(self) -> None:
        """Write cells for as long as the window may wait."""
        now = self._now
        if now is not None and now.n_waiting:
            if not self._session.writing:  # otherwise a step is still being undone
                now.write(Turn())
                self._redraw()
        elif not self._session.jobs.running(_TOPIC):
            self._ticking.stop()

    # --- following

    def _follow(self) -> None:
        """Show what belongs to what is looked at now; take note of what was undone."""
        if not self._on:
            return
        if self._memory.has_moved():
            self._stop()
            self.release()
            self._memory.follow()
        elif self._session.has_target:
            self._threshold.follow(self._session.history)
            undone = self._session.history.redo_group
            if undone is not None and undone is self._run_step:
                self._stop()
        self._editing.use(self._now)
        self._redraw()

    def _on_threshold(self, before: float) -> None:
        if self._on and self._now is not None:
            self._threshold.lead(self._now, self._session.cells, before)
            self._redraw()
        self.changed.emit()

    def _on_set_back(self) -> None:
        if self._now is not None:
            self._now.clear()
        self.changed.emit()

    def _on_camera(self, event: Any) -> None:  # noqa: ARG002 - napari's signature
        if self._on and self._n_shown > _MOST_DRAWN:
            self._redraw()

    def _on_removed(self) -> None:
        self._stop()
        self._on = False
        self.changed.emit()

    # --- drawing

    def _view(self) -> tuple[int, int, int, int]:
        try:
            return self._session.view()
        except ImageShapeError:
            return 0, 0, 0, 0  # the window shows nothing of the image

    def _redraw(self) -> None:
        if not self._refreshing.isActive():
            self._refreshing.start()
        if self._now is not None and self._now.n_waiting and not self._ticking.isActive():
            self._ticking.start()

    def _refresh(self) -> None:
        """Let the layer show the boxes of now."""
        if not self._on:
            return
        source, now = self._session.source, self._now
        if source is None or now is None:
            self._n_shown = 0
            self._layer.remove()
        else:
            shown = now.candidates.shown(self.threshold, self._session.cells)
            shown |= {n: (box, shown[n][1]) for n, box in self._editing.pending().items() if n in shown}
            self._n_shown = len(shown)
            self._layer.open(source)
            self._layer.show(
                shown if len(shown) <= _MOST_DRAWN else nearest(shown, self.threshold, self._view(), _MOST_DRAWN)
            )
        self.changed.emit()
