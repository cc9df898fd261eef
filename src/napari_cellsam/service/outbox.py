"""The outbox of an answer: frames that a service hands over, on their way to a client that may be slow."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING

from napari_cellsam.service.codec import encode_frame
from napari_cellsam.service.messages import Failure, Reply

if TYPE_CHECKING:
    from napari_cellsam.service.core import Submission
    from napari_cellsam.service.messages import Frame

__all__ = ["Outbox"]

_FULL_BYTES = 8 * 2**20
_DRAINED_BYTES = 1 * 2**20


class Outbox:
    """Takes frames from any thread, and gives their bytes to the event loop.

    While it holds too much, the work on the request is held up.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._there = asyncio.Event()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._n_bytes = 0
        self._paused = False
        self._submission: Submission | None = None

    def put(self, frame: Frame) -> None:
        """Take a frame; called by the service's threads."""
        content = encode_frame(frame), isinstance(frame, Reply | Failure)
        with self._lock:
            self._waiting.append(content)
            self._n_bytes += len(content[0])
        self._balance()
        self._loop.call_soon_threadsafe(self._there.set)

    def belong_to(self, submission: Submission) -> None:
        """Say whose work is held up."""
        self._submission = submission
        self._balance()

    async def get(self) -> tuple[bytes, bool]:
        """Wait for a frame; return its bytes, and whether it is the last."""
        while True:
            with self._lock:
                if self._waiting:
                    content = self._waiting.popleft()
                    self._n_bytes -= len(content[0])
                    break
                self._there.clear()
            await self._there.wait()
        self._balance()
        return content

    def _balance(self) -> None:
        """Hold the work up, or let it go on."""
        if self._submission is None:
            return
        with self._lock:
            if not self._paused and self._n_bytes > _FULL_BYTES:
                self._paused, act = True, self._submission.pause
            elif self._paused and self._n_bytes < _DRAINED_BYTES:
                self._paused, act = False, self._submission.resume
            else:
                return
        act()
