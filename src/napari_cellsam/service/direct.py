"""The direct transport: to a service in this process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_cellsam.errors import RequestCancelledError, ServiceUnavailableError
from napari_cellsam.service.failures import error_of
from napari_cellsam.service.messages import Failure, Reply

if TYPE_CHECKING:
    from napari_cellsam.service.core import Service, Submission
    from napari_cellsam.service.messages import Frame, Request, Result
    from napari_cellsam.service.transport import Call

__all__ = ["DirectTransport"]

_MANY_FRAMES = 64
_FEW_FRAMES = 8


class DirectTransport:
    """Hand requests to a service in this process, for scripts and tests.

    Parameters
    ----------
    service
        Stays open when the transport is closed.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._client_id = uuid4().hex
        self._lock = threading.Lock()
        self._under_way: set[Submission] = set()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def send(
        self,
        request: Request,
        *,
        slot: str | None = None,
        call: Call | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Result:
        """Send a request and wait for its result; as `Transport.send`."""
        if self.is_closed:
            raise ServiceUnavailableError("this client was closed; make a new one")
        if call is not None and call.cancelled:
            raise RequestCancelledError("the request was cancelled")
        frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        submission = self._service.ask(
            request, frames.put, client_id=self._client_id, request_id=uuid4().hex, slot=slot
        )
        with self._lock:
            self._under_way.add(submission)
            closed = self._closed
        if closed:  # a moment ago
            submission.cancel()
        try:
            if call is not None:
                call.on_cancel(submission.cancel)
            return _result_of(_read(frames, submission, on_frame))
        finally:
            if call is not None:
                call.on_cancel(None)
            submission.cancel()  # what the caller's own code has broken off
            with self._lock:
                self._under_way.discard(submission)

    def close(self) -> None:
        """Cancel all requests under way; further ones raise `ServiceUnavailableError`."""
        with self._lock:
            self._closed = True
            under_way = tuple(self._under_way)
        for submission in under_way:
            submission.cancel()


def _read(
    frames: queue.SimpleQueue[Frame], submission: Submission, on_frame: Callable[[Frame], None] | None
) -> Reply | Failure:
    """Hand over frames as they come, and return the last; the work is held up while the caller cannot keep up."""
    paused = False
    while True:
        frame = frames.get()
        if isinstance(frame, Reply | Failure):
            return frame
        if not paused and frames.qsize() > _MANY_FRAMES:
            submission.pause()
            paused = True
        if on_frame:
            on_frame(frame)
        if paused and frames.qsize() < _FEW_FRAMES:
            submission.resume()
            paused = False


def _result_of(frame: Reply | Failure) -> Result:
    if isinstance(frame, Failure):
        raise error_of(frame)
    return frame.result
