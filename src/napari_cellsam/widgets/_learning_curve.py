"""The learning curve: how losses and F1 have developed over the steps of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from napari_cellsam.types.finetuning import TrainingProgress

__all__ = ["LearningCurve"]

_MOST = 600
Points = Sequence[tuple[int, float]]


class LearningCurve:
    """Points of a training, few enough to be drawn at once however long it takes.

    Attributes
    ----------
    loss
        Step and loss on what is learned from.
    val_loss, f1
        Step and loss, and F1 at IoU 0.6, on the held-out cells.
    """

    def __init__(self) -> None:
        self.loss: list[tuple[int, float]] = []
        self.val_loss: list[tuple[int, float]] = []
        self.f1: list[tuple[int, float]] = []
        self._every = 1
        self._n_seen = 0

    def __len__(self) -> int:
        return len(self.loss) + len(self.val_loss) + len(self.f1)

    def add(self, progress: TrainingProgress) -> None:
        """Take a report into account; the losses of its parts are added up, as they are when the model learns."""
        if progress.losses and self._n_seen % self._every == 0:
            _append(self.loss, progress.step, sum(progress.losses.values()))
        self._n_seen += bool(progress.losses)
        if progress.val_losses:
            _append(self.val_loss, progress.step, sum(progress.val_losses.values()))
        if progress.f1 is not None:
            _append(self.f1, progress.step, progress.f1)
        if len(self.loss) > _MOST:
            self.loss, self._every = self.loss[::2], self._every * 2


def _append(points: list[tuple[int, float]], step: int, value: float) -> None:
    if math.isfinite(value):
        points.append((step, value))
