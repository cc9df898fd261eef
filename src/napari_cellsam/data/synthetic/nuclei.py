"""Stained nuclei, on glass or in tissue."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.camera import expose, specks
from napari_cellsam.data.synthetic.canvas import Canvas, populate
from napari_cellsam.data.synthetic.noise import blur, chance, log_uniform, ridges, smooth_noise
from napari_cellsam.data.synthetic.picture import SyntheticPicture
from napari_cellsam.data.synthetic.places import anywhere, beside, random_crowd
from napari_cellsam.data.synthetic.shapes import Rod, Shape, random_blob

__all__ = ["chromatin", "fluorescent_nuclei", "immunofluorescence_tissue"]

Field = NDArray[np.float32]


def chromatin(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> Field:
    """Return the texture of nuclei of this diameter, ``(Y, X)`` around 1: chromatin, nucleoli, bright grains."""
    texture = np.ones(shape, np.float32)
    texture += np.float32(rng.uniform(0, 0.3)) * smooth_noise(shape, max(1.5, diameter * rng.uniform(0.06, 0.25)), rng)
    if chance(rng, 0.45):
        grain = smooth_noise(shape, max(1.5, diameter * rng.uniform(0.1, 0.2)), rng)
        spots = np.clip((grain - np.float32(rng.uniform(0.9, 1.6))) * 3, 0, 1)
        texture += np.float32(rng.uniform(-0.7, -0.2) if chance(rng, 0.6) else rng.uniform(0.3, 1.0)) * spots
    return np.clip(texture, 0.1, 3)


def _nucleus(canvas: Canvas, anchor: Shape | None, diameter: float, rng: np.random.Generator) -> Shape:
    """Return a nucleus: round, oval, lobed, or dividing."""
    radius = diameter / 2 * math.exp(rng.normal(0, 0.18))
    centre = anywhere(canvas.shape, rng) if anchor is None else beside(anchor, radius, rng)
    if chance(rng, 0.03):
        return Rod(centre, radius * 0.8, radius * 0.35, float(rng.uniform(0, math.pi)))
    rough = rng.uniform(0.12, 0.3) if chance(rng, 0.12) else rng.uniform(0, 0.09)
    return random_blob(centre, radius, math.exp(abs(rng.normal(0, 0.3))), float(rough), rng)


def _brightness(canvas: Canvas, spread: float, rng: np.random.Generator) -> Field:
    """Return the brightness of every nucleus, ``(N,)``; dividing ones are bright."""
    values = np.exp(rng.normal(-0.3, spread, len(canvas.shapes)))
    values[[isinstance(shape, Rod) for shape in canvas.shapes]] *= rng.uniform(1.3, 2.5)
    return np.clip(values, 0.07, 3).astype(np.float32)


def fluorescent_nuclei(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw nuclei in culture: one nuclear channel."""
    diameter = log_uniform(rng, 8, 70) if diameter is None else diameter
    canvas = Canvas(shape)
    canvas.warp(diameter * float(rng.uniform(0, 0.04)), max(4.0, diameter * 0.4), rng)
    populate(canvas, lambda a: _nucleus(canvas, a, diameter, rng), random_crowd(shape, diameter, 0.6, rng), rng)
    edge = canvas.finish()
    ideal = _glow(canvas, edge, diameter, rng)
    if chance(rng, 0.3):
        ideal += specks(shape, int(rng.integers(1, 12)), max(0.8, 0.08 * diameter), rng) * float(rng.uniform(0.2, 1.2))
    return SyntheticPicture(expose(ideal, rng)[..., None], canvas.labels, "fluorescent_nuclei", nuclear=0)


def _glow(canvas: Canvas, edge: Field, diameter: float, rng: np.random.Generator) -> Field:
    """Return the light of nuclei, blurred, with haze and cytoplasm."""
    shape = canvas.shape
    dome = np.clip(edge / max(1.0, diameter * float(rng.uniform(0.02, 0.25))) + 0.4, 0, 1)
    ideal = dome * canvas.spread(_brightness(canvas, float(rng.uniform(0, 0.7)), rng)) * chromatin(shape, diameter, rng)
    if chance(rng, 0.5):  # light adds where nuclei lie on each other
        ideal *= 1 + np.clip(canvas.overlap / max(1.0, 0.1 * diameter), 0, 1) * float(rng.uniform(0.1, 0.8))
    ideal = blur(ideal, float(rng.uniform(0.3, max(0.7, min(2.5, 0.06 * diameter)))))
    if chance(rng, 0.5):
        ideal += float(rng.uniform(0.03, 0.4)) * blur(ideal, diameter * float(rng.uniform(0.3, 1.2)))
    if chance(rng, 0.25):
        cytoplasm = np.clip(blur((canvas.labels > 0).astype(np.float32), 0.7 * diameter) * 2, 0, 1)
        ideal += float(rng.uniform(0.02, 0.15)) * cytoplasm * (1 + 0.4 * smooth_noise(shape, 0.3 * diameter, rng))
    if chance(rng, 0.2):
        ideal += float(rng.uniform(0.1, 0.35)) * blur(specks(shape, 6, 0.6 * diameter, rng), 0.3 * diameter)
    return ideal


def immunofluorescence_tissue(
    shape: tuple[int, int], diameter: float | None, rng: np.random.Generator
) -> SyntheticPicture:
    """Draw a tissue section: crowded, overlapping nuclei over autofluorescence; now and then a marker channel."""
    diameter = log_uniform(rng, 7, 30) if diameter is None else diameter
    canvas = Canvas(shape)
    canvas.warp(diameter * float(rng.uniform(0.01, 0.07)), max(3.0, 0.5 * diameter), rng)
    crowd = random_crowd(shape, diameter, 0.95, rng)
    populate(canvas, lambda a: _nucleus(canvas, a, diameter, rng), crowd, rng)
    edge = canvas.finish()
    glow = _glow(canvas, edge, diameter, rng)
    auto = np.clip(0.5 + 0.4 * smooth_noise(shape, diameter * float(rng.uniform(1, 4)), rng), 0, 2)
    if chance(rng, 0.6):
        auto = auto + ridges(shape, diameter * float(rng.uniform(0.5, 2)), rng)
    nuclear = expose(glow + float(rng.uniform(0.02, 0.25)) * auto, rng)
    if chance(rng, 0.65):
        return SyntheticPicture(nuclear[..., None], canvas.labels, "immunofluorescence_tissue", nuclear=0)
    ring = np.exp(-((edge / max(1.0, 0.12 * diameter)) ** 2))
    positive = np.where(rng.random(len(canvas.shapes)) < rng.uniform(0.1, 0.9), 1.0, 0.05)
    marker = blur(canvas.spread(positive * np.exp(rng.normal(0, 0.4, len(positive)))) * (0.25 + ring), 1.0)
    pixels = np.stack((nuclear, expose(marker + 0.3 * auto, rng)), -1)
    return SyntheticPicture(pixels, canvas.labels, "immunofluorescence_tissue", nuclear=0, cell=1)
