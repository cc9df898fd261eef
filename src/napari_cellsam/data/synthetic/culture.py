"""Mammalian cells in culture, in phase contrast or brightfield."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.camera import phase_contrast, record, specks
from napari_cellsam.data.synthetic.canvas import Canvas, Crowd, populate
from napari_cellsam.data.synthetic.noise import blur, chance, directions, log_uniform, smooth_noise
from napari_cellsam.data.synthetic.picture import SyntheticPicture
from napari_cellsam.data.synthetic.places import anywhere, at, beside, random_crowd
from napari_cellsam.data.synthetic.shapes import Shape, random_blob, random_spread
from napari_cellsam.data.synthetic.sheets import fill_sheet, nuclei_inside

__all__ = ["brightfield_cells", "phase_flat_cells"]

Field = NDArray[np.float32]


def _culture(shape: tuple[int, int], diameter: float, spindly: float, rng: np.random.Generator) -> tuple[Canvas, Field]:
    """Draw spread and rounded cells; ``spindly`` is the share of spread ones, above 1 for a closed sheet."""
    canvas = Canvas(shape, margin=max(6.0, 0.28 * diameter))
    canvas.warp(diameter * float(rng.uniform(0.02, 0.12)), max(4.0, diameter * float(rng.uniform(0.2, 0.6))), rng)
    if spindly > 1:
        fill_sheet(canvas, diameter, float(rng.uniform(0.5, 0.8)), rng)
        return canvas, canvas.finish(20)
    # Spindly cells that have grown together lie side by side in streams.
    streams = directions(shape, diameter * float(rng.uniform(4, 12)), rng) if chance(rng, 0.4 * spindly) else None

    def draw(anchor: Shape | None) -> Shape:
        radius = diameter / 2 * math.exp(rng.normal(0, 0.25))
        flat = chance(rng, spindly)
        if not flat and spindly > 0.3:
            radius *= 0.55  # a cell that rounds up looks smaller than its spread neighbours
        centre = anywhere(shape, rng) if anchor is None else beside(anchor, radius * rng.uniform(0.75, 1), rng)
        if flat:
            angle = None if streams is None else at(streams, centre) + float(rng.normal(0, 0.15))
            return random_spread(centre, radius, rng, angle)
        return random_blob(centre, radius, math.exp(abs(rng.normal(0, 0.2))), float(rng.uniform(0, 0.1)), rng)

    crowd = random_crowd(shape, diameter, 0.9, rng)
    populate(canvas, draw, Crowd(crowd.n_cells, crowd.touching, max(crowd.overlap, 0.15)), rng)
    return canvas, canvas.finish(20)


def _granules(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> Field:
    """Return the texture of cytoplasm around 0: organelles and sharp granules, dark and bright."""
    fine = smooth_noise(shape, max(1.3, diameter * float(rng.uniform(0.02, 0.08))), rng)
    texture = float(rng.uniform(0.1, 0.6)) * fine
    coarse = smooth_noise(shape, max(1.5, diameter * float(rng.uniform(0.04, 0.1))), rng)
    limit = float(rng.uniform(1.0, 1.8))
    texture += float(rng.uniform(0, 1.5)) * np.clip(coarse - limit, 0, 1)
    texture -= float(rng.uniform(0, 1.5)) * np.clip(-coarse - limit, 0, 1)
    return texture


def phase_flat_cells(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw culture in phase contrast: flat spindly cells with faint insides, round ones with bright rims, debris."""
    small = diameter is None and chance(rng, 0.3)
    diameter = log_uniform(rng, *((12, 35) if small else (25, 110))) if diameter is None else diameter
    spindly = float(rng.choice((0.1, 0.6, 0.95, 2.0), p=(0.3, 0.25, 0.25, 0.2)))
    canvas, edge = _culture(shape, diameter, spindly, rng)
    n = len(canvas.shapes)
    # Tall cells bend light out of the picture: bright rims; flat ones are hardly seen.
    height = np.clip(np.exp(rng.normal(-0.9 if spindly > 0.5 else 0.0, 0.5, n)), 0.1, 2.0)
    thickness = np.clip(edge / (diameter * float(rng.uniform(0.05, 0.3))) + 0.25, 0, 1) * canvas.spread(height)
    nucleus, _ = nuclei_inside(canvas, edge, rng)
    thickness += float(rng.uniform(-0.1, 0.35)) * np.clip(nucleus / 2, 0, 1)
    texture = _granules(shape, diameter, rng) * np.clip(edge / (0.1 * diameter), 0, 1)
    texture *= 1 - float(rng.uniform(0, 0.7)) * np.clip(nucleus + 0.5, 0, 1)
    ideal = (
        float(rng.choice((1, -1), p=(0.35, 0.65)))
        * float(rng.uniform(0.1, 1.0))
        * phase_contrast(thickness, max(2.0, diameter * float(rng.uniform(0.06, 0.25))), float(rng.uniform(0.4, 1.1)))
    )
    ideal += float(rng.uniform(0.1, 0.6)) * texture + _halos(canvas, edge, height, diameter, rng)
    ideal += float(rng.normal(0, 0.5)) * specks(shape, int(rng.integers(0, 25)), max(0.8, 0.04 * diameter), rng)
    ideal = blur(ideal, float(rng.uniform(0.3, max(0.7, min(1.8, 0.03 * diameter)))))
    return SyntheticPicture(
        record(ideal, edge > -0.06 * diameter, rng)[..., None], canvas.labels, "phase_flat_cells", cell=0
    )


def _halos(
    canvas: Canvas, edge: Field, height: NDArray[np.float64], diameter: float, rng: np.random.Generator
) -> Field:
    """Return the bright rims of cells, inside and around their border."""
    width = max(0.8, diameter * float(rng.uniform(0.015, 0.06)))
    strength = canvas.spread(height * rng.uniform(0.3, 1.2))
    around = np.maximum(blur(strength * (edge < 3 * width), 2 * width) * 2, 0.05)
    rim = np.exp(-(((edge + float(rng.uniform(-0.5, 1)) * width) / width) ** 2))
    dark = float(rng.uniform(0, 0.5)) * np.exp(-(((edge - 2 * width) / width) ** 2))
    return np.asarray(np.minimum(around, 1.5) * (float(rng.uniform(0.3, 1.4)) * rim - dark), np.float32)


def brightfield_cells(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw culture or suspension in brightfield: low contrast, a dark and a bright rim that swap with focus."""
    diameter = log_uniform(rng, 12, 90) if diameter is None else diameter
    canvas, edge = _culture(shape, diameter, float(rng.choice((0.0, 0.2, 0.7, 2.0), p=(0.4, 0.2, 0.25, 0.15))), rng)
    n = len(canvas.shapes)
    width = max(0.8, diameter * float(rng.uniform(0.02, 0.07)))
    lens = np.clip(edge / (diameter * float(rng.uniform(0.1, 0.4))), 0, 1)
    lens = lens * canvas.spread(rng.normal(1, 0.25, n))
    # Out of focus, a cell acts as a lens: the second derivative of its thickness, a bright next to a dark rim.
    defocus = (lens - blur(lens, 1.5 * width + 1)) * float(rng.uniform(1, 4)) * float(rng.choice((-1, 1)))
    ideal = defocus - float(rng.uniform(-0.2, 0.5)) * np.clip(edge / width + 0.5, 0, 1)
    sign = float(rng.choice((-1, 1), p=(0.7, 0.3)))
    ideal += sign * float(rng.uniform(0.2, 1)) * np.exp(-((edge / width) ** 2))
    ideal -= sign * float(rng.uniform(0, 0.6)) * np.exp(-(((edge + 1.8 * width) / width) ** 2))
    ideal += float(rng.uniform(0.1, 0.7)) * _granules(shape, diameter, rng) * (edge > width)
    if chance(rng, 0.5):
        nucleus, _ = nuclei_inside(canvas, edge, rng)
        ideal -= float(rng.uniform(-0.2, 0.5)) * np.clip(nucleus / 2, 0, 1)
    ideal += float(rng.normal(0, 0.5)) * specks(shape, int(rng.integers(0, 15)), max(0.8, 0.05 * diameter), rng)
    ideal = blur(ideal, float(rng.uniform(0.3, max(0.7, min(2.0, 0.05 * diameter)))))
    return SyntheticPicture(
        record(ideal, edge > -0.06 * diameter, rng)[..., None], canvas.labels, "brightfield_cells", cell=0
    )
