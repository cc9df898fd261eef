"""The review: all cells, the doubtful ones first, looked at one after the other."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.doubts import doubt_of
from napari_cellsam.editing.edits import Plane
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.errors import CellsamError, OptionError
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._review_filter import Reviewed, ReviewFilter, per_minute
from napari_cellsam.widgets._review_queue import Entry, Seen, are_more, pixel_of, seen_in
from napari_cellsam.widgets._spotlight import Spotlight
from napari_cellsam.widgets._stability import Stability

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._layers import LabelsTarget
    from napari_cellsam.widgets._session import Session

__all__ = ["Review"]

_TOPIC = "review"


class Review:
    """Goes from cell to cell, the doubtful ones first; what is decided is one step of the history each.

    A review is of the labels that were written into when it began, and ends when others are.

    ``changed`` is emitted when another cell is looked at, or the order or the counts change.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._filter = ReviewFilter()
        self._entries: list[Entry] = []
        self._seen: list[Seen] = []
        self._times: deque[float] = deque(maxlen=200)
        self._spotlight = Spotlight(session)
        self._stability = Stability(session)
        self._stability.changed.connect(self._reorder)
        self._target: LabelsTarget | None = None
        self.on, self._at = False, -1
        session.changed.connect(self._follow)

    @property
    def filter(self) -> ReviewFilter:
        """Which cells are looked at."""
        return self._filter

    @property
    def current(self) -> tuple[Plane, int] | None:
        """Plane and number of the cell that is looked at."""
        if not (self.on and self._is_here() and 0 <= self._at < len(self._entries)):
            return None
        return self._entries[self._at].key

    @property
    def doubt(self) -> float | None:
        """How doubtful it is, 0 to 1."""
        return None if self.current is None else self._entries[self._at].doubt

    @property
    def count(self) -> Reviewed:
        """How far the review is."""
        cells = list(self._session.cells) if self._session.has_target else []
        known = [(entry, self._record(entry)) for entry in self._entries] if self._is_here() else []
        n_left = sum(record is not None and self._filter.lets(entry.measure, record) for entry, record in known)
        n_cells = len(cells) + sum(r is not None and self._session.cells.get(*e.key) is None for e, r in known)
        return Reviewed(sum(record.reviewed for record in cells), n_cells, n_left, per_minute(self._times))

    def start(self) -> None:
        """Look at all cells, in another thread, and show the most doubtful one.

        Raises
        ------
        NoImageError
            If there are no cells yet.
        ImageShapeError
            If the window shows no plane of the image, as in 3-D.
        """
        session = self._session
        if not session.has_target:
            raise NoImageError("There are no cells to review yet: let the model find some, or click on them.")
        self._check_view()
        target, planes = session.settled, session.planes()

        def work(call: Call, report: Report) -> list[Seen]:  # noqa: ARG001 - there is nothing to report
            return seen_in(target, planes, call)

        def done(seen: list[Seen]) -> None:
            if session.has_target and session.target is target:
                self._measured(seen)

        self._target = target
        session.jobs.submit(work, on_done=done, on_error=session.failed, topic=_TOPIC)

    def stop(self) -> None:
        """Look at no cell any more."""
        self._session.jobs.cancel(_TOPIC)
        self._stability.stop()
        self.on, self._entries, self._at = False, [], -1
        self._spotlight.hide()
        self.changed.emit()

    def set_filter(self, filter: ReviewFilter) -> None:  # noqa: A002 - what it is
        """Look at other cells, from the most doubtful one on."""
        self._filter = filter
        if self.on:
            self._sort()
            self._show_first()

    def next(self) -> None:
        """Show the next cell that is still to be looked at; behind the last one, those passed over and new ones."""
        if not (self.on and self._entries):
            self.start()
        elif not self._go(range(self._at + 1, len(self._entries))):
            self._go_round()

    def previous(self) -> None:
        """Show the cell before."""
        if not self.on:
            self.start()
        elif not self._go(range(self._at - 1, -1, -1), reviewed_too=True):
            self._session.say("This is the first one.")

    def accept(self) -> None:
        """Find the cell right, unless it is so already, and show the next one."""
        plane, label = self._needed().key
        old = self._session.cells.get(plane, label)
        if old is not None and old.reviewed:
            self.next()
            return
        new = replace(old or CellRecord(label, plane), reviewed=True)
        self._session.apply(Action(f"accept {label}", (), (RecordChange(old, new),)))
        self._decided()

    def reject(self) -> None:
        """Delete the cell, and show the next one."""
        y, x = self._go_back_to(self._needed())
        self._session.prompting.delete(y, x)
        self._decided()

    def redo(self) -> None:
        """Let the model outline the cell anew; it stays the one that is looked at."""
        y, x = self._go_back_to(self._needed())
        self._session.prompting.redo_with_model(y, x)

    def accept_rest(self) -> None:
        """Find all right that are still to be looked at, as one step."""
        changes = []
        for entry in self._entries:
            record = self._record(entry)
            if record is not None and not record.reviewed and self._filter.lets(entry.measure, record):
                changes.append(RecordChange(self._session.cells.get(*entry.key), replace(record, reviewed=True)))
        if changes:
            self._session.apply(Action(f"accept {len(changes)} cells", (), tuple(changes)))
        self._session.say(f"{len(changes)} cells were accepted.")
        self._spotlight.hide()
        self.changed.emit()

    def close(self) -> None:
        """Let go of everything."""
        self._session.changed.disconnect(self._follow)
        self._stability.stop()
        self._spotlight.close()
        self.on = False

    # --- how it goes on

    def _follow(self) -> None:
        """End when other labels are written into: the cells of the next image have the same numbers."""
        if self.on and not self._is_here():
            self.stop()

    def _is_here(self) -> bool:
        """Whether the labels that are reviewed are still those that are written into."""
        return self._session.has_target and self._session.target is self._target

    def _measured(self, seen: list[Seen]) -> None:
        self._seen, self.on, self._at = seen, bool(seen), -1
        self._sort()
        if not self._entries:
            self._spotlight.hide()
            self._session.say("There are no cells to review: all were looked at, or the filter lets none.")
            self.changed.emit()
            return
        self._stability.start([(entry.plane, entry.measure) for entry in self._entries])
        self._show_first()

    def _sort(self) -> None:
        """Put all cells in order."""
        cells, entries = self._session.cells, []
        for plane, measure, oddness in ((s.plane, s.measure, s.oddness) for s in self._seen):
            record = cells.get(plane, measure.label) or CellRecord(measure.label, plane)
            if self._filter.lets(measure, record):
                stable = self._stability.known(plane, measure.label)
                entries.append(Entry(plane, measure, doubt_of(record, oddness, stable)))
        self._entries = sorted(entries, key=lambda e: (-e.doubt, e.plane, e.measure.label))

    def _reorder(self) -> None:
        """Put the cells in order that were not yet looked at, now that more is known of them."""
        if not self.on:
            return
        seen = self._entries[: self._at + 1]
        keys = {entry.key for entry in seen}
        self._sort()
        self._entries = seen + [entry for entry in self._entries if entry.key not in keys]
        self.changed.emit()

    def _show_first(self) -> None:
        """Show the first cell that is to be looked at; what is in its way is told."""
        self._at = -1
        try:
            if not self._go(range(len(self._entries))):
                self._session.say("The filter lets no cell that is still to be looked at.")
        except CellsamError as error:
            self._session.say(str(error), "warning")
        self.changed.emit()

    def _go_round(self) -> None:
        """Show cells that are not in the order yet, or the first one that was passed over."""
        former = self._at
        if are_more(self._session.cells, self._entries, self._seen, self._filter):
            self.start()
        elif not self._go(range(former + 1)):
            self._session.say("This was the last one; all have been looked at.")
            self.changed.emit()
        elif self._at == former:
            self._session.say("This is the last one that is still to be looked at.")

    def _go(self, places: range, *, reviewed_too: bool = False) -> bool:
        """Show the first cell of some that is to be looked at; return whether there is one."""
        self._check_view()
        for at in places:
            if self._is_open(self._entries[at], reviewed_too=reviewed_too):
                self._at = at
                self._show()
                return True
        return False

    def _show(self) -> None:
        """Move camera and sliders to the cell, and tell what is known of it."""
        entry = self._entries[self._at]
        self._spotlight.show(entry.plane, entry.measure.window)
        record = self._record(entry) or CellRecord(entry.measure.label, entry.plane)
        scores = (("score", record.detector_score), ("predicted IoU", record.predicted_iou))
        known = "".join(f", {name} {value:.2f}" for name, value in scores if value is not None)
        self._session.say(f"Cell {record.label}: {record.origin}{known}, {entry.measure.area} pixels.")
        self.changed.emit()

    def _decided(self) -> None:
        self._times.append(time.monotonic())
        self.next()

    def _needed(self) -> Entry:
        if self.current is None or self._record(self._entries[self._at]) is None:
            raise OptionError("No cell is being reviewed; start the review, or go to the next cell.")
        self._check_view()
        return self._entries[self._at]

    def _check_view(self) -> None:
        """Refuse to go on where no plane is shown, as in 3-D: no frame could be drawn there."""
        _ = self._session.plane  # it says what is wrong

    def _is_open(self, entry: Entry, *, reviewed_too: bool = False) -> bool:
        """Whether a cell is still there, and to be looked at."""
        record = self._record(entry)
        return record is not None and (reviewed_too or self._filter.lets(entry.measure, record))

    def _record(self, entry: Entry) -> CellRecord | None:
        """Return the record of a cell; None if it is gone."""
        record = self._session.cells.get(entry.plane, entry.measure.label)
        if record is None and pixel_of(self._session.target, entry) is not None:
            record = CellRecord(entry.measure.label, entry.plane)  # of another tool
        return record

    def _go_back_to(self, entry: Entry) -> tuple[float, float]:
        """Show the plane of a cell, if the user has moved on to another, and return a pixel of the cell."""
        place = pixel_of(self._session.target, entry)
        if place is None:
            raise OptionError(f"Cell {entry.measure.label} is gone; go to the next one.")
        if self._session.plane != entry.plane:
            self._spotlight.show(entry.plane, entry.measure.window)
            if self._session.plane != entry.plane:  # another layer has its planes in between
                raise OptionError(
                    f"The window does not show the plane of cell {entry.measure.label}; move there first."
                )
        return place
