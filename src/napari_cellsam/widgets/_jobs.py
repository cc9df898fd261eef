"""The jobs: work that other threads do, whose results come back to the GUI thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from psygnal import Signal as Event
from qtpy.QtCore import QObject, Qt, Signal, Slot

from napari_cellsam.errors import CellsamError
from napari_cellsam.service.transport import Call
from napari_cellsam.widgets._workers import Workers

__all__ = ["Job", "Jobs", "Report", "TakenBack"]

Result = TypeVar("Result")
Report = Callable[[Any], None]
"""Called by the work with whatever ``on_report`` takes; may be called from its thread at any time."""

TakenBack = Callable[[], bool]
"""Called when work is taken back before it is done; returns whether some of it is a step of the history already."""

_CLOSING_S = 1.0


class Job(Generic[Result]):
    """Work under way. Its callbacks run on the GUI thread, and never after `cancel`."""

    def __init__(self, topic: str | None, on_taken_back: TakenBack | None = None, whole: bool = False) -> None:
        self.topic = topic
        self.whole = whole
        self.on_taken_back = on_taken_back
        self.call = Call()
        self.running = True

    def cancel(self) -> None:
        """Let nobody hear of the work any more, and tell the service to stop it."""
        self.running = False
        self.call.cancel()


@dataclass(frozen=True, eq=False)
class _Listener:
    """Who hears of a job."""

    done: Callable[[Any], None]
    error: Callable[[CellsamError], None]
    report: Callable[[Any], None] | None


class _Bridge(QObject):
    """Carries functions from any thread to the GUI thread, in order."""

    carry = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.carry.connect(self._run, Qt.ConnectionType.QueuedConnection)

    @Slot(object)
    def _run(self, function: Callable[[], None]) -> None:
        function()


class Jobs:
    """Starts jobs; belongs to the GUI thread, which makes and closes it.

    ``changed`` is emitted when a job begins or ends.
    """

    changed = Event()

    def __init__(self) -> None:
        self._bridge = _Bridge()
        self._jobs: dict[Job[Any], None] = {}  # oldest first
        self._workers = Workers("napari-cellsam job")
        self._closed = False

    @property
    def n_running(self) -> int:
        """Number of jobs under way that are still wanted."""
        return len(self._jobs)

    @property
    def n_actions(self) -> int:
        """Number of the user's actions that are not done yet."""
        return sum(job.on_taken_back is not None for job in self._jobs)

    def submit(
        self,
        work: Callable[[Call, Report], Result],
        *,
        on_done: Callable[[Result], None],
        on_error: Callable[[CellsamError], None],
        on_report: Callable[[Any], None] | None = None,
        on_taken_back: TakenBack | None = None,
        topic: str | None = None,
        whole: bool = False,
    ) -> Job[Result]:
        """Start work in another thread.

        Parameters
        ----------
        work
            Gets the call by which it is cancelled, and a function for reports.
        on_done, on_error, on_report
            Called on the GUI thread; after `on_done` or `on_error` nothing follows. A cancelled job calls none.
        on_taken_back
            What else is to be done when the user takes this action back before it is done; None for other work.
        topic
            A job cancels the one of the same topic that runs: only the newest counts.
        whole
            Whether the work must not be cut off: cancelling all jobs passes it over.
        """
        if topic is not None:
            self.cancel(topic)
        job: Job[Result] = Job(topic, on_taken_back, whole)
        if self._closed:
            job.running = False
            return job
        self._jobs[job] = None
        self._workers.run(partial(self._run, job, work, _Listener(on_done, on_error, on_report)))
        self.changed.emit()
        return job

    def cancel(self, topic: str | None = None) -> None:
        """Cancel the job of a topic, or all that may be cut off; what users began themselves is taken back then."""
        if topic is None:
            self.take_all_back()
        self._cancel([job for job in self._jobs if (job.topic == topic if topic is not None else not job.whole)])

    def take_back(self) -> bool | None:
        """Take the user's newest action back that is not done yet.

        Returns
        -------
        bool or None
            Whether some of it is a step of the history already; None if there is no such action.
        """
        for job in reversed(self._jobs):
            if job.on_taken_back is not None:
                self._cancel([job])
                return job.on_taken_back()
        return None

    def take_all_back(self) -> None:
        """Take all of the user's actions back that are not done yet; what of them is a step already stays."""
        while self.take_back() is not None:
            pass

    def running(self, topic: str) -> bool:
        """Return whether a job of a topic is under way."""
        return any(job.topic == topic for job in self._jobs)

    def close(self) -> None:
        """Cancel everything; further jobs are not started. Waits a second at most."""
        self._closed = True
        self._cancel(list(self._jobs))
        self._workers.close(_CLOSING_S)
        self._bridge.deleteLater()

    def _cancel(self, jobs: Sequence[Job[Any]]) -> None:
        for job in jobs:
            job.cancel()
            self._end(job)

    def _run(self, job: Job[Any], work: Callable[[Call, Report], Any], listener: _Listener) -> None:
        """Do the work, in a worker's thread."""
        try:
            result = work(job.call, lambda value: self._carry(job, listener.report, value))
        except CellsamError as error:
            self._carry(job, listener.error, error, last=True)
        except Exception as error:  # noqa: BLE001 - a fault of ours is shown by napari, not lost in a thread
            self._carry(job, _raise, error, last=True)
        else:
            self._carry(job, listener.done, result, last=True)

    def _carry(self, job: Job[Any], function: Callable[[Any], None] | None, value: Any, *, last: bool = False) -> None:
        """Call a function on the GUI thread, if the job is still wanted when its turn comes."""
        if function is not None and job.running and not self._closed:
            self._bridge.carry.emit(partial(self._deliver, job, function, value, last))

    def _deliver(self, job: Job[Any], function: Callable[[Any], None], value: Any, last: bool) -> None:
        if not job.running:
            return
        if last:
            self._end(job)
        function(value)

    def _end(self, job: Job[Any]) -> None:
        job.running = False
        if job in self._jobs:
            del self._jobs[job]
            self.changed.emit()


def _raise(error: Exception) -> None:
    raise error
