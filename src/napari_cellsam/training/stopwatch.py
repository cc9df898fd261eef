"""The time in which steps are worked on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from napari_cellsam.models.steps import Aside, Steps

__all__ = ["Stopwatch"]

Result = TypeVar("Result")


class Stopwatch:
    """Counts the seconds in which steps are worked on, not those in which others go first.

    Parameters
    ----------
    clock
        Seconds from some moment on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent_s = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        """Return the seconds so far."""
        running = 0.0 if self._since is None else self._clock() - self._since
        return self._spent_s + running

    def time(self, steps: Steps[Result]) -> Steps[Result]:
        """Yield steps as they come, and return what they return; their work aside counts, too."""
        go_on: Callable[[], Any] = partial(next, steps)
        while True:
            try:
                step = self._timed(go_on)
            except StopIteration as end:
                result: Result = end.value
                return result
            if isinstance(step, Aside):
                step = Aside(partial(self._timed, step.work))
            try:
                go_on = partial(steps.send, (yield step))
            except GeneratorExit:
                self._timed(steps.close)
                raise
            except BaseException as error:  # noqa: BLE001 - it is theirs to handle
                go_on = partial(steps.throw, error)

    def _timed(self, work: Callable[[], Any]) -> Any:
        self._since = self._clock()
        try:
            return work()
        finally:
            self._spent_s, self._since = self(), None
