"""The intake of a server: how much of the requests of all clients together is in memory at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from napari_cellsam.errors import ServiceBusyError

__all__ = ["Intake"]

_SMALL_BYTES = 2**20


class Intake:
    """Lets large requests in while there is room, and small ones always: a click does not wait for images.

    For one event loop.

    Parameters
    ----------
    room_bytes
        For all large requests together.
    patience_s
        How long one waits for room.
    """

    def __init__(self, room_bytes: int, patience_s: float) -> None:
        self._room_bytes, self._patience_s = room_bytes, patience_s
        self._taken_bytes = 0
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def room_for(self, n_bytes: int) -> AsyncIterator[None]:
        """Hold room for a request.

        Parameters
        ----------
        n_bytes
            At most the whole room.

        Raises
        ------
        ServiceBusyError
            If there is no room in time.
        """
        if n_bytes <= _SMALL_BYTES:
            yield
            return
        await self._wait_for(n_bytes)
        try:
            yield
        finally:
            self._taken_bytes -= n_bytes
            async with self._freed:
                self._freed.notify_all()

    async def _wait_for(self, n_bytes: int) -> None:
        try:
            async with asyncio.timeout(self._patience_s), self._freed:
                await self._freed.wait_for(lambda: self._taken_bytes + n_bytes <= self._room_bytes)
                self._taken_bytes += n_bytes
        except TimeoutError as error:
            raise ServiceBusyError(
                f"other clients are sending images, and there was no room for {n_bytes} bytes within "
                f"{self._patience_s:g} s; try again later"
            ) from error
