"""The submission: a request that a service has taken on, as whoever submitted it sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_cellsam.errors import RequestCancelledError
from napari_cellsam.service.messages import TrainModel

if TYPE_CHECKING:
    from napari_cellsam.service.ticket import Ticket

__all__ = ["Submission"]


class Submission:
    """A request that a service has taken on, by which it can be held up or cancelled. Any thread may do that.

    Parameters
    ----------
    ticket
        Of the request.
    wake
        Lets the service look again who can go on.
    """

    def __init__(self, ticket: Ticket, wake: Callable[[], None]) -> None:
        self._ticket, self._wake = ticket, wake

    @property
    def is_over(self) -> bool:
        """Whether the last frame went."""
        return self._ticket.is_over

    @property
    def is_training(self) -> bool:
        """Whether it is a training, which may wait and run for hours."""
        return self._ticket.kind == TrainModel.__struct_config__.tag

    def cancel(self) -> None:
        """End the request with `RequestCancelledError` unless it is over: at once; the device is free a step later."""
        self._ticket.fail(RequestCancelledError("the request was cancelled"))

    def pause(self) -> None:
        """Hold the work up while the receiver cannot keep up; too long a pause ends it with `ServiceTimeoutError`."""
        self._ticket.pause(True)

    def resume(self) -> None:
        """Let the work go on."""
        self._ticket.pause(False)
        self._wake()
