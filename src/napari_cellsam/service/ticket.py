"""The ticket of a request: who asked, and the frames that go back, of which exactly one is the last."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_cellsam.service.failures import failure_of
from napari_cellsam.service.messages import Failure, Reply

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Frame

__all__ = ["Ticket"]

_logger = logging.getLogger(__name__)


class Ticket:
    """What a service holds of a request until its last frame.

    Frames come from several threads, one at a time; after the last one nothing follows, whoever is late.

    Parameters
    ----------
    client_id, request_id, slot
        As in `Envelope`.
    emit
        Takes the frames. It must be quick; if it raises, the request is over.
    clock
        Seconds from some moment on.

    Attributes
    ----------
    kind
        Tag of the request.
    begun_at, framed_at
        When the request came, and when the newest frame went.
    """

    def __init__(
        self,
        client_id: str,
        request_id: str,
        emit: Callable[[Frame], None],
        *,
        slot: str | None = None,
        kind: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client_id, self.request_id, self.slot, self.kind = client_id, request_id, slot, kind
        self._emit = emit
        self._clock = clock
        self._lock = threading.RLock()  # a receiver may cancel from within the frame that it is handed
        self._last: Reply | Failure | None = None
        self._on_end: list[Callable[[Ticket], None]] = []
        self._paused_at: float | None = None
        self.begun_at = self.framed_at = clock()

    @property
    def is_over(self) -> bool:
        """Whether the last frame went, or is about to go."""
        return self._last is not None

    @property
    def last(self) -> Reply | Failure | None:
        """The last frame."""
        return self._last

    @property
    def is_paused(self) -> bool:
        """Whether the receiver wants no frames for now."""
        return self._paused_at is not None

    @property
    def paused_at(self) -> float | None:
        """When the receiver began to want no frames; None while it takes them."""
        return self._paused_at

    def pause(self, paused: bool) -> None:
        """Note whether the receiver wants no frames for now; the last one goes all the same."""
        if paused != self.is_paused:
            self._paused_at = self._clock() if paused else None

    def on_end(self, tell: Callable[[Ticket], None]) -> None:
        """Add who is told of the end, once, after the last frame; at once if that went already."""
        with self._lock:
            self._on_end.append(tell)
            is_over = self.is_over
        if is_over:
            self._tell_end()

    def tell(self, frame: Frame) -> None:
        """Send a frame before the last; one that comes too late is dropped."""
        with self._lock:
            if self.is_over:
                return
            self.framed_at = self._clock()
            error = self._send(frame)
            if error is not None:
                self._last = failure_of(error)  # nobody is there to hear it
        if error is not None:
            self._tell_end()

    def reply(self, frame: Reply) -> bool:
        """Send the answer; return whether it was the last frame, not another one before."""
        return self._end(frame)

    def fail(self, error: BaseException) -> bool:
        """Send why there is no answer; return as for `reply`."""
        return self._end(failure_of(error))

    def _end(self, frame: Reply | Failure) -> bool:
        with self._lock:
            if self.is_over:
                return False
            self._last = frame
            self._send(frame)
        self._tell_end()
        return True

    def _send(self, frame: Frame) -> Exception | None:
        """Hand a frame over; a receiver's bug must not end the thread that works for all."""
        try:
            self._emit(frame)
        except Exception as error:
            _logger.exception("the receiver of request %s failed", self.request_id)
            return error
        return None

    def _tell_end(self) -> None:
        with self._lock:
            listeners, self._on_end = self._on_end, []
        for tell in listeners:
            tell(self)
