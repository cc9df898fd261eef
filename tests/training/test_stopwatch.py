from __future__ import annotations

import pytest

from napari_cellsam.models.steps import Aside, run_steps
from napari_cellsam.training.stopwatch import Stopwatch


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_work_and_work_aside_count_and_what_lies_between_does_not():
    clock = Clock()
    watch = Stopwatch(clock)

    def spend(seconds):
        clock.now += seconds
        return seconds

    def steps():
        spend(1)
        assert watch() == 1
        yield None
        spend(2)
        aside = yield Aside(lambda: spend(4))
        assert watch() == 7
        return aside

    assert run_steps(watch.time(steps()), lambda step: spend(1000)) == 4
    assert watch() == 7


def test_what_goes_wrong_aside_is_for_the_steps_to_handle():
    def steps():
        try:
            yield Aside(lambda: 1 / 0)
        except ZeroDivisionError:
            return "handled"

    assert run_steps(Stopwatch().time(steps())) == "handled"


def test_closing_closes_the_steps():
    closed = []

    def steps():
        try:
            yield None
        finally:
            closed.append(True)

    timed = Stopwatch().time(steps())
    next(timed)
    timed.close()
    assert closed == [True]


def test_an_error_of_the_steps_is_passed_on():
    def steps():
        yield None
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        run_steps(Stopwatch().time(steps()))
