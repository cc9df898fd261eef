"""The turn: how much of a long piece of work is done before the window goes on."""

from __future__ import annotations

import time

__all__ = ["Turn"]

_TURN_S = 0.012  # of the GUI thread


class Turn:
    """Tells when to give the event loop its turn; work is done in steps, and the first one is always done.

    Parameters
    ----------
    budget_s
        Seconds that the turn may take; a step is not begun if one as long as the longest so far would go beyond.
    """

    def __init__(self, budget_s: float = _TURN_S) -> None:
        self._budget_s, self._longest_s = budget_s, 0.0
        self._begun_s: float | None = None
        self._step_s = 0.0

    def goes_on(self) -> bool:
        """Return whether there is time for a step; to be asked before each."""
        now = time.perf_counter()
        if self._begun_s is None:
            self._begun_s = self._step_s = now
            return True
        self._longest_s, self._step_s = max(self._longest_s, now - self._step_s), now
        return now - self._begun_s + self._longest_s <= self._budget_s
