"""The losses of crops, computed few at a time so that other work can go between."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_cellsam.models.memory_limits import one_step

if TYPE_CHECKING:
    from napari_cellsam.training.learner import Learner, Stage

__all__ = ["CropBatch", "LossSteps", "gradient_steps", "loss_steps"]

LossSteps = Generator[None, None, dict[str, float]]
"""Losses by name at the end; it lets others go first in between."""


class CropBatch(NamedTuple):
    """Crops of a batch.

    Attributes
    ----------
    pictures
        ``(B, 3, side, side)`` uint8.
    labels
        ``(B, side, side)`` int32, -1 unknown.
    """

    pictures: Tensor
    labels: Tensor


def gradient_steps(
    learner: Learner, batch: CropBatch, stage: Stage, n_at_once: int, seed: tuple[int, int]
) -> LossSteps:
    """Add up the gradients of a batch, some crops at a time, and return the mean losses.

    Parameters
    ----------
    learner
        Whose parameters get the gradients.
    batch
        What is learned from.
    stage
        What learns.
    n_at_once
        Crops that are computed together.
    seed
        Source of chance. What follows from it is the same on every machine.
    """
    n = len(batch.labels)
    means: dict[str, float] = {}
    for first in range(0, n, n_at_once):
        yield None
        part = CropBatch(*(tensor[first : first + n_at_once] for tensor in batch))
        weight = len(part.labels) / n
        for name, value in _losses(learner, part, stage, (*seed, first), weight).items():
            means[name] = means.get(name, 0.0) + weight * value
    return means


def loss_steps(learner: Learner, batch: CropBatch) -> LossSteps:
    """Return the mean losses of a batch, crop by crop and without gradients; the same chance every time.

    Raises
    ------
    DeviceMemoryError
        If not even a single crop fits into memory.
    """
    stage: Stage = "joint" if learner.can_detect else "masks"
    n = len(batch.labels)
    means: dict[str, float] = {}
    for i in range(n):
        yield None
        part = CropBatch(*(tensor[i : i + 1] for tensor in batch))
        with one_step("validate on a single crop; a smaller side helps, too"):
            values = _losses(learner, part, stage, (0, 0, i))
        for name, value in values.items():
            means[name] = means.get(name, 0.0) + value / n
    return means


def _losses(
    learner: Learner, part: CropBatch, stage: Stage, seed: tuple[int, ...], weight: float | None = None
) -> dict[str, float]:
    """Compute losses, and gradients where they have a weight. Nothing of torch's state is left changed."""
    device = next(learner.network.parameters()).device
    gpus = [device] if device.type == "cuda" else []
    with torch.set_grad_enabled(weight is not None), torch.random.fork_rng(gpus):
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**63)))
        parts = learner.losses(*part, stage)
        if weight is not None and parts:
            total = torch.stack(list(parts.values())).sum()
            if total.requires_grad and bool(total.isfinite()):
                (total * weight).backward()
        return {name: value.item() for name, value in parts.items()}
