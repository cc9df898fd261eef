"""The local service: a model service in a process of its own on this machine, shared by all who hold a lease."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from napari_cellsam.errors import ServiceUnavailableError
from napari_cellsam.service.child_process import ChildProcess, default_command
from napari_cellsam.service.handshake import ChildOptions
from napari_cellsam.service.lane import Timeouts
from napari_cellsam.service.local_transport import LocalTransport
from napari_cellsam.service.supervisor import Patience, Supervisor

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call, Transport

__all__ = ["ChildOptions", "LocalService", "Patience", "local_service"]


class LocalService:
    """A service on this machine that runs while someone holds a lease on it, and at most as long as this process.

    Nothing starts before the first `acquire` or `start`; neither waits. The process is started again when it dies.

    Parameters
    ----------
    options
        What it offers.
    patience
        How long and how often it is waited for.
    timeouts
        How long its answers are waited for.
    command
        Program and arguments, such as another interpreter with ``-m napari_cellsam.service.child``; this interpreter
        when None.
    """

    def __init__(
        self,
        options: ChildOptions = ChildOptions(),  # noqa: B008 - frozen
        patience: Patience = Patience(),  # noqa: B008
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008
        command: Sequence[str] | None = None,
    ) -> None:
        self._options = options
        self._patience = patience
        self._timeouts = timeouts
        self._command = tuple(command or default_command())
        self._lock = threading.RLock()
        self._leases: set[LocalTransport] = set()
        self._warmings: set[LocalTransport] = set()
        self._is_held = False
        self._supervisor: Supervisor | None = None
        self._owner_pid = os.getpid()

    @property
    def url(self) -> str:
        """Where it listens; waits until it does."""
        return self.child().url

    @property
    def token(self) -> str:
        """What it asks for; waits until it listens."""
        return self.child().token

    @property
    def pid(self) -> int:
        """Its process id; waits until it listens."""
        return self.child().pid

    @property
    def is_started(self) -> bool:
        """Whether it runs, or is being started."""
        return self._supervisor is not None

    def acquire(self) -> LocalTransport:
        """Take a lease, and start the service in the background if it does not run.

        Returns
        -------
        LocalTransport
            Whose first request waits for the service. Closing it gives the lease back; the last one ends the service.
        """
        lease = LocalTransport(self, self._connect, self.release)
        with self._lock:
            self._leases.add(lease)
            self._ensure()
        return lease

    def release(self, lease: LocalTransport) -> None:
        """Give a lease back, as closing it does; the last one ends the service."""
        with self._lock:
            if lease not in self._leases:
                return
            self._leases.discard(lease)
            supervisor = None if self._leases or self._is_held else self._detach()
        lease.close()
        self._stop(supervisor)

    def start(self) -> None:
        """Start the service in the background if it does not run, and keep it until `close`, leases or not."""
        with self._lock:
            self._is_held = True
            self._ensure()

    def wait(self) -> None:
        """Wait until the service listens.

        Raises
        ------
        CellsamError
            If it cannot start.
        """
        self.child()

    def warm_up(self, model: str = "") -> Future[None]:
        """Load a model in the background, and compute with it once, so that the first request need not wait.

        Parameters
        ----------
        model
            Name of a model; the first one when empty.

        Returns
        -------
        Future
            Done when the model is ready, or with the error for which it cannot be.
        """
        from napari_cellsam.service.warming import Warming

        with self._lock:
            warming = Warming(LocalTransport(self, self._connect, self._warmings.discard), model)
            self._warmings.add(warming.transport)
        warming.start()
        return warming.future

    def close(self) -> None:
        """End the service and all leases; `acquire` and `start` begin anew."""
        if os.getpid() != self._owner_pid:  # a forked copy of the process that holds it
            return
        with self._lock:
            leases = list(self._leases)
            self._leases.clear()
            self._is_held = False
            supervisor = self._detach()
        for lease in leases:
            lease.close()
        self._stop(supervisor)

    def child(self, call: Call | None = None) -> ChildProcess:
        """Wait for the process that listens, as `Supervisor.child` does.

        Raises
        ------
        ServiceUnavailableError
            If it was ended, or cannot start.
        CellsamError
            What it cannot start for.
        """
        with self._lock:
            if self._supervisor is None:
                raise ServiceUnavailableError("the local model service does not run; take a lease on it, or start it")
            if self._supervisor.is_spent:
                self._supervisor = Supervisor(self._command, self._options, self._patience)
            supervisor = self._supervisor
        return supervisor.child(call)

    def has_died(self, child: ChildProcess, timeout_s: float) -> bool:
        """Wait so long for the end of a process; say whether it has come."""
        supervisor = self._supervisor
        return child.has_died(timeout_s) if supervisor is None else supervisor.has_died(child, timeout_s)

    def _ensure(self) -> None:
        """Start a supervisor if there is none; the lock is held."""
        if self._supervisor is None:
            self._supervisor = Supervisor(self._command, self._options, self._patience)
            atexit.register(self.close)

    def _detach(self) -> Supervisor | None:
        """Take the supervisor away, which is to be stopped without the lock; it is held."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            atexit.unregister(self.close)
        return supervisor

    def _stop(self, supervisor: Supervisor | None) -> None:
        """End the process and what warms it up."""
        if supervisor is None:
            return
        for warming in list(self._warmings):
            warming.close()
        supervisor.stop()

    def _connect(self, child: ChildProcess) -> Transport:
        """Make a transport to a process."""
        from napari_cellsam.service.http_transport import HttpTransport

        # one retry replaces a connection that was idle for too long; a death is for LocalTransport to see
        return HttpTransport(child.url, child.token, timeouts=self._timeouts, retries=1, trust_env=False)


_shared_lock = threading.Lock()
_shared: dict[int, LocalService] = {}


def local_service() -> LocalService:
    """Return the local service that all of this process share, so that two viewers do not load the model twice."""
    with _shared_lock:
        # by process: a forked copy has no use for the supervisor of the original
        return _shared.setdefault(os.getpid(), LocalService())
