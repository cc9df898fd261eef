"""The observer: who is told what a service does, to count and to measure it."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["Outcome", "ServiceObserver", "Silent"]

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
