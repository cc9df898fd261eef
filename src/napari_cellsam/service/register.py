"""The register of a service: all requests under way, by the names that their clients gave them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from napari_cellsam.errors import RequestCancelledError, ServiceBusyError, ServiceUnavailableError
from napari_cellsam.service.messages import Failure
from napari_cellsam.service.scheduler import CLOSING

if TYPE_CHECKING:
    from napari_cellsam.service.limits import Limits
    from napari_cellsam.service.observer import Outcome, ServiceObserver
    from napari_cellsam.service.ticket import Ticket

__all__ = ["Register"]

_CANCELLED = frozenset({"RequestCancelledError", "RequestReplacedError"})
_SERVICE_FAILED = frozenset(
    {"ServiceInternalError", "ServiceTimeoutError", "ServiceUnavailableError", "DeviceError", "DeviceMemoryError"}
)


class Register:
    """Knows the requests under way, until they end.

    Parameters
    ----------
    limits
        How many may be done without the device at once.
    observer
        Is told of their ends.
    """

    def __init__(self, limits: Limits, observer: ServiceObserver) -> None:
        self._limits, self._observer = limits, observer
        self._changed = threading.Condition()
        self._tickets: dict[Ticket, bool] = {}
        self._refusing = False

    def add(self, ticket: Ticket, *, errand: bool = False) -> None:
        """Take note of a request.

        Parameters
        ----------
        ticket
            Of the request.
        errand
            Whether it waits in no queue that has its own limit.

        Raises
        ------
        ServiceUnavailableError
            If the service is shutting down.
        ServiceBusyError
            If there are too many errands.
        """
        with self._changed:
            if self._refusing:
                raise ServiceUnavailableError(CLOSING)
            if errand:
                self._check_room(ticket)
            self._tickets[ticket] = errand
        ticket.on_end(self._ended)

    def drop(self, ticket: Ticket) -> None:
        """Forget a request that was refused, and so has no end."""
        with self._changed:
            self._tickets.pop(ticket, None)
            self._changed.notify_all()
        self._observer.request_done(ticket.kind, "refused", 0.0)

    def fail(self, ticket: Ticket, error: Exception) -> None:
        """End a request that could not be begun."""
        with self._changed:
            is_new = ticket not in self._tickets
            self._tickets.setdefault(ticket, False)
        if is_new:
            ticket.on_end(self._ended)
        ticket.fail(error)

    def cancel(self, client_id: str, request_id: str) -> bool:
        """End all requests of that name; return whether there were any."""
        named = [one for one in self.tickets() if (one.client_id, one.request_id) == (client_id, request_id)]
        ended = [one.fail(RequestCancelledError("the request was cancelled")) for one in named]
        return any(ended)

    def tickets(self) -> tuple[Ticket, ...]:
        """Return the requests under way."""
        with self._changed:
            return tuple(self._tickets)

    def refuse(self) -> None:
        """Take no more requests."""
        with self._changed:
            self._refusing = True

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until nothing is under way; return whether that came."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._tickets, timeout_s)

    def _check_room(self, ticket: Ticket) -> None:
        errands = [one for one, errand in self._tickets.items() if errand]
        of_client = sum(one.client_id == ticket.client_id for one in errands)
        if len(errands) >= self._limits.max_waiting or of_client >= self._limits.max_waiting_per_client:
            raise ServiceBusyError(f"{len(errands)} uploads are under way already; try again later")

    def _ended(self, ticket: Ticket) -> None:
        with self._changed:
            self._tickets.pop(ticket, None)
            self._changed.notify_all()
        self._observer.request_done(ticket.kind, _outcome(ticket), time.monotonic() - ticket.begun_at)


def _outcome(ticket: Ticket) -> Outcome:
    """Return how a request ended."""
    if not isinstance(ticket.last, Failure):
        return "answered"
    if ticket.last.error in _CANCELLED:
        return "cancelled"
    return "failed" if ticket.last.error in _SERVICE_FAILED else "refused"
