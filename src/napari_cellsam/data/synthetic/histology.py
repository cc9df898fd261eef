"""Stained tissue sections in colour: hematoxylin on nuclei, eosin on the rest."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.camera import uneven_light
from napari_cellsam.data.synthetic.canvas import Canvas, populate
from napari_cellsam.data.synthetic.noise import blur, chance, log_uniform, ridges, smooth_noise
from napari_cellsam.data.synthetic.picture import SyntheticPicture
from napari_cellsam.data.synthetic.places import anywhere, beside, random_crowd
from napari_cellsam.data.synthetic.shapes import Shape, random_blob

__all__ = ["histology"]

Field = NDArray[np.float32]


def _stain(colour: tuple[float, float, float], rng: np.random.Generator) -> Field:
    """Return the optical density ``(3,)`` of a stain, varied as between laboratories, of length 1."""
    density = np.clip(np.array(colour) + rng.normal(0, 0.07, 3), 0.02, 1)
    return (density / np.linalg.norm(density)).astype(np.float32)


def _stroma(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> Field:
    """Return how much eosin there is, ``(Y, X)`` of about 0 to 1: fibres, patches, white gaps."""
    base = 0.5 + float(rng.uniform(0.05, 0.3)) * smooth_noise(shape, diameter * float(rng.uniform(0.5, 3)), rng)
    if chance(rng, 0.7):
        stretch = float(rng.uniform(0.3, 1.0)), float(rng.uniform(0.5, 3.0))
        base += float(rng.uniform(0.1, 0.6)) * ridges(shape, (diameter * stretch[0], diameter * stretch[1]), rng)
    if chance(rng, 0.5):
        gaps = smooth_noise(shape, diameter * float(rng.uniform(1, 5)), rng)
        base *= np.clip((float(rng.uniform(0.0, 1.5)) - gaps) * 4, 0.02, 1)
    return np.asarray(np.clip(base, 0, 2) * rng.uniform(0.05, 0.9), np.float32)


def _nuclei(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> tuple[Canvas, Field]:
    """Draw round, oval and spindle-shaped nuclei."""
    canvas = Canvas(shape)
    canvas.warp(diameter * float(rng.uniform(0.01, 0.08)), max(3.0, 0.4 * diameter), rng)
    longest = float(rng.choice((1.3, 1.8, 3.5)))

    def draw(anchor: Shape | None) -> Shape:
        radius = diameter / 2 * math.exp(rng.normal(0, 0.22))
        centre = anywhere(shape, rng) if anchor is None else beside(anchor, radius, rng)
        return random_blob(centre, radius, float(rng.uniform(1, longest)), float(rng.uniform(0, 0.12)), rng)

    populate(canvas, draw, random_crowd(shape, diameter, 0.7, rng), rng)
    return canvas, canvas.finish()


def histology(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw an H&E-like section: purple nuclei (labelled) on pink stroma, with red cells (not labelled)."""
    diameter = log_uniform(rng, 9, 50) if diameter is None else diameter
    canvas, edge = _nuclei(shape, diameter, rng)
    n = len(canvas.shapes)
    blue = np.clip(edge / max(1.0, 0.06 * diameter) + 0.5, 0, 1)
    dark = canvas.spread(np.clip(np.exp(rng.normal(0, rng.uniform(0.05, 0.4), n)), 0.3, 2.2)) * blue
    grain = smooth_noise(shape, max(1.3, diameter * float(rng.uniform(0.06, 0.2))), rng)
    dark *= np.clip(1 + float(rng.uniform(0.05, 0.45)) * grain, 0.1, 2)
    if chance(rng, 0.4):  # vesicular nuclei: pale inside, a dark membrane
        dark *= 1 - float(rng.uniform(0.2, 0.6)) * np.clip((edge - 0.05 * diameter) / (0.15 * diameter), 0, 1)
    pink = _stroma(shape, diameter, rng)
    if chance(rng, 0.4):
        pink += float(rng.uniform(-0.3, 0.5)) * np.exp(-((np.minimum(edge, 0) / (0.3 * diameter)) ** 2)) * (edge > -4)
    red = _red_cells(shape, diameter, rng) if chance(rng, 0.25) else np.zeros(shape, np.float32)
    hematoxylin, eosin = _stain((0.62, 0.70, 0.30), rng), _stain((0.15, 0.85, 0.35), rng)
    background = float(rng.uniform(0, 0.3)) * (1 + 0.3 * smooth_noise(shape, 2 * diameter, rng))
    amount = blur(
        float(rng.uniform(0.5, 1.8)) * dark + np.maximum(background, 0), sigma := float(rng.uniform(0.3, 1.4))
    )
    density = amount[..., None] * hematoxylin + blur(pink * (1 - 0.7 * blue) + 1.2 * red, sigma)[..., None] * eosin
    light = uneven_light(shape, rng, 0.15)[..., None] * rng.uniform(0.82, 1.02, 3).astype(np.float32)
    noise = rng.standard_normal((*shape, 3), dtype=np.float32) * np.float32(log_uniform(rng, 0.003, 0.04))
    pixels = np.clip(np.exp(-density) * light + noise, 0, 1)
    return SyntheticPicture(pixels, canvas.labels, "histology", rgb=True)


def _red_cells(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> Field:
    """Return red blood cells, ``(Y, X)`` in 0-1: discs without a nucleus, to be ignored."""
    canvas = Canvas(shape, margin=2.0)
    for _ in range(int(rng.integers(1, 15))):
        canvas.add(random_blob(anywhere(shape, rng), 0.45 * diameter, 1.1, 0.03, rng), 0.3)
    return np.asarray(np.clip(canvas.finish() + 0.5, 0, 1), np.float32)
