"""The transport to a service on this machine that may die: requests under way are sent again to the next one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from napari_cellsam.errors import ImageNotCachedError, ServiceTimeoutError, ServiceUnavailableError
from napari_cellsam.service.messages import ImageKept, ImageRef
from napari_cellsam.service.transport import Call, ImageNotSentError, Transport

if TYPE_CHECKING:
    from napari_cellsam.service.child_process import ChildProcess
    from napari_cellsam.service.messages import Frame, Request, Result

__all__ = ["Children", "LocalTransport"]

_MAX_DEATHS = 3
_MAX_FATAL = 8  # requests under which a process died that are remembered
_DEATH_S = 2.0  # a broken connection is seen before the death that broke it


class Children(Protocol):
    """Where the process that listens now comes from."""

    def child(self, call: Call | None = None) -> ChildProcess:
        """Wait for a process that listens."""
        ...

    def has_died(self, child: ChildProcess, timeout_s: float) -> bool:
        """Wait so long for the end of a process; say whether it has come."""
        ...


class _Connection:
    """A transport to one process, and how many requests are on it."""

    def __init__(self, child: ChildProcess, transport: Transport) -> None:
        self.child = child
        self.transport = transport
        self.n_users = 0
        self.kept: set[str] = set()
        """Images that this process was given through here."""

    def send(self, request: Request, slot: str | None, call: Call, on_frame: Callable[[Frame], None] | None) -> Result:
        """Send a request; say whether an image is missing because the process is a new one."""
        try:
            result = self.transport.send(request, slot=slot, call=call, on_frame=on_frame)
        except ImageNotCachedError as error:
            image = getattr(request, "image", None)
            if isinstance(image, ImageRef) and image.image_id not in self.kept:
                raise ImageNotSentError(str(error)) from error
            raise
        if isinstance(result, ImageKept):
            self.kept.add(result.image_id)
        return result


class LocalTransport:
    """Send requests to whichever process listens; a lease on the local service, given back by closing.

    Parameters
    ----------
    children
        Where the process comes from; the first request waits until it has started.
    connect
        Makes a transport to a process.
    on_close
        Called once, with this transport, when it is closed.
    """

    def __init__(
        self,
        children: Children,
        connect: Callable[[ChildProcess], Transport],
        on_close: Callable[[LocalTransport], None] | None = None,
    ) -> None:
        self._children = children
        self._connect = connect
        self._on_close = on_close
        self._lock = threading.Lock()
        self._newest: _Connection | None = None
        self._waiting: set[Call] = set()
        self._fatal: deque[tuple[Request, int]] = deque(maxlen=_MAX_FATAL)
        self._closed = False

    def send(
        self,
        request: Request,
        *,
        slot: str | None = None,
        call: Call | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Result:
        """Send a request and wait for its result, as `Transport` says; send it again if the service dies meanwhile.

        Raises
        ------
        ServiceUnavailableError
            If the service cannot be started, or dies of this request every time.
        ServiceTimeoutError
            If it is silent for too long; if it still is at the next request, it is replaced first.
        CellsamError
            As the service failed.
        """
        call = call or Call()
        n_deaths = self._deaths_before(request)
        while True:
            child = self._await_child(call)
            try:
                with self._connected(child) as connection:
                    return connection.send(request, slot, call, on_frame)
            except ServiceTimeoutError:
                child.suspect = True
                raise
            except ImageNotSentError:
                self._remember(request, n_deaths)
                raise
            except ServiceUnavailableError as error:
                if self._closed or not self._children.has_died(child, _DEATH_S):
                    raise
                n_deaths += 1
                if n_deaths == _MAX_DEATHS:
                    raise ServiceUnavailableError(_obituary(request, child)) from error

    def close(self) -> None:
        """Cancel all requests under way and give the lease back; further requests raise `ServiceUnavailableError`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            newest, self._newest = self._newest, None
            waiting = list(self._waiting)
        if newest is not None:
            newest.transport.close()
        for call in waiting:
            call.cancel()
        if self._on_close is not None:
            self._on_close(self)

    def _await_child(self, call: Call) -> ChildProcess:
        """Wait for a process that listens, unless this transport is closed meanwhile."""
        with self._lock:
            self._check_open()
            self._waiting.add(call)
        try:
            return self._children.child(call)
        finally:
            with self._lock:
                self._waiting.discard(call)

    def _deaths_before(self, request: Request) -> int:
        """Return under how many earlier sends of this request the process died."""
        with self._lock:
            return next((n_deaths for former, n_deaths in self._fatal if former is request), 0)

    def _remember(self, request: Request, n_deaths: int) -> None:
        """Remember the deaths under a request, which its client sends again once the next process has the image."""
        if n_deaths:
            with self._lock:
                self._fatal.appendleft((request, n_deaths))

    @contextmanager
    def _connected(self, child: ChildProcess) -> Iterator[_Connection]:
        """Lend the connection to a process; the last request on one to a former process closes it."""
        with self._lock:
            self._check_open()
            connection, former = self._newest, None
            if connection is None or connection.child is not child:
                former, connection = connection, _Connection(child, self._connect(child))
                self._newest = connection
            connection.n_users += 1
        if former is not None and former.n_users == 0:
            former.transport.close()
        try:
            yield connection
        finally:
            with self._lock:
                connection.n_users -= 1
                is_left = connection.n_users == 0 and connection is not self._newest
            if is_left:
                connection.transport.close()

    def _check_open(self) -> None:
        """Refuse further requests once closed."""
        if self._closed:
            raise ServiceUnavailableError("this lease on the local model service was given back; take a new one")


def _obituary(request: Request, child: ChildProcess) -> str:
    """Say of what the service dies."""
    return (
        f"the local model service died {_MAX_DEATHS} times while it worked at the same {type(request).__name__} "
        "request, so it is not sent again; try a smaller image or model. The last words of the service:\n"
        f"{child.last_words}"
    )
