"""Journaling: every step is on disk within a second, and work that was interrupted can be continued."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from psygnal import Signal as Event
from qtpy.QtCore import QObject, Qt, Signal

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.journal import Replayed, replay
from napari_cellsam.editing.journal_format import Opening
from napari_cellsam.editing.journal_places import earlier_folders, find_journals, journal_folders, new_journal_paths
from napari_cellsam.editing.journal_writer import claim
from napari_cellsam.editing.records import RecordChange
from napari_cellsam.errors import CellsamError
from napari_cellsam.widgets._journal_keeper import JournalKeeper
from napari_cellsam.widgets._journal_offer import Look, Offer, matching

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.service.transport import Call
    from napari_cellsam.types import Image
    from napari_cellsam.widgets._history import History
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._ledger import Ledger
    from napari_cellsam.widgets._ledgers import Ledgers
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._source import ImageSource

    Claimed: TypeAlias = tuple[Path, BaseFileLock]

__all__ = ["Journaling", "Offer"]

_TOPIC = "journals"


class _Voice(QObject):
    """Carries troubles from the journals' threads to the GUI thread."""

    trouble = Signal(object, object)


class Journaling:
    """Keeps a journal of each labels layer that is written into, and offers to continue earlier ones.

    ``changed`` is emitted when there is an offer, or none any more, and when a disk begins or ends to refuse.

    Parameters
    ----------
    session
        Whose image is looked at.
    ledgers
        What is kept.

    Attributes
    ----------
    offer
        Earlier work on the image; None if there is none, or it was declined.
    """

    changed = Event()

    def __init__(self, session: Session, ledgers: Ledgers) -> None:
        self._session, self._ledgers = session, ledgers
        self.offer: Offer | None = None
        self._keepers: dict[Ledger, JournalKeeper] = {}
        self._sources: dict[Ledger, ImageSource] = {}  # the images that they are of, also while others are looked at
        self._troubles: dict[Ledger, CellsamError] = {}
        self._continued: Claimed | None = None
        self._voice = _Voice()
        self._voice.trouble.connect(self._on_trouble, Qt.ConnectionType.QueuedConnection)
        ledgers.began.connect(self._on_began)

    @property
    def path(self) -> Path | None:
        """Where the journal of the labels that are written into is; None until something was done."""
        keeper = self._keepers.get(self._ledgers.current) if self._ledgers.current else None
        return None if keeper is None else keeper.path

    @property
    def trouble(self) -> CellsamError | None:
        """Why the journal of the labels that are written into cannot be kept; None while it is."""
        return self._troubles.get(self._ledgers.current) if self._ledgers.current else None

    @property
    def looking(self) -> bool:
        """Whether earlier work is still being looked for."""
        return self._session.jobs.running(_TOPIC)

    def look_for(self) -> None:
        """Look for earlier work on the image that is looked at, in another thread."""
        self._session.jobs.cancel(_TOPIC)
        self._set(None)
        source = self._session.source
        if source is None:
            return
        name, shape = source.file_name, source.shape
        folders = earlier_folders(source.path, self._chosen_folder)

        def look_at(plane: Plane) -> Look:  # only where there is a journal: planes may be thousands
            return Look(source.reader(plane), source.namer(plane))

        in_use = {keeper.path for keeper in self._keepers.values()}

        def work(call: Call, report: Report) -> Offer | None:  # noqa: ARG001 - nothing to report
            for path in find_journals(name, folders):
                if path not in in_use and not call.cancelled:
                    found = matching(path, shape, look_at)
                    if found is not None:
                        return found
            return None

        self._session.jobs.submit(work, on_done=self._found, on_error=self._session.failed, topic=_TOPIC, whole=True)

    def decline(self) -> None:
        """Begin anew; the earlier journal stays where it is."""
        self._set(None)

    def accept(self, then: Callable[[], None] = lambda: None, otherwise: Callable[[], None] = lambda: None) -> None:
        """Continue the earlier work, in a labels layer of its own; do something then, or otherwise if it cannot be."""
        offer, source = self.offer, self._session.source
        if offer is None or source is None:
            return
        self._set(None)
        name, folders = source.file_name, [f for f in self._folders(source) if f != offer.path.parent]

        def work(call: Call, report: Report) -> tuple[Claimed, Replayed, int]:  # noqa: ARG001 - as long as a file takes
            copies = (path for folder in folders for path in islice(new_journal_paths(name, folder), 1))
            claimed = claim(offer.path, copies)
            try:
                replayed = replay(claimed[0])
                return claimed, replayed, _highest(replayed)
            except BaseException:
                claimed[1].release()
                raise

        def done(made: tuple[Claimed, Replayed, int]) -> None:
            if self._session.source is source:
                self._continue(*made)
                then()
            else:
                made[0][1].release()

        def refused(error: CellsamError) -> None:
            if self._session.source is source:
                self._set(offer)
                otherwise()
            self._session.failed(error)

        self._session.jobs.submit(work, on_done=done, on_error=refused, topic=_TOPIC, whole=True)

    def flush(self) -> bool:
        """Wait until everything is on disk; return whether it is."""
        return all(keeper.flush() for keeper in self._keepers.values())

    def close(self) -> None:
        """Write what waits, and let go of all journals."""
        self._ledgers.began.disconnect(self._on_began)
        for ledger in tuple(self._keepers):
            self._end(ledger)
        self._voice.deleteLater()

    def _on_began(self, ledger: Ledger, empty: bool) -> None:
        ledger.closed.connect(partial(self._end, ledger))
        ledger.target.replaced.connect(partial(self._begin_anew, ledger))
        if self._session.source is not None:
            self._begin(ledger, self._session.source, empty=empty)

    def _begin(self, ledger: Ledger, source: ImageSource, *, empty: bool = False) -> None:
        """Keep the journal of an image's labels from the first step on."""
        claimed, self._continued = self._continued, None
        keeper = JournalKeeper(
            source.file_name,
            self._folders(source),
            _opening(source, ledger, self._session),
            None if empty else ledger.target.layer.data,
            _known(ledger),
            partial(self._voice.trouble.emit, ledger),
            claimed,
        )
        self._keepers[ledger], self._sources[ledger] = keeper, source
        ledger.did.connect(keeper.add)

    def _begin_anew(self, ledger: Ledger) -> None:
        """Keep a journal of other labels, which a layer was given, from the next step on."""
        if ledger in self._keepers:
            source = self._sources[ledger]
            self._end(ledger)
            self._begin(ledger, source)

    def _end(self, ledger: Ledger) -> None:
        keeper = self._keepers.pop(ledger, None)
        self._sources.pop(ledger, None)
        self._troubles.pop(ledger, None)
        if keeper is not None:
            ledger.did.disconnect(keeper.add)
            if not keeper.close():
                self._session.say("The last steps are in no journal: it could not be written.", "error")

    def _continue(self, claimed: Claimed, replayed: Replayed, highest: int) -> None:
        self._continued = claimed
        ledger = self._ledgers.add(replayed.labels)
        ledger.target.know_highest(highest)
        ledger.cells.apply(RecordChange(None, record) for record in replayed.cells.values())
        for plane in np.ndindex(replayed.verified.shape[:-2]):
            whole = replayed.verified[plane].astype(bool)
            mark = ledger.verified.changed(plane, np.s_[0 : whole.shape[0], 0 : whole.shape[1]], whole, verified=True)
            ledger.verified.apply([] if mark is None else [mark])
        _rebuild(ledger.history, replayed)
        self._session.say(f"Continued where it ended: {len(ledger.history)} steps, which can be undone.")
        self._session.changed.emit()

    @property
    def _chosen_folder(self) -> Path | None:
        chosen = self._session.preferences.journal_folder
        return Path(chosen).expanduser() if chosen else None

    def _folders(self, source: ImageSource) -> list[Path]:
        return journal_folders(source.path, self._chosen_folder)

    def _found(self, offer: Offer | None) -> None:
        self._set(offer)
        self.changed.emit()  # also if there is none: it is no longer looked for

    def _set(self, offer: Offer | None) -> None:
        if offer is not self.offer:
            self.offer = offer
            self.changed.emit()

    def _on_trouble(self, ledger: Ledger, error: CellsamError | None) -> None:
        if ledger not in self._keepers:
            return
        if error is None:
            self._troubles.pop(ledger, None)
            self._session.say("The journal is written again; nothing is missing in it.")
        else:
            self._troubles[ledger] = error
            self._session.say(str(error), "warning")
        self.changed.emit()


def _opening(source: ImageSource, ledger: Ledger, session: Session) -> Callable[[], Opening]:
    """Return what says what a journal is of, in another thread."""
    data = ledger.target.layer.data
    read: Callable[[], Image] | None = None
    name: Callable[[], str] | None = None
    plane: Plane = (0,) * (len(source.shape) - 2)
    with suppress(CellsamError):
        name = source.namer(plane)
        plane = source.plane
        name = source.namer(plane)
        read = session.image_reader(plane) if session.source is source else source.reader(plane)

    def opening() -> Opening:
        return Opening(
            name=source.file_name,
            shape=tuple(map(int, data.shape)),
            dtype=str(data.dtype),
            plane=plane,
            image_id=None if read is None else read().image_id,
            layer_id=None if name is None else name(),
            pixel_size_um=source.pixel_size_um,
        )

    return opening


def _known(ledger: Ledger) -> Action:
    """Return what is known of labels, beside their pixels."""
    changes = tuple(RecordChange(None, record) for record in ledger.cells)
    return Action("what was known of them", (), changes, None, ledger.verified.marks())


def _highest(replayed: Replayed) -> int:
    """Return the highest number that a cell has or had, with those that undoing would bring back."""
    edits = [edit for _, action in replayed.steps for edit in action.edits]
    numbers = [int(values.max(initial=0)) for edit in edits for values in (edit.before, edit.after)]
    return max(int(replayed.labels.max(initial=0)), *numbers, 0)


def _rebuild(history: History, replayed: Replayed) -> None:
    """Let a history be as it was after the steps of a journal."""
    for kind, action in replayed.steps:
        if kind == "do":
            history.push(action)
        elif kind == "undo":
            history.undo()
        elif kind == "redo":
            history.redo()
