"""The observer: who is told what a service does, to count and to measure it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, Protocol

__all__ = ["Guarded", "Outcome", "ServiceObserver", "Silent"]

_logger = logging.getLogger(__name__)

Outcome = Literal["answered", "cancelled", "refused", "failed"]
"""How a request ended: ``"refused"`` by an error of the client's, ``"failed"`` by one of the service's."""


class ServiceObserver(Protocol):
    """Told what a service does, by any of its threads: it must be quick, and ask the service nothing."""

    def request_done(self, kind: str, outcome: str, seconds: float) -> None:
        """Hear of the end of a request: its tag in the messages, its `Outcome`, and how long it took."""

    def stage_done(self, stage: str, seconds: float) -> None:
        """Hear of a part of a request's time: ``"wait"``, ``"device"`` or ``"aside"``."""

    def queue_length(self, n: int) -> None:
        """Hear how many requests wait for the device now."""

    def cache(self, kind: str, hit: bool) -> None:
        """Hear whether something was in a cache: ``"image"``, ``"features"`` or ``"model"``."""


class Silent:
    """An observer that takes note of nothing."""

    def request_done(self, kind: str, outcome: str, seconds: float) -> None:
        """Take no note."""

    def stage_done(self, stage: str, seconds: float) -> None:
        """Take no note."""

    def queue_length(self, n: int) -> None:
        """Take no note."""

    def cache(self, kind: str, hit: bool) -> None:
        """Take no note."""


class Guarded:
    """Lets an observer hear of everything, without harm to the service when it fails.

    Parameters
    ----------
    observer
        Who hears.
    """

    def __init__(self, observer: ServiceObserver) -> None:
        self._observer = observer

    def request_done(self, kind: str, outcome: str, seconds: float) -> None:
        """Tell of the end of a request."""
        self._tell(lambda: self._observer.request_done(kind, outcome, seconds))

    def stage_done(self, stage: str, seconds: float) -> None:
        """Tell of a part of a request's time."""
        self._tell(lambda: self._observer.stage_done(stage, seconds))

    def queue_length(self, n: int) -> None:
        """Tell how many requests wait."""
        self._tell(lambda: self._observer.queue_length(n))

    def cache(self, kind: str, hit: bool) -> None:
        """Tell whether something was in a cache."""
        self._tell(lambda: self._observer.cache(kind, hit))

    @staticmethod
    def _tell(tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception:
            _logger.exception("the observer of the service failed")
