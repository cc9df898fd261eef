"""The batches of a fine-tuning: each follows from its number, so that a run that goes on is the same run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from napari_cellsam.data.dataset import Picture
from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.data.retraining.training_picture import as_training_picture
from napari_cellsam.data.synthetic import ARCHETYPES
from napari_cellsam.training.crop_losses import CropBatch
from napari_cellsam.training.crops import CropOptions, draw_crop, draw_synthetic
from napari_cellsam.training.lessons import known_labels

__all__ = ["FinetuneBatches", "lesson", "synthetic_pictures"]


def lesson(picture: RetrainingPicture) -> Picture:
    """Prepare a corrected picture: its labels are -1 where nothing is known."""
    return replace(as_training_picture(picture), labels=known_labels(picture))


def synthetic_pictures(seed: int, n_each: int = 3) -> list[Picture]:
    """Draw some synthetic pictures of each archetype."""
    rng = np.random.default_rng([seed, 1])
    return [draw_synthetic(name, rng) for name in ARCHETYPES for _ in range(n_each)]


class FinetuneBatches:
    """Draws the crops of each step, where something is known.

    Parameters
    ----------
    pictures
        To learn from. One without a cell shows what none is, at the scale of the others.
    others
        To be seen now and then.
    options
        Which crops; ``synthetic_share`` is the share of the others.
    batch
        Crops per step.
    """

    def __init__(self, pictures: Sequence[Picture], others: Sequence[Picture], options: CropOptions, batch: int):
        self.pictures, self.others = _scaled(pictures), _scaled(others)
        self.options, self.batch = options, batch
        sizes = np.array([_n_known(picture) for picture in self.pictures], float) ** 0.5
        self._weights = sizes / sizes.sum()

    def draw(self, step: int) -> CropBatch:
        """Return the crops of a step."""
        rng = np.random.default_rng([self.options.seed, 2, step])
        crops, labels = zip(*(self._one(rng) for _ in range(self.batch)), strict=True)
        return CropBatch(torch.stack(crops), torch.stack(labels))

    def _one(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        if self.others and rng.random() < self.options.synthetic_share:
            return draw_crop(self.others[rng.integers(len(self.others))], self.options, rng)
        picture = self.pictures[rng.choice(len(self.pictures), p=self._weights)]
        return draw_crop(picture, self.options, rng)


def _scaled(pictures: Sequence[Picture]) -> list[Picture]:
    """Return pictures with a diameter: those without a cell get the others' median one. None where none has a cell."""
    diameters = [picture.diameter for picture in pictures if picture.diameter > 0]
    if not diameters:
        return []
    usual = float(np.median(diameters))
    return [picture if picture.diameter > 0 else replace(picture, diameter=usual) for picture in pictures]


def _n_known(picture: Picture) -> int:
    return int((picture.labels >= 0).sum())
