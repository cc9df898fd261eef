"""Glands of tissue sections: rows of upright nuclei around a gap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.canvas import Canvas
from napari_cellsam.data.synthetic.noise import smooth_noise
from napari_cellsam.data.synthetic.places import anywhere
from napari_cellsam.data.synthetic.shapes import random_blob

__all__ = ["Gland", "add_glands"]

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Gland:
    """A gland that was cut across.

    Attributes
    ----------
    epithelium
        ``(Y, X)`` in 0-1: the bodies of the cells around the gap.
    gap
        ``(Y, X)`` in 0-1: the lumen.
    """

    epithelium: Field
    gap: Field


def add_glands(canvas: Canvas, diameter: float, rng: np.random.Generator) -> Gland:
    """Draw the nuclei of one to five glands into a canvas, and return what lies around them, of all together.

    Parameters
    ----------
    canvas
        Where the nuclei go.
    diameter
        Typical diameter of a nucleus, in pixels.
    rng
        Source of chance.
    """
    shape = canvas.shape
    y, x = np.indices(shape, np.float32)
    bent = smooth_noise(shape, 3 * diameter, rng) * np.float32(0.4 * diameter)
    epithelium, gap = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    aspect, rows = float(rng.uniform(1.2, 2.4)), int(rng.integers(1, 4))
    for _ in range(int(rng.integers(1, 6))):
        cy, cx = anywhere(shape, rng)
        inner = diameter * float(rng.uniform(0.5, 4.0))
        outer = inner + diameter * (rows + float(rng.uniform(0.3, 1.6)))
        distance = np.hypot(y - np.float32(cy), x - np.float32(cx)) + bent
        band = np.clip(outer - distance, 0, 1) * np.clip(distance - inner + 0.5, 0, 1)
        hole = np.clip(inner - distance, 0, 1)
        epithelium, gap = np.maximum(epithelium * (1 - hole), band), np.maximum(gap * (1 - band), hole)
        for row in range(rows):
            radius = outer - diameter * (0.7 + row)  # nuclei stand at the outer end of their cells
            if radius < 0.6 * diameter:
                break
            spacing = float(rng.uniform(0.65, 1.3)) * diameter / math.sqrt(aspect)
            for k in range(int(2 * math.pi * radius / spacing)):
                angle = k * spacing / radius + float(rng.normal(0, 0.15 * diameter / radius))
                far = radius + float(rng.normal(0, 0.2 * diameter))
                centre = cy + far * math.sin(angle), cx + far * math.cos(angle)
                size = 0.5 * diameter * math.exp(rng.normal(0, 0.15))
                upright = angle + float(rng.normal(0, 0.15))
                canvas.add(random_blob(centre, size, aspect, float(rng.uniform(0, 0.1)), rng, upright), 0.2)
    return Gland(epithelium, gap)
