"""HTTP connections that are closed when they send nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["quiet_closing"]


def quiet_closing(idle_timeout_s: float) -> type[H11Protocol]:
    """Return a protocol for uvicorn that closes connections on which no whole request begins in time.

    uvicorn does so between requests only; a connection that says nothing, or half a head, would stay for ever.

    Parameters
    ----------
    idle_timeout_s
        From the connection, or the end of the last answer, to the next request.
    """
    return type("QuietClosing", (_QuietClosing,), {"idle_timeout_s": idle_timeout_s})


class _QuietClosing(H11Protocol):
    idle_timeout_s: float
    _quiet: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = self.loop.call_later(self.idle_timeout_s, self._close_if_quiet)

    def _close_if_quiet(self) -> None:
        cycle: Any = self.cycle  # None before the first request
        if (cycle is None or cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()
