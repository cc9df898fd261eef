"""The learning curve, which stays small however long a training takes."""

from __future__ import annotations

import math
from itertools import pairwise

from napari_cellsam.types.finetuning import TrainingProgress
from napari_cellsam.widgets._learning_curve import LearningCurve


def curve_of(n_steps, n_checks=10):
    curve = LearningCurve()
    for step in range(1, n_steps + 1):
        checked = {"val_losses": {"dice": 1.0}, "f1": 0.5} if step % (n_steps // n_checks) == 0 else {}
        curve.add(TrainingProgress("joint", step, losses={"dice": 1.0, "boxes": 2.0 / step}, **checked))
    return curve


def test_the_losses_of_the_parts_are_added_up():
    curve = curve_of(10)
    assert curve.loss == [(step, 1.0 + 2.0 / step) for step in range(1, 11)]
    assert curve.f1 == [(step, 0.5) for step in range(1, 11)]


def test_of_a_long_training_only_every_so_many_steps_are_kept_but_all_checks():
    curve = curve_of(20_000)
    assert 300 <= len(curve.loss) <= 600
    steps = [step for step, _ in curve.loss]
    assert len({after - before for before, after in pairwise(steps)}) == 1, "evenly spaced"
    assert steps[0] == 1 and steps[-1] > 19_900
    assert len(curve.val_loss) == len(curve.f1) == 10


def test_stages_without_losses_and_losses_that_are_no_numbers_leave_no_point():
    curve = LearningCurve()
    curve.add(TrainingProgress("before"))
    curve.add(TrainingProgress("joint", 1, losses={"dice": math.inf}, val_losses={"dice": math.nan}, f1=math.nan))
    assert len(curve) == 0
