"""The outbox of an answer: frames that a service hands over, on their way to a client that may be slow."""

from __future__ import annotations

import asyncio
from contextlib import suppress
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

    While it holds too much, the work on the request is held up. All but `put` is for the thread of the event loop, so
    that holding up and letting go on cannot overtake each other.

    Parameters
    ----------
    loop
        The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self._n_bytes = 0
        self._paused = False
        self._submission: Submission | None = None

    def put(self, frame: Frame) -> None:
        """Take a frame; called by the service's threads."""
        content, is_last = encode_frame(frame), isinstance(frame, Reply | Failure)
        with suppress(RuntimeError):  # the server has ended, so nobody reads the answer
            self._loop.call_soon_threadsafe(self._take, content, is_last)

    def belong_to(self, submission: Submission) -> None:
        """Say whose work is held up."""
        self._submission = submission
        self._balance()

    async def get(self) -> tuple[bytes, bool]:
        """Wait for a frame; return its bytes, and whether it is the last."""
        content, is_last = await self._waiting.get()
        self._n_bytes -= len(content)
        self._balance()
        return content, is_last

    def _take(self, content: bytes, is_last: bool) -> None:
        self._waiting.put_nowait((content, is_last))
        self._n_bytes += len(content)
        self._balance()

    def _balance(self) -> None:
        """Hold the work up, or let it go on."""
        if self._submission is None:
            return
        if not self._paused and self._n_bytes > _FULL_BYTES:
            self._paused = True
            self._submission.pause()
        elif self._paused and self._n_bytes < _DRAINED_BYTES:
            self._paused = False
            self._submission.resume()
