"""The transport: how a request reaches a service, and its answer comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from napari_cellsam.errors import ImageNotCachedError

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Frame, Request, Result

__all__ = ["Call", "ImageNotSentError", "Transport"]


class ImageNotSentError(ImageNotCachedError):
    """The service is a new one, in the place of one that died, and was never sent the image; so sending it helps."""


class Call:
    """A request under way, by which another thread can cancel it.

    A call is made before the request that it is handed to, and serves for one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._stop: Callable[[], None] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the request: its sender gets `RequestCancelledError`. Never waits for the service."""
        with self._lock:
            self._cancelled = True
            stop = self._stop
        if stop is not None:
            stop()

    def on_cancel(self, stop: Callable[[], None] | None) -> None:
        """Set what cancelling does, called at once if the call is cancelled already; for transports."""
        with self._lock:
            self._stop = stop
            cancelled = self._cancelled
        if cancelled and stop is not None:
            stop()


class Transport(Protocol):
    """A way to a service. Any number of threads may send at once."""

    def send(
        self,
        request: Request,
        *,
        slot: str | None = None,
        call: Call | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Result:
        """Send a request and wait for its result.

        Parameters
        ----------
        request
            What is asked.
        slot
            As in `Envelope`.
        call
            By which the request can be cancelled.
        on_frame
            Called in this thread with each frame before the last. A transport that sends a request again, because the
            service died under it, calls `on_frame` for the frames of the second answer too.

        Raises
        ------
        CellsamError
            As the service failed, or a `ServiceError` of the transport's own.
        """
        ...

    def close(self) -> None:
        """Cancel all requests under way and let go of the connection; further ones raise `ServiceUnavailableError`."""
        ...
