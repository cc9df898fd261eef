"""The lanes to one service: as many as there are requests at once, kept for the next ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cellsam.service.lane import Lane

__all__ = ["Lanes"]

_MAX_IDLE = 8


class Lanes:
    """Connections to one service.

    Parameters
    ----------
    make
        Makes a new one.
    """

    def __init__(self, make: Callable[[], Lane]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._closed = False
        self._idle: list[Lane] = []

    @contextmanager
    def lend(self) -> Iterator[Lane]:
        """Lend a connection that nobody else uses; it is kept afterwards if it is any good."""
        lane = self._take() or self._make()
        try:
            yield lane
        finally:
            with self._lock:
                keep = not (self._closed or lane.broken) and len(self._idle) < _MAX_IDLE
                if keep:
                    lane.rest()
                    self._idle.append(lane)
            if not keep:
                lane.close()

    def _take(self) -> Lane | None:
        """Return an idle connection, and close those that are stale."""
        with self._lock:
            stale = [lane for lane in self._idle if lane.is_stale]
            self._idle = [lane for lane in self._idle if lane not in stale]
            lane = self._idle.pop() if self._idle else None
        for one in stale:
            one.close()
        return lane

    def close(self) -> None:
        """Close the connections that are not lent now, and each lent one when it comes back."""
        with self._lock:
            self._closed = True
            idle = tuple(self._idle)
            self._idle.clear()
        for lane in idle:
            lane.close()
