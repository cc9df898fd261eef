"""The pulse of a service: a sign of life for each request that has heard nothing for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from napari_cellsam.errors import ServiceTimeoutError
from napari_cellsam.service.messages import Waiting

if TYPE_CHECKING:
    from napari_cellsam.service.ticket import Ticket

__all__ = ["Pulse"]

_logger = logging.getLogger(__name__)


class Pulse:
    """Sends `Waiting` frames, and ends requests whose receiver takes nothing.

    Parameters
    ----------
    tickets
        Returns the requests under way.
    n_ahead
        Returns how many go before one.
    every_s
        Longest silence.
    patience_s
        How long a receiver may stay paused.
    clock
        As for `Ticket`.
    """

    def __init__(
        self,
        tickets: Callable[[], Iterable[Ticket]],
        n_ahead: Callable[[Ticket], int],
        *,
        every_s: float = 2.0,
        patience_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tickets, self._n_ahead = tickets, n_ahead
        self._every_s, self._patience_s = every_s, patience_s
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse of the service", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def beat(self) -> None:
        """Look once at all requests under way."""
        now = self._clock()
        for ticket in self._tickets():
            try:
                self._look_at(ticket, now)
            except Exception:  # one request's failure must not silence the others
                _logger.exception("request %s gets no sign of life", ticket.request_id)

    def _look_at(self, ticket: Ticket, now: float) -> None:
        paused_at = ticket.paused_at  # read once: another thread may let it go on meanwhile
        if paused_at is not None:
            self._look_at_paused(ticket, now - paused_at)
        elif now - ticket.framed_at >= self._every_s:
            ticket.tell(Waiting(n_ahead=self._n_ahead(ticket)))

    def _look_at_paused(self, ticket: Ticket, seconds: float) -> None:
        if seconds >= self._patience_s:
            ticket.fail(ServiceTimeoutError(f"the client took nothing of the answer for {self._patience_s:g} s"))

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s / 4):
            self.beat()
