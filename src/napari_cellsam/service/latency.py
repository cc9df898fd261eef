"""The latency of answers, measured on two ways."""

from __future__ import annotations

import threading
from typing import Literal

__all__ = ["Latency"]

_WEIGHT = 0.3  # of the newest answer
_FORGETTING = 0.98  # of the estimate of the way not taken, so that it is tried again some day


class Latency:
    """What answers have cost lately: moving averages, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    @property
    def home(self) -> float | None:
        """Seconds of an answer from this machine; None before the first."""
        return self._seconds.get("home")

    @property
    def server(self) -> float | None:
        """Seconds of an answer from the server; None before the first."""
        return self._seconds.get("server")

    def add(self, way: Literal["home", "server"], seconds: float) -> None:
        """Take in the latency of an answer."""
        other = "server" if way == "home" else "home"
        with self._lock:
            before = self._seconds.get(way, seconds)
            self._seconds[way] = before + _WEIGHT * (seconds - before)
            if other in self._seconds:
                self._seconds[other] *= _FORGETTING

    def home_is_sooner(self) -> bool:
        """Whether this machine is expected to answer first; it is given a try once the server was measured."""
        with self._lock:
            server, home = self._seconds.get("server"), self._seconds.get("home")
        return server is not None and (home is None or home <= server)
