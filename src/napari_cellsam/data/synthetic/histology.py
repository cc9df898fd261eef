"""Stained tissue sections in colour: hematoxylin on nuclei, eosin or an antibody's brown on the rest."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.camera import uneven_light
from napari_cellsam.data.synthetic.canvas import Canvas, populate
from napari_cellsam.data.synthetic.glands import Gland, add_glands
from napari_cellsam.data.synthetic.noise import blur, chance, directions, log_uniform, ridges, smooth_noise
from napari_cellsam.data.synthetic.picture import SyntheticPicture
from napari_cellsam.data.synthetic.places import anywhere, at, beside, random_crowd
from napari_cellsam.data.synthetic.shapes import Shape, random_blob

__all__ = ["histology", "immunohistochemistry"]

Field = NDArray[np.float32]
_HEMATOXYLIN, _EOSIN, _BROWN = (0.62, 0.70, 0.30), (0.15, 0.85, 0.35), (0.27, 0.57, 0.78)


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


def _nuclei(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> tuple[Canvas, Field, Gland | None]:
    """Draw round, oval and spindle-shaped nuclei: in glands, in streams, or as it comes."""
    canvas = Canvas(shape)
    canvas.warp(diameter * float(rng.uniform(0.01, 0.08)), max(3.0, 0.4 * diameter), rng)
    gland = add_glands(canvas, diameter, rng) if chance(rng, 0.35) else None
    streams = directions(shape, diameter * float(rng.uniform(4, 15)), rng) if chance(rng, 0.35) else None
    longest = float(rng.choice((1.3, 1.8, 3.5)))

    def draw(anchor: Shape | None) -> Shape:
        radius = diameter / 2 * math.exp(rng.normal(0, 0.22))
        centre = anywhere(shape, rng) if anchor is None else beside(anchor, radius, rng)
        angle = None if streams is None else at(streams, centre) + float(rng.normal(0, 0.2))
        return random_blob(centre, radius, float(rng.uniform(1, longest)), float(rng.uniform(0, 0.12)), rng, angle)

    populate(canvas, draw, random_crowd(shape, diameter, 0.3 if gland else 0.7, rng), rng)
    return canvas, canvas.finish(), gland


def _chromatin(canvas: Canvas, edge: Field, diameter: float, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return what the nuclei cover, ``(Y, X)`` in 0-1, and how much hematoxylin they hold, about 0 to 2."""
    covered = np.clip(edge / max(1.0, 0.06 * diameter) + 0.5, 0, 1)
    spread = np.exp(rng.normal(0, rng.uniform(0.05, 0.4), len(canvas.shapes)))
    dark = canvas.spread(np.clip(spread, 0.3, 2.2)) * covered
    grain = smooth_noise(canvas.shape, max(1.3, diameter * float(rng.uniform(0.06, 0.2))), rng)
    dark *= np.clip(1 + float(rng.uniform(0.05, 0.45)) * grain, 0.1, 2)
    if chance(rng, 0.4):  # vesicular nuclei: pale inside, a dark membrane
        dark *= 1 - float(rng.uniform(0.2, 0.6)) * np.clip((edge - 0.05 * diameter) / (0.15 * diameter), 0, 1)
    return covered, dark


def histology(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw an H&E-like section: purple nuclei (labelled) on pink stroma, with red cells (not labelled)."""
    diameter = log_uniform(rng, 9, 50) if diameter is None else diameter
    canvas, edge, gland = _nuclei(shape, diameter, rng)
    covered, dark = _chromatin(canvas, edge, diameter, rng)
    pink = _stroma(shape, diameter, rng)
    if gland:
        bodies = float(rng.uniform(0.1, 1.0)) * _grainy(shape, diameter, rng)
        pink = (pink + (bodies - pink) * gland.epithelium) * (1 - float(rng.uniform(0.6, 1)) * gland.gap)
    if chance(rng, 0.4):
        pink += float(rng.uniform(-0.3, 0.5)) * np.exp(-((np.minimum(edge, 0) / (0.3 * diameter)) ** 2)) * (edge > -4)
    red = _red_cells(shape, diameter, rng) if chance(rng, 0.25) else np.zeros(shape, np.float32)
    background = float(rng.uniform(0, 0.3)) * (1 + 0.3 * smooth_noise(shape, 2 * diameter, rng))
    sigma = float(rng.uniform(0.3, 1.4))
    blue = blur(float(rng.uniform(0.5, 1.8)) * dark + np.maximum(background, 0), sigma)
    pink = blur(pink * (1 - 0.7 * covered) + 1.2 * red, sigma)
    density = blue[..., None] * _stain(_HEMATOXYLIN, rng) + pink[..., None] * _stain(_EOSIN, rng)
    return SyntheticPicture(_lit(density, rng), canvas.labels, "histology", rgb=True)


def immunohistochemistry(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw a section with an antibody's brown: blue or brown nuclei (labelled), brown or pale bodies around them."""
    diameter = log_uniform(rng, 9, 50) if diameter is None else diameter
    canvas, edge, gland = _nuclei(shape, diameter, rng)
    covered, dark = _chromatin(canvas, edge, diameter, rng)
    if gland and chance(rng, 0.7):
        positive = gland.epithelium
    else:
        positive = np.clip(
            2 * smooth_noise(shape, diameter * float(rng.uniform(1.5, 8)), rng) - rng.uniform(-1, 3), 0, 1
        )
    around = positive * _grainy(shape, diameter, rng)
    if chance(rng, 0.4):  # membranes: brown lines between the cells
        around *= 0.3 + 1.5 * ridges(shape, diameter * float(rng.uniform(0.6, 1.2)), rng)
    brown = log_uniform(rng, 0.1, 1.6) * around * (1 - float(rng.uniform(0.5, 1)) * covered)
    if chance(rng, 0.5):  # nuclei that the antibody found
        found = rng.random(len(canvas.shapes)) < rng.uniform(0.05, 0.9)
        nuclear = canvas.spread(np.where(found, np.exp(rng.normal(0, 0.4, len(found))), 0.0)) * dark
        brown = brown * float(rng.uniform(0, 1)) + float(rng.uniform(0.4, 1.6)) * nuclear
    pale = 0.25 * _stroma(shape, diameter, rng)
    if gland:
        pale = pale * (1 - gland.gap)
        brown = brown * (1 - gland.gap)
    sigma = float(rng.uniform(0.3, 1.4))
    blue = blur(log_uniform(rng, 0.25, 1.2) * dark + pale, sigma)
    density = blue[..., None] * _stain(_HEMATOXYLIN, rng) + blur(brown, sigma)[..., None] * _stain(_BROWN, rng)
    return SyntheticPicture(_lit(density, rng), canvas.labels, "immunohistochemistry", rgb=True)


def _grainy(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> Field:
    """Return the texture of cell bodies, ``(Y, X)`` around 1."""
    fine = smooth_noise(shape, max(1.3, diameter * float(rng.uniform(0.05, 0.15))), rng)
    coarse = smooth_noise(shape, diameter * float(rng.uniform(0.4, 1.2)), rng)
    return np.asarray(
        np.clip(1 + float(rng.uniform(0, 0.4)) * fine + float(rng.uniform(0, 0.5)) * coarse, 0.05, 3), np.float32
    )


def _lit(density: Field, rng: np.random.Generator) -> Field:
    """Return a section of optical density ``(Y, X, 3)`` as a camera sees it, in 0-1."""
    light = uneven_light(density.shape[:2], rng, 0.15)[..., None] * rng.uniform(0.82, 1.02, 3).astype(np.float32)
    noise = rng.standard_normal(density.shape, dtype=np.float32) * np.float32(log_uniform(rng, 0.003, 0.04))
    return np.asarray(np.clip(np.exp(-density) * light + noise, 0, 1), np.float32)


def _red_cells(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> Field:
    """Return red blood cells, ``(Y, X)`` in 0-1: discs without a nucleus, to be ignored."""
    canvas = Canvas(shape, margin=2.0)
    for _ in range(int(rng.integers(1, 15))):
        canvas.add(random_blob(anywhere(shape, rng), 0.45 * diameter, 1.1, 0.03, rng), 0.3)
    return np.asarray(np.clip(canvas.finish() + 0.5, 0, 1), np.float32)
