"""The body of a request, read part by part and no further than is allowed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from napari_cellsam.errors import LimitExceededError, ServiceTimeoutError

if TYPE_CHECKING:
    from starlette.requests import Request

    from napari_cellsam.service.limits import Limits

__all__ = ["Body", "ClientGoneError"]

_DISCARD_S = 5.0


class ClientGoneError(Exception):
    """The client has closed the connection."""


class Body:
    """What is still to come of a request.

    Parameters
    ----------
    request
        Of which only the head is in.
    limits
        Of its size, and of pauses between its parts.
    """

    def __init__(self, request: Request, limits: Limits) -> None:
        self._request, self._limits = request, limits
        self._is_whole = False
        self._is_stuck = False

    def announced_bytes(self) -> int:
        """Return how large it is at most.

        Raises
        ------
        LimitExceededError
            If that is too large.
        """
        if "transfer-encoding" in self._request.headers:  # in parts, of which nobody says how many come
            return self._limits.max_body_bytes
        length = self._request.headers.get("content-length", "0")
        if int(length) > self._limits.max_body_bytes:
            raise self._too_large(int(length))
        return int(length)

    async def read(self) -> bytes:
        """Return all of it.

        Raises
        ------
        LimitExceededError
            If it is too large; no more of it is kept in memory than is allowed.
        ServiceTimeoutError
            If it stops in the middle.
        ClientGoneError
            If it is cut off.
        """
        parts: list[bytes] = []
        n_bytes = 0
        while not self._is_whole:
            try:
                part = await asyncio.wait_for(self._part(), self._limits.body_timeout_s)
            except TimeoutError as error:
                self._is_stuck = True
                raise ServiceTimeoutError(
                    f"the request stopped after {n_bytes} bytes for {self._limits.body_timeout_s:g} s; send it again"
                ) from error
            n_bytes += len(part)
            if n_bytes > self._limits.max_body_bytes:
                raise self._too_large(n_bytes)
            parts.append(part)
        return b"".join(parts)

    async def discard(self) -> bool:
        """Read the rest away, so that its sender gets to read why it is refused; return whether all of it came."""
        try:
            async with asyncio.timeout(_DISCARD_S):
                while not (self._is_whole or self._is_stuck):
                    await self._part()
        except TimeoutError:
            self._is_stuck = True
        return self._is_whole

    async def _part(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self._is_whole = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part

    def _too_large(self, n_bytes: int) -> LimitExceededError:
        limit = self._limits.max_body_bytes
        return LimitExceededError(
            f"got a request of {n_bytes} bytes or more; this service takes {limit}. Crop the image; who runs a "
            "server can raise --max-body-mib"
        )
