"""The errand: a request that a client has under way, and what can stop it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from napari_cellsam.errors import RequestCancelledError, ServiceError

if TYPE_CHECKING:
    from napari_cellsam.service.lane import Lane

__all__ = ["Errand"]


class Errand:
    """A request under way.

    One thread is on it; any other may stop it, which gives the first one an error.

    Attributes
    ----------
    request_id
        By which the service knows it; empty before it was sent, another one each time it is sent.
    thread
        That is on it.
    """

    def __init__(self) -> None:
        self.request_id = ""
        self.thread = threading.current_thread()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._error: ServiceError | None = None
        self._lane: Lane | None = None

    @property
    def stopped(self) -> bool:
        """Whether the request was stopped."""
        return self._stopping.is_set()

    def check(self) -> None:
        """Raise why the request was stopped, if it was."""
        if self._error is not None:
            raise self._error

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the request is stopped; then raise why."""
        self._stopping.wait(seconds)
        self.check()

    def take(self, lane: Lane | None) -> None:
        """Note on which connection the request goes, or that it is on none."""
        with self._lock:
            self._lane = lane

    def stop(self, error: ServiceError | None = None) -> bool:
        """Let the request end with an error; return whether this is the first one. The connection stays as it is."""
        with self._lock:
            if self._error is not None or self._ended.is_set():
                return False
            self._error = error or RequestCancelledError("the request was cancelled")
            self._stopping.set()
            return True

    def cut(self) -> None:
        """Break the connection on which the request goes."""
        with self._lock:
            if self._lane is not None:
                self._lane.cut()

    def end(self) -> None:
        """Note that the request is over, however it ended."""
        self.take(None)
        self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end; return whether it came."""
        return self._ended.wait(seconds)
