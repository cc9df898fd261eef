"""The uploads of images: one at a time, and none of an image that another thread has just sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_cellsam.errors import RequestCancelledError

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call

__all__ = ["Uploads"]

_MAX_KNOWN = 64
_LOOK_S = 0.1  # how soon it is seen that a request was cancelled that waits for another one's upload


class Uploads:
    """How often each of the newest images was sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def count(self, image_id: str) -> int:
        """Return how often an image was sent."""
        return self._counts.get(image_id, 0)

    def send(self, image_id: str, before: int, send: Callable[[], None], call: Call | None) -> bool:
        """Send an image, unless another thread has sent it meanwhile.

        Parameters
        ----------
        image_id
            Its name.
        before
            `count` of it when the service did not have it.
        send
            Sends it.
        call
            By which the wait for other uploads can be cancelled.

        Returns
        -------
        bool
            Whether it was sent here.
        """
        while not self._lock.acquire(timeout=_LOOK_S):
            if call is not None and call.cancelled:
                raise RequestCancelledError("the request was cancelled while it waited to send its image")
        try:
            if self.count(image_id) > before:
                return False
            send()
            self._counts[image_id] = self._counts.pop(image_id, 0) + 1  # at the end, as the newest
            if len(self._counts) > _MAX_KNOWN:
                self._counts.pop(next(iter(self._counts)))
            return True
        finally:
            self._lock.release()
