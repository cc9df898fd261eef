"""The turn: a step is always done, and none is begun that would go on for too long."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_cellsam.widgets import _turn
from napari_cellsam.widgets._turn import Turn


def n_steps(monkeypatch, steps_s, budget_s=10.0):
    """Return how many of some steps are done in a turn."""
    now_s = [100.0]
    monkeypatch.setattr(_turn, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    turn, n = Turn(budget_s), 0
    for step_s in steps_s:
        if not turn.goes_on():
            break
        now_s[0] += step_s
        n += 1
    return n


@pytest.mark.parametrize(
    ("steps_s", "expected"),
    [
        ([50.0, 1.0], 1),
        ([4.0, 4.0, 4.0], 2),
        ([1.0] * 20, 10),
        ([1.0, 5.0, 1.0, 1.0], 2),
        ([5.0, 1.0, 1.0], 2),
        ([6.0, 1.0], 1),
    ],
)
def test_no_step_is_begun_that_would_go_beyond_the_budget(monkeypatch, steps_s, expected):
    assert n_steps(monkeypatch, steps_s) == expected
