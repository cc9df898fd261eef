"""The supervisor of a local service: it starts the process, and starts another when that one dies."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields

from napari_cellsam.errors import (
    CellsamError,
    OptionError,
    RequestCancelledError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from napari_cellsam.service.child_process import ChildProcess
from napari_cellsam.service.handshake import ChildOptions
from napari_cellsam.service.transport import Call

__all__ = ["Patience", "Supervisor"]


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long and how often a local service is waited for.

    Attributes
    ----------
    start_s
        Until a new process listens.
    end_s
        Until it has ended by itself.
    probe_s
        Until a process that was silent says that it is well.
    max_deaths, within_s
        It is given up when it dies so often in so short a time.
    first_pause_s, max_pause_s
        Before it is started again; doubled with every death.
    rest_s
        After it was given up, until a request starts it again.
    """

    start_s: float = 180.0
    end_s: float = 2.0
    probe_s: float = 5.0
    max_deaths: int = 4
    within_s: float = 60.0
    first_pause_s: float = 0.1
    max_pause_s: float = 5.0
    rest_s: float = 15.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value, least = getattr(self, item.name), int(item.name == "max_deaths")
            if not value >= least:
                raise OptionError(f"patience {item.name} is {value}; expected at least {least}")


class Supervisor:
    """Keep one local service running, from a thread of its own, until it is stopped or gives up.

    Parameters
    ----------
    command, options
        As for `ChildProcess`.
    patience
        How long and how often.
    """

    def __init__(self, command: Sequence[str], options: ChildOptions, patience: Patience) -> None:
        self._command = command
        self._options = options
        self._patience = patience
        self._changed = threading.Condition()
        self._child: ChildProcess | None = None
        self._ready = False
        self._stopping = threading.Event()
        self._error: CellsamError | None = None
        self._given_up_at = 0.0
        self._deaths: deque[float] = deque(maxlen=patience.max_deaths)
        self._thread = threading.Thread(target=self._run, name="supervisor of the local service", daemon=True)
        self._thread.start()

    @property
    def is_spent(self) -> bool:
        """Whether it has given up, and rested since."""
        with self._changed:
            return self._error is not None and time.monotonic() - self._given_up_at >= self._patience.rest_s

    def child(self, call: Call | None = None) -> ChildProcess:
        """Wait for a process that listens; replace one that timed out and still does not answer.

        Parameters
        ----------
        call
            By which the waiting can be cancelled.

        Raises
        ------
        CellsamError
            What it cannot start for.
        ServiceUnavailableError
            If it was given up or stopped.
        RequestCancelledError
            If the call was cancelled.
        """
        call = call or Call()
        call.on_cancel(self._wake)
        try:
            child = self._wait(call)
            while child.suspect and not child.answers(self._patience.probe_s):
                child.kill()
                self._wait_for_end(child)
                child = self._wait(call)
        finally:
            call.on_cancel(None)
        child.suspect = False
        return child

    def has_died(self, child: ChildProcess, timeout_s: float) -> bool:
        """Wait so long for the end of a process; say whether it has come and was noted here."""
        return child.has_died(timeout_s) and self._wait_for_end(child)

    def stop(self) -> None:
        """End the process and the supervision. Requests that wait get `ServiceUnavailableError`."""
        with self._changed:
            self._stopping.set()
            child = self._child
            self._changed.notify_all()
        if child is not None:
            child.end(self._patience.end_s)
        self._thread.join()

    def _wait(self, call: Call) -> ChildProcess:
        """Wait until there is a process that listens."""
        # starting so often, with pauses between, cannot take longer
        patience = self._patience
        longest_s = patience.max_deaths * (patience.start_s + patience.max_pause_s + patience.end_s) + patience.end_s
        with self._changed:
            self._changed.wait_for(
                lambda: self._ready or self._error or self._stopping.is_set() or call.cancelled, longest_s
            )
            if call.cancelled:
                raise RequestCancelledError("the request was cancelled while the local model service was starting")
            if self._stopping.is_set():
                raise ServiceUnavailableError("the local model service was closed")
            if self._error:
                raise type(self._error)(str(self._error)) from self._error
            if self._child is None or not self._ready:
                raise ServiceTimeoutError(f"the local model service did not start within {longest_s:g} s")
            return self._child

    def _wait_for_end(self, child: ChildProcess) -> bool:
        """Wait until this process is no longer the one that requests are sent to."""
        with self._changed:
            return self._changed.wait_for(lambda: self._child is not child or not self._ready, self._patience.end_s)

    def _wake(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        """Start it, wait for its end, pause, and begin again."""
        while not self._stopping.is_set():
            try:
                cause = self._live()
            except ServiceUnavailableError as error:
                cause = str(error)
            except CellsamError as error:  # the child knows why it cannot start, so trying again is no use
                self._give_up(error)
                return
            if self._stopping.is_set():
                return
            n_deaths = self._count_death()
            if n_deaths >= self._patience.max_deaths:
                self._give_up(ServiceUnavailableError(self._obituary(cause)))
                return
            _log.warning("%s; starting it again", cause)
            self._pause(min(self._patience.first_pause_s * 2 ** (n_deaths - 1), self._patience.max_pause_s))

    def _live(self) -> str:
        """Start a process and wait for its end; return how that came."""
        child = ChildProcess(self._command, self._options)
        with self._changed:
            self._child = child
            stopping = self._stopping.is_set()
        if stopping:  # `stop` came before there was a process to end
            child.end(self._patience.end_s)
        try:
            child.wait_until_ready(self._patience.start_s)
            self._set_ready(True)
            return f"the local model service {child.wait()}"
        except CellsamError:
            child.end(self._patience.end_s)
            child.wait()
            raise
        finally:
            self._set_ready(False)

    def _set_ready(self, ready: bool) -> None:
        """Tell those who wait for a process, or for its end."""
        with self._changed:
            self._ready = ready
            self._changed.notify_all()

    def _count_death(self) -> int:
        """Note a death; return how many there were lately."""
        now = time.monotonic()
        self._deaths.append(now)
        return sum(now - death <= self._patience.within_s for death in self._deaths)

    def _pause(self, pause_s: float) -> None:
        """Wait, unless stopped."""
        with self._changed:
            self._changed.wait_for(self._stopping.is_set, pause_s)

    def _give_up(self, error: CellsamError) -> None:
        """Let all requests fail."""
        _log.error("%s", error)
        with self._changed:
            self._error = error
            self._given_up_at = time.monotonic()
            self._changed.notify_all()

    def _obituary(self, cause: str) -> str:
        """Say how it died, how often, and what it said last."""
        words = self._child.last_words if self._child is not None else ""
        said = f"; its last words:\n{words}" if words else ""
        command = " ".join(self._command)
        return (
            f"{cause}, the last of {len(self._deaths)} times within {self._patience.within_s:g} s. It is given up; a "
            f"request in {self._patience.rest_s:g} s or later tries once more. It was started as: {command}{said}"
        )
