"""Rod-shaped bacteria in phase contrast or fluorescence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.camera import expose, phase_contrast, record, specks
from napari_cellsam.data.synthetic.canvas import Canvas, Crowd, populate
from napari_cellsam.data.synthetic.noise import blur, chance, log_uniform, ridges, smooth_noise
from napari_cellsam.data.synthetic.picture import SyntheticPicture
from napari_cellsam.data.synthetic.places import anywhere, beside_rod
from napari_cellsam.data.synthetic.shapes import Rod, Shape

__all__ = ["fluorescent_rods", "phase_rods"]

Field = NDArray[np.float32]


@dataclass(frozen=True)
class _Strain:
    """What the bacteria of one picture have in common."""

    radius: float
    aspect: float
    bend: float
    filaments: float


def _strain(diameter: float, rng: np.random.Generator) -> _Strain:
    """Return a random strain whose rods have the area of a disc of ``diameter`` pixels, on average."""
    aspect = float(rng.choice((rng.uniform(1.1, 2.0), rng.uniform(2, 5), rng.uniform(4, 9)), p=(0.2, 0.6, 0.2)))
    width = diameter / math.sqrt(1 + (aspect - 1) * 4 / math.pi)
    bend = float(rng.choice((0.02, 0.12, 0.4), p=(0.5, 0.3, 0.2)))
    return _Strain(width / 2, aspect, bend, float(rng.choice((0.0, 0.0, 0.1))))


def _rod(canvas: Canvas, anchor: Shape | None, strain: _Strain, rng: np.random.Generator) -> Shape:
    """Return a rod, alone or along its neighbour."""
    radius = strain.radius * math.exp(rng.normal(0, 0.06))
    half = max(0.05, radius * (strain.aspect - 1) * math.exp(rng.normal(0, 0.28)))
    if isinstance(anchor, Rod) and not anchor.wave[0]:
        centre, angle = beside_rod(anchor, half, radius, rng)
        bend = anchor.bend
    else:
        centre, angle, bend = anywhere(canvas.shape, rng), float(rng.uniform(0, math.pi)), 0.0
    if chance(rng, strain.filaments):
        half *= rng.uniform(3, 7)
        wave = (float(rng.uniform(0, 3)) * radius, half * float(rng.uniform(0.8, 2.0)) + 8 * radius)
        return Rod(centre, half, radius, angle, wave=wave)
    limit = min(0.7, 0.25 * half / radius)  # short rods hardly bend
    bend = float(np.clip(bend + rng.normal(0, strain.bend), -limit, limit))
    pinch = float(rng.uniform(0.15, 0.4)) if chance(rng, 0.12) else 0.0
    return Rod(centre, half, radius, angle, bend, pinch=pinch)


def _colony(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> tuple[Canvas, Field, _Strain]:
    """Draw bacteria: scattered, in chains, or as dense micro-colonies."""
    strain = _strain(diameter, rng)
    canvas = Canvas(shape, margin=1.8 * strain.radius + 2)
    canvas.warp(strain.radius * float(rng.uniform(0, 0.15)), max(4.0, 3 * strain.radius), rng)
    area = shape[0] * shape[1]
    cover = log_uniform(rng, 0.02, 0.85)
    n_cells = int(np.clip(cover * area / (0.785 * diameter**2), 1, 1 + 0.0024 * area))
    if chance(rng, 0.45):  # a micro-colony: side by side without a gap
        crowd = Crowd(max(n_cells, 12), 0.98, float(rng.uniform(0.1, 0.25)), tries=5)
    else:
        crowd = Crowd(n_cells, float(rng.choice((0.0, 0.6))), float(rng.uniform(0.03, 0.12)))
    populate(canvas, lambda a: _rod(canvas, a, strain, rng), crowd, rng)
    return canvas, canvas.finish(8), strain


def phase_rods(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw bacteria in phase contrast: dark with bright halos, now and then the other way round."""
    diameter = log_uniform(rng, 7, 34) if diameter is None else diameter
    canvas, edge, strain = _colony(shape, diameter, rng)
    r = strain.radius
    depth = np.clip(edge / max(0.8, r * float(rng.uniform(0.15, 0.8))) + 0.4, 0, 1)
    values = np.clip(rng.normal(1, rng.uniform(0.02, 0.25), len(canvas.shapes)), 0.3, 1.6)
    thickness = depth * canvas.spread(values)
    thickness *= 1 + float(rng.uniform(0, 0.25)) * smooth_noise(shape, max(1.2, r * float(rng.uniform(0.4, 1.2))), rng)
    if chance(rng, 0.25):  # some lenses show the middle of the cell lighter than its wall
        thickness *= 1 - float(rng.uniform(0.2, 0.7)) * np.clip(edge / r, 0, 1)
    thickness += float(rng.uniform(0, 0.5)) * specks(shape, int(rng.integers(0, 8)), max(0.8, 0.7 * r), rng)
    if chance(rng, 0.1):
        thickness += float(rng.uniform(0.05, 0.25)) * ridges(shape, 12 * r, rng) ** 4
    ideal = -phase_contrast(thickness, r * float(rng.uniform(0.8, 2.5)), float(rng.uniform(0.2, 1.0)))
    if chance(rng, 0.5):
        ideal += float(rng.uniform(0.1, 0.7)) * np.exp(-(((edge + 0.5 * r) / (0.5 * r + 0.5)) ** 2)) * (edge < 0.3 * r)
    if chance(rng, 0.12):
        ideal = -ideal
    ideal = blur(ideal, float(rng.uniform(0.3, max(0.6, min(1.8, 0.25 * r)))))
    return SyntheticPicture(record(ideal, edge > -0.5 * r, rng)[..., None], canvas.labels, "phase_rods", cell=0)


def fluorescent_rods(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw bacteria with a label in the cytoplasm, the membrane or the nucleoid."""
    diameter = log_uniform(rng, 7, 34) if diameter is None else diameter
    canvas, edge, strain = _colony(shape, diameter, rng)
    r = strain.radius
    kind = rng.random()
    if kind < 0.3:
        light = np.exp(-(((edge - 0.15 * r) / max(0.7, 0.35 * r)) ** 2)) * (edge > -0.3 * r)
        light += float(rng.uniform(0, 0.4)) * (edge > 0)
    else:
        light = np.clip(edge / max(0.8, r * float(rng.uniform(0.2, 1.0))) + 0.3, 0, 1)
        if kind > 0.7:
            grain = smooth_noise(shape, max(1.5, r * float(rng.uniform(0.8, 2))), rng)
            light *= np.clip(0.5 + 0.5 * float(rng.uniform(0.4, 1)) * grain, 0.08, 2)
    brightness = np.clip(np.exp(rng.normal(-0.2, rng.uniform(0, 0.6), len(canvas.shapes))), 0.12, 2.5)
    # The membrane is seen on both sides of the border, so brightness is that of the picture where no cell is.
    light *= np.where(canvas.labels > 0, canvas.spread(brightness), np.float32(0.5))
    light *= 1 + float(rng.uniform(0, 0.25)) * smooth_noise(shape, max(1.2, 0.7 * r), rng)
    light = blur(light, float(rng.uniform(0.3, max(0.7, min(2.2, 0.45 * r)))))
    if chance(rng, 0.5):
        light += float(rng.uniform(0.05, 0.5)) * blur(light, r * float(rng.uniform(1.5, 5)))
    light += float(rng.uniform(0, 0.8)) * specks(shape, int(rng.integers(0, 6)), max(0.8, 0.5 * r), rng)
    return SyntheticPicture(expose(light, rng)[..., None], canvas.labels, "fluorescent_rods", cell=0)
