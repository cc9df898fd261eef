"""The pace of answers: whether the model is quick enough for previews."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median

__all__ = ["Pace"]

_MOST_S = 0.040  # from asking to drawing
_N_ANSWERS = 7
_FEWEST = 5
_AGAIN_S = 20.0


class Pace:
    """Judges answers by the median of the last ones; the first on a picture does not count, the model looks then.

    Parameters
    ----------
    clock
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._took: deque[float] = deque(maxlen=_N_ANSWERS)
        self._warm = False
        self._until: float | None = None

    @property
    def latency_s(self) -> float | None:
        """Median of the last answers; None before there are enough."""
        return median(self._took) if len(self._took) >= _FEWEST else None

    @property
    def paused(self) -> bool:
        """Whether nothing is to be asked; after a while it is tried again."""
        if self._until is not None and self._clock() >= self._until:
            self._until = None
            self._took.clear()
        return self._until is not None

    def note(self, seconds: float) -> bool:
        """Take note of how long an answer took; return whether that makes a pause begin."""
        if not self._warm:
            self._warm = True
            return False
        self._took.append(seconds)
        latency_s = self.latency_s
        if latency_s is None or latency_s <= _MOST_S:
            return False
        self.pause()
        return True

    def pause(self) -> None:
        """Ask nothing for a while."""
        self._until = self._clock() + _AGAIN_S

    def reset(self) -> None:
        """Begin anew, on another picture."""
        self._took.clear()
        self._warm, self._until = False, None
