"""The detector's boxes: all that it proposes, with a threshold that needs no new run, and cells that follow them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.errors import CellsamError, ImageShapeError, OptionError
from napari_cellsam.types import Cell, Mask, Prompt
from napari_cellsam.widgets._box_cells import BoxCells, Step
from napari_cellsam.widgets._box_layer import BoxEdits, BoxLayer
from napari_cellsam.widgets._candidates import BoxYX, Candidates

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._candidates import Candidate
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._session import Session

__all__ = ["DetectorBoxes"]

_TOPIC = "boxes"
_FLOOR = 0.05  # lowest score of a candidate
_USUAL = 0.4  # threshold where the user has set none
_TICK_MS, _BUDGET_S = 15, 0.012  # of the GUI thread
_REFRESH_MS, _REST_MS = 60, 600
_MOST_DRAWN = 400  # napari takes 0.3 ms for a box
_MOST_BYTES = 256 * 2**20  # of all candidates of all planes


@dataclass(eq=False)
class _ThresholdStep(Step):
    """The threshold before and after, so that undoing moves it back."""

    title: str = "move the threshold"
    before: float = 0.0
    after: float = 0.0
    undone: bool = False


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
        self._threshold = _USUAL if session.options.box_score is None else float(session.options.box_score)
        self._kept: dict[Hashable, BoxCells] = {}  # the newest last
        self._key: Hashable = None
        self._run_step: Step | None = None
        self._step: _ThresholdStep | None = None
        self._pressed = False
        self._pending: dict[int, BoxYX] = {}
        self._n_shown = 0
        self._layer = BoxLayer(session.viewer)
        self._layer.edited.connect(self._edited)
        self._layer.removed.connect(self._on_removed)
        self._ticking = _timer(_TICK_MS, self._tick, single=False)
        self._refreshing = _timer(_REFRESH_MS, self._refresh)
        self._resting = _timer(_REST_MS, self.release)
        viewer = session.viewer
        self._camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera  # napari 0.9, before
        self._heard = (self._camera.events.center, self._camera.events.zoom)
        for event in self._heard:
            event.connect(self._on_camera)
        session.changed.connect(self._follow)

    # --- what is shown

    @property
    def on(self) -> bool:
        """Whether boxes are shown, where there are any."""
        return self._on

    @property
    def running(self) -> bool:
        """Whether boxes are looked for, or cells wait to be written, or boxes to be drawn."""
        waiting = self._now is not None and self._now.n_waiting > 0
        later = self._refreshing.isActive() or self._layer.drawing
        return self._session.jobs.running(_TOPIC) or waiting or later

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
        drawn = self._layer.n_drawn
        few = f"; the {drawn} in view nearest to the threshold are drawn" if drawn < self._n_shown else ""
        left_out = self._now.candidates.n_left_out
        forgotten = f" {left_out} more did not fit into memory." if left_out else ""
        return f"{self._n_shown} of {self.n_all} boxes{few}.{forgotten}"

    def show(self) -> None:
        """Find the boxes of the plane that is shown, unless they are known, and show them.

        Raises
        ------
        NoImageError, ImageShapeError
            If there is no image, or the window shows no plane of it.
        """
        session = self._session
        read = session.image_reader(session.plane)
        session.target  # noqa: B018 - added if there is none, since boxes belong to it
        self._on, self._key = True, self._find_key()
        if self._now is None or not (self._now.complete or session.jobs.running(_TOPIC)):
            self._begin(read)
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
        self._session.changed.disconnect(self._follow)
        for event in self._heard:
            event.disconnect(self._on_camera)
        self._on = False
        self._kept.clear()
        self._layer.close()
        for timer in (self._ticking, self._refreshing, self._resting):
            timer.stop()
            timer.deleteLater()

    # --- the threshold

    @property
    def threshold(self) -> float:
        """Score from which a box is shown, 0.05 to 1; boxes and cells follow it at once."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise OptionError(f"the threshold is {value}; expected 0 to 1")
        before, self._threshold = self._threshold, float(max(value, _FLOOR))
        if before == self._threshold:
            return
        if self._step is None:
            self._step = _ThresholdStep(before=before)
        self._step.after = self._threshold
        if self._on and self._now is not None:
            self._follow_threshold(self._now, before, self._step)
        if not self._pressed:
            self._resting.start()
        self.changed.emit()

    def press(self) -> None:
        """Take all changes of the threshold for one step until `release`; without, until it rests a while."""
        self._pressed, self._step = True, None
        self._resting.stop()

    def release(self) -> None:
        """End the step."""
        self._pressed, self._step = False, None
        self._resting.stop()

    def _follow_threshold(self, now: BoxCells, before: float, step: Step) -> None:
        cells, threshold = self._session.cells, self._threshold
        for candidate in now.candidates:
            if candidate.by_hand:
                continue
            if candidate.score < threshold:
                record = now.candidates.record_of(candidate.number, cells)
                if record is not None or now.is_waiting(candidate.number):
                    now.want(candidate.number, "erase", step)
            elif candidate.score < before:
                now.want(candidate.number, "place", step)
        self._redraw()

    # --- the run

    @property
    def _now(self) -> BoxCells | None:
        """The boxes of what is looked at."""
        return self._kept.get(self._key)

    def _find_key(self) -> Hashable:
        """Return what boxes belong to: the pixels, the plane and the labels layer."""
        session = self._session
        if session.source is None or not session.has_target:
            return None
        try:
            return session.source.signature(), session.plane, session.target.layer.unique_id
        except ImageShapeError:
            return None  # the window shows no plane at the moment

    def _begin(self, read: Any) -> None:
        """Look for boxes."""
        session = self._session
        used = sum(cells.candidates.n_bytes for cells in self._kept.values())
        while self._kept and used > _MOST_BYTES // 2:
            used -= self._kept.pop(next(iter(self._kept))).candidates.n_bytes
        now = self._kept[self._key] = BoxCells(session, Candidates(session.plane, _MOST_BYTES - used))
        step = self._run_step = Step("find boxes")
        options = replace(session.options, box_score=_FLOOR, score_rule="fixed")

        def work(call: Call, report: Report) -> object:
            return session.client.segment(read(), options, on_cells=report, call=call)

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
                now.want(candidate.number, "place" if candidate.score >= self._threshold else "find", step)
        self._redraw()

    def _done(self, now: BoxCells) -> None:
        now.complete = True
        self._redraw()

    def _failed(self, error: CellsamError) -> None:
        self._kept.pop(self._key, None)  # it is incomplete; the cells stay
        self._redraw()
        self._session.failed(error)

    def _stop(self) -> None:
        """Look for no more boxes; what is incomplete is not kept."""
        self._session.jobs.cancel(_TOPIC)
        if self._now is not None and not self._now.complete:
            del self._kept[self._key]
        if self._now is not None:
            self._now.clear()
        self._pending.clear()
        self._run_step = None

    def _tick(self) -> None:
        """Write cells for as long as the window may wait."""
        now = self._now
        if now is not None and now.n_waiting:
            now.write(_BUDGET_S)
            self._redraw()
        elif not self._session.jobs.running(_TOPIC):
            self._ticking.stop()

    # --- following

    def _follow(self) -> None:
        """Show what belongs to what is looked at now; take note of what was undone."""
        if not self._on:
            return
        key = self._find_key()
        if key != self._key:
            self._stop()
            self._key = key
            self._step = None
            if self._now is not None:  # used last
                self._kept[key] = self._kept.pop(key)
        elif self._session.has_target:
            self._follow_history()
        self._redraw()

    def _follow_history(self) -> None:
        """Move the threshold as steps are undone and done again; a run that is undone ends."""
        undone, done = self._session.history.redo_group, self._session.history.undo_group
        if isinstance(undone, _ThresholdStep) and not undone.undone:
            self._set_back(undone, undone.before)
        elif isinstance(done, _ThresholdStep) and done.undone:
            self._set_back(done, done.after)
        elif undone is not None and undone is self._run_step:
            self._stop()

    def _set_back(self, step: _ThresholdStep, threshold: float) -> None:
        step.undone = not step.undone
        self._threshold, self._step = threshold, None
        if self._now is not None:
            self._now.clear()
        self.changed.emit()

    def _on_camera(self, event: Any) -> None:  # noqa: ARG002 - napari's signature
        if self._on and self._n_shown > self._layer.n_drawn or self._n_shown > _MOST_DRAWN:
            self._redraw()

    def _on_removed(self) -> None:
        self._stop()
        self._on = False
        self.changed.emit()

    def _redraw(self) -> None:
        if not self._refreshing.isActive():
            self._refreshing.start()
        if self._now is not None and self._now.n_waiting and not self._ticking.isActive():
            self._ticking.start()

    def _refresh(self) -> None:
        """Let the layer show the boxes of now."""
        source = self._session.source
        if not self._on:
            return
        if source is None or self._now is None:
            self._n_shown = 0
            self._layer.remove()
            self.changed.emit()
            return
        shown = self._now.candidates.shown(self._threshold, self._session.cells)
        for number, box in self._pending.items():
            if number in shown and self._session.jobs.running(_box_topic(number)):
                shown[number] = box, shown[number][1]
        self._n_shown = len(shown)
        if len(shown) > _MOST_DRAWN:
            shown = self._nearest(shown)
        self._layer.open(source)
        self._layer.show(shown)
        self.changed.emit()

    def _nearest(self, shown: dict[int, tuple[BoxYX, float]]) -> dict[int, tuple[BoxYX, float]]:
        """Return the boxes in the view whose scores are nearest to the threshold."""
        try:
            y0, x0, y1, x1 = self._session.view()
        except ImageShapeError:
            return {}
        numbers = np.array(list(shown))
        boxes, scores = np.array([box for box, _ in shown.values()]), np.array([score for _, score in shown.values()])
        seen = (boxes[:, 2] >= y0) & (boxes[:, 0] < y1) & (boxes[:, 3] >= x0) & (boxes[:, 1] < x1)
        order = np.argsort(np.where(seen, np.abs(scores - self._threshold), np.inf), kind="stable")
        kept = order[: min(_MOST_DRAWN, int(seen.sum()))]
        return {number: shown[number] for number in map(int, numbers[kept])}

    # --- editing

    def _edited(self, edits: BoxEdits) -> None:
        """Let the cells follow what the user did to boxes."""
        now = self._now
        if now is None:
            return
        if edits.deleted:
            n_staying = now.remove(edits.deleted)
            if n_staying:
                self._session.say(f"{n_staying} cells that you changed stay; K deletes the one under the cursor.")
        for number, box in edits.moved.items():
            candidate = now.candidates.get(number)
            if candidate is not None:
                self._decode(now, box, candidate)
        for box in edits.drawn:
            self._decode(now, box, None)
        self._redraw()

    def _decode(self, now: BoxCells, box: BoxYX, candidate: Candidate | None) -> None:
        """Outline what is in a box; a new candidate if it is none's."""
        session, plane = self._session, now.candidates.plane
        clipped = _clipped(box, session.target.shape)
        if clipped is None:
            session.say("The box lies beyond the image.")
            return
        prompt = Prompt(box=clipped)
        if candidate is not None:
            self._pending[candidate.number] = box

        def done(masks: list[Mask]) -> None:
            if candidate is not None:
                self._pending.pop(candidate.number, None)
            self._answered(now, candidate, prompt, masks[0])

        topic = None if candidate is None else _box_topic(candidate.number)
        session.decode(plane, [prompt], done, topic=topic)

    def _answered(self, now: BoxCells, candidate: Candidate | None, prompt: Prompt, mask: Mask) -> None:
        self._redraw()
        if now is not self._now:
            return  # another plane or layer is worked on
        if mask.area == 0:
            self._session.say("The model sees no cell in this box.")
            return
        if candidate is None:
            box = tuple(map(float, np.asarray(prompt.box_yxyx)))
            candidate = now.candidates.add(Cell(replace(mask, low_res=None), 1.0), box, by_hand=True)  # type: ignore[arg-type]
        if candidate is None:
            self._session.say("There is no memory left for further boxes; hide them, and show them anew.", "warning")
            return
        now.outline(candidate, prompt, mask)


def _box_topic(number: int) -> str:
    return f"box {number}"


def _clipped(box: BoxYX, shape: tuple[int, int]) -> BoxYX | None:
    """Return the part of a box in a picture; None if there is none."""
    y0, x0 = max(box[0], 0.0), max(box[1], 0.0)
    y1, x1 = min(box[2], shape[0] - 1.0), min(box[3], shape[1] - 1.0)
    return (y0, x0, y1, x1) if y0 < y1 and x0 < x1 else None


def _timer(interval_ms: int, run: Any, *, single: bool = True) -> QTimer:
    timer = QTimer()
    timer.setSingleShot(single)
    timer.setInterval(interval_ms)
    timer.timeout.connect(run)
    return timer
