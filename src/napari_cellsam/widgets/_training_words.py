"""What a training does, in words for the user."""

from __future__ import annotations

from napari_cellsam.types.finetuning import TrainingProgress
from napari_cellsam.widgets._run_progress import spoken

__all__ = ["is_judging", "training_words"]

_JUDGING = {"before": "judging the present model", "after": "judging the new model"}
_LEARNING = {
    "joint": "learning",
    "detector": "learning to find cells",
    "masks": "learning outlines",
    "checking": "testing what was learned",
}


def is_judging(progress: TrainingProgress) -> bool:
    """Whether a model is judged on the held-out cells, before or after it learns."""
    return progress.stage in _JUDGING


def training_words(progress: TrainingProgress | None, *, stopping: bool) -> str:
    """Return what a training does, and how long it will take.

    Parameters
    ----------
    progress
        The newest report; None before the first one.
    stopping
        Whether it was told to come to its end.
    """
    if progress is None:
        return "reading the training set"
    if is_judging(progress):
        return _JUDGING[progress.stage]
    if stopping:
        return "keeping the best"
    what = _LEARNING.get(progress.stage, progress.stage)
    return f"{what}, {spoken(progress.seconds_left)} left" if progress.seconds_left else what
