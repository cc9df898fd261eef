"""Corrected pictures of discs, and a tiny model's weights, for tests of retraining."""

from __future__ import annotations

import numpy as np

from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.types import Image


def disc_picture(seed: int, *, side: int = 128, n_cells: int = 9, name: str | None = None) -> RetrainingPicture:
    """Return a picture of bright discs on a grid, all of it verified."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint32)
    n_across = int(np.ceil(np.sqrt(n_cells)))
    step = side / n_across
    for number in range(n_cells):
        row, column = divmod(number, n_across)
        y, x = (row + 0.5) * step + rng.uniform(-3, 3), (column + 0.5) * step + rng.uniform(-3, 3)
        radius = rng.uniform(0.25, 0.33) * step
        labels[(yy - y) ** 2 + (xx - x) ** 2 < radius**2] = number + 1
    pixels = np.where(labels > 0, 160, 40) + rng.normal(0, 8, labels.shape)
    image = Image.from_array(pixels.clip(0, 255).astype(np.uint8))
    name = name or f"discs {seed}"
    return RetrainingPicture(image, labels, np.ones(labels.shape, bool), name, name)
