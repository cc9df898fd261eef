"""Steps are done here and now as the service does them: answers and errors come where the steps wait for them."""

import pytest

from napari_cellsam.models.steps import Advance, Aside, run_steps


def test_work_aside_is_answered_where_it_was_asked_for():
    def steps():
        return (yield Aside(lambda: 3)) + 1

    assert run_steps(steps()) == 4


def test_work_aside_that_fails_fails_where_it_was_asked_for():
    def fail():
        raise OSError("full")

    def steps():
        with pytest.raises(OSError, match="full"):
            yield Aside(fail)
        yield Advance("on", 1, 1)
        return "went on"

    seen = []
    assert run_steps(steps(), seen.append) == "went on" and seen == [Advance("on", 1, 1)]


def test_steps_are_closed_before_the_error_of_whom_they_are_told_to_goes_on():
    told = []

    def steps():
        try:
            yield None
        finally:
            told.append("closed")

    def on_step(step):
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        run_steps(steps(), on_step)
    assert told == ["closed"]
