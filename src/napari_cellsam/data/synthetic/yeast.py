"""Yeast in phase contrast or brightfield, on agar or in a microfluidic chamber."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.camera import phase_contrast, record, specks
from napari_cellsam.data.synthetic.canvas import Canvas, populate
from napari_cellsam.data.synthetic.noise import blur, chance, log_uniform, smooth_noise
from napari_cellsam.data.synthetic.picture import SyntheticPicture
from napari_cellsam.data.synthetic.places import anywhere, beside, random_crowd
from napari_cellsam.data.synthetic.shapes import Shape, random_blob

__all__ = ["phase_yeast"]

Field = NDArray[np.float32]


def _yeast(canvas: Canvas, anchor: Shape | None, diameter: float, rng: np.random.Generator) -> Shape:
    """Return a mother or a bud."""
    radius = diameter / 2 * math.exp(rng.normal(0, 0.15))
    if anchor is not None and chance(rng, 0.25):
        radius *= rng.uniform(0.4, 0.75)
    centre = anywhere(canvas.shape, rng) if anchor is None else beside(anchor, radius, rng)
    return random_blob(centre, radius, math.exp(abs(rng.normal(0, 0.14))), 0.02, rng)


def _walls(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Return the straight walls of a microfluidic chamber, ``(Y, X)``, dark and bright lines around 0."""
    y, x = np.indices(shape, np.float32)
    angle = float(rng.choice((0, math.pi / 2))) + float(rng.normal(0, 0.05))
    walls = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        across = (x - rng.uniform(0, shape[1])) * math.cos(angle) + (y - rng.uniform(0, shape[0])) * math.sin(angle)
        width = float(rng.uniform(1, 5))
        walls += float(rng.normal(0, 0.8)) * np.exp(-((across / width) ** 2))
        walls += float(rng.normal(0, 0.8)) * np.exp(-(((across - 2 * width) / width) ** 2))
        if chance(rng, 0.5):  # the pillar behind the wall has its own grey
            walls += float(rng.normal(0, 0.25)) * (across > 0)
        if chance(rng, 0.3):
            angle += math.pi / 2
    return walls.astype(np.float32)


def phase_yeast(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw yeast: bright rim and dark inside, or the other way round, with vacuoles and buds."""
    diameter = log_uniform(rng, 11, 70) if diameter is None else diameter
    canvas = Canvas(shape, margin=max(6.0, 0.4 * diameter))
    crowd = random_crowd(shape, diameter, 0.8, rng)
    populate(canvas, lambda a: _yeast(canvas, a, diameter, rng), crowd, rng)
    edge = canvas.finish()
    ideal = _rims(canvas, edge, diameter, rng)
    if chance(rng, 0.3):
        ideal += _walls(shape, rng) * float(rng.uniform(0.2, 1.0))
    ideal += float(rng.normal(0, 0.4)) * specks(shape, int(rng.integers(0, 8)), max(0.8, 0.08 * diameter), rng)
    ideal = blur(ideal, float(rng.uniform(0.3, max(0.7, min(2.0, 0.05 * diameter)))))
    return SyntheticPicture(
        record(ideal, edge > -0.06 * diameter, rng)[..., None], canvas.labels, "phase_yeast", cell=0
    )


def _rims(canvas: Canvas, edge: Field, diameter: float, rng: np.random.Generator) -> Field:
    """Return the deviation from the background that yeast makes."""
    shape, n = canvas.shape, len(canvas.shapes)
    inside = np.clip(edge / max(1.0, diameter * float(rng.uniform(0.03, 0.15))) + 0.5, 0, 1)
    grain = smooth_noise(shape, max(1.5, diameter * float(rng.uniform(0.05, 0.15))), rng)
    texture = float(rng.uniform(0.05, 0.35)) * grain
    if chance(rng, 0.6):
        holes = smooth_noise(shape, max(2.0, diameter * float(rng.uniform(0.15, 0.35))), rng)
        texture += float(rng.normal(0, 0.5)) * np.clip((holes - float(rng.uniform(0.2, 1.0))) * 4, 0, 1)
    body = canvas.spread(rng.normal(1, rng.uniform(0.05, 0.35), n)) + texture
    width = max(0.8, diameter * float(rng.uniform(0.02, 0.09)))
    at = diameter * float(rng.uniform(-0.06, 0.06))
    rim = np.exp(-(((edge - at) / width) ** 2))
    second = np.exp(-(((edge - at + 1.8 * width) / width) ** 2))
    if chance(rng, 0.65):
        ideal = -phase_contrast(inside * body, diameter * float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.3, 1.0)))
        ideal += float(rng.uniform(0.1, 1.0)) * rim
    else:
        ideal = float(rng.normal(0, 0.25)) * inside * body + 0.6 * inside * texture
        ideal += float(rng.choice((-1, 1))) * (rim - float(rng.uniform(0.3, 1.1)) * second)
    return ideal if chance(rng, 0.85) else -ideal
