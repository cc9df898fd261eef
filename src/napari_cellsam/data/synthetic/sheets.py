"""Whole cells in fluorescence: cytoplasm or membrane, with or without a nuclear channel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.camera import expose, specks
from napari_cellsam.data.synthetic.canvas import Canvas, Crowd, populate
from napari_cellsam.data.synthetic.noise import blur, chance, log_uniform, ridges, smooth_noise
from napari_cellsam.data.synthetic.nuclei import chromatin
from napari_cellsam.data.synthetic.picture import SyntheticPicture
from napari_cellsam.data.synthetic.places import anywhere, beside, hexagonal, random_crowd
from napari_cellsam.data.synthetic.shapes import Shape, random_blob, random_spread

__all__ = ["fill_sheet", "fluorescent_cells", "membrane_tissue", "nuclei_inside"]

Field = NDArray[np.float32]


def fill_sheet(canvas: Canvas, diameter: float, reach: float, rng: np.random.Generator) -> None:
    """Cover a canvas with polygon-like cells; ``reach`` of 0.5 just touches, 0.8 leaves no gap."""
    jitter, absent = float(rng.uniform(0.03, 0.28)), float(rng.choice((0.0, 0.05, 0.3)))
    # Many small cells would take too long: then only a part of the picture is covered.
    limit = 1 + int(0.0026 * canvas.shape[0] * canvas.shape[1])
    centres = hexagonal(canvas.shape, 0.95 * diameter, jitter, rng)
    if len(centres) > limit:
        middle = np.array(anywhere(canvas.shape, rng))
        centres = sorted(centres, key=lambda c: float(np.hypot(*(np.array(c) - middle))))[:limit]
    for centre in centres:
        if not chance(rng, absent):
            radius = diameter * reach * math.exp(rng.normal(0, 0.06))
            canvas.add(random_blob(centre, radius, math.exp(abs(rng.normal(0, 0.15))), 0.05, rng))


def nuclei_inside(canvas: Canvas, edge: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw a nucleus into every cell of a finished canvas.

    Returns
    -------
    tuple of ndarray
        Distance to the border of the nuclei, ``(Y, X)`` and positive inside, and the nuclei's brightness.
    """
    inner = Canvas(canvas.shape, margin=2.0)
    share = float(rng.uniform(0.4, 0.75))
    for shape in canvas.shapes:
        cy, cx = shape.centre
        inside = 0 <= cy < canvas.shape[0] and 0 <= cx < canvas.shape[1]
        room = float(edge[int(cy), int(cx)]) if inside else 0.6 * shape.size
        radius = max(1.5, min(share * max(room, 0.4 * shape.size), 0.7 * shape.size))
        shift = rng.normal(0, 0.15 * radius, 2)
        inner.add(
            random_blob((cy + shift[0], cx + shift[1]), radius, math.exp(abs(rng.normal(0, 0.2))), 0.04, rng), 0.2
        )
    depth = inner.finish(4)
    depth[canvas.labels == 0] = -2
    depth = np.minimum(depth, edge - 0.5)
    return depth, inner.spread(np.clip(np.exp(rng.normal(-0.2, rng.uniform(0.1, 0.6), len(inner.shapes))), 0.1, 2.5))


def _cells(shape: tuple[int, int], diameter: float, rng: np.random.Generator) -> tuple[Canvas, Field]:
    """Draw whole cells: a sheet, spread ones, or round ones."""
    canvas = Canvas(shape)
    canvas.warp(diameter * float(rng.uniform(0.0, 0.08)), max(4.0, diameter * float(rng.uniform(0.2, 0.6))), rng)
    kind = rng.random()
    if kind < 0.35:
        fill_sheet(canvas, diameter, float(rng.uniform(0.45, 0.85)), rng)
    else:
        crowd = random_crowd(shape, diameter, 0.85, rng)

        def draw(anchor: Shape | None) -> Shape:
            radius = diameter / 2 * math.exp(rng.normal(0, 0.22))
            centre = anywhere(shape, rng) if anchor is None else beside(anchor, radius * rng.uniform(0.8, 1), rng)
            if kind < 0.7:
                return random_spread(centre, radius, rng)
            return random_blob(centre, radius, math.exp(abs(rng.normal(0, 0.25))), float(rng.uniform(0, 0.15)), rng)

        populate(canvas, draw, Crowd(crowd.n_cells, crowd.touching, max(crowd.overlap, 0.2)), rng)
    return canvas, canvas.finish()


def _cytoplasm(canvas: Canvas, edge: Field, nucleus: Field, diameter: float, rng: np.random.Generator) -> Field:
    """Return the light of a cytoplasm stain."""
    shape = canvas.shape
    thick = np.clip(edge / max(1.0, diameter * log_uniform(rng, 0.02, 0.4)) + 0.3, 0, 1)
    texture = 1 + float(rng.uniform(0, 0.4)) * smooth_noise(
        shape, max(1.2, diameter * log_uniform(rng, 0.03, 0.3)), rng
    )
    if chance(rng, 0.3):
        fibres = ridges(shape, max(2.0, diameter * float(rng.uniform(0.08, 0.2))), rng)
        texture += float(rng.uniform(0.2, 1.0)) * fibres
    light = thick * canvas.spread(np.clip(np.exp(rng.normal(-0.2, rng.uniform(0, 0.6), len(canvas.shapes))), 0.12, 2.5))
    light *= np.clip(texture, 0.1, 3)
    if chance(rng, 0.6):  # the nucleus is spared, or bright
        light *= 1 + float(rng.uniform(-0.8, 0.6)) * np.clip(nucleus + 0.5, 0, 1)
    if chance(rng, 0.35):
        light += float(rng.uniform(0.2, 0.9)) * np.exp(-((edge / max(0.9, 0.03 * diameter)) ** 2))
    return np.asarray(light, np.float32)


def _with_nuclei(
    canvas: Canvas, cell: Field, nuclear: Field, archetype: str, rng: np.random.Generator
) -> SyntheticPicture:
    """Expose both channels, mixed a little, or the whole-cell channel alone."""
    if chance(rng, 0.4):
        return SyntheticPicture(expose(cell, rng)[..., None], canvas.labels, archetype, cell=0)
    if chance(rng, 0.3):
        cell, nuclear = cell + 0.2 * nuclear, nuclear + float(rng.uniform(0, 0.2)) * cell
    pixels = np.stack((expose(nuclear, rng), expose(cell, rng)), -1)
    return SyntheticPicture(pixels, canvas.labels, archetype, nuclear=0, cell=1)


def fluorescent_cells(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw cells with a cytoplasm stain, mostly with a nuclear channel."""
    diameter = log_uniform(rng, 16, 110) if diameter is None else diameter
    canvas, edge = _cells(shape, diameter, rng)
    nucleus, brightness = nuclei_inside(canvas, edge, rng)
    cell = blur(
        _cytoplasm(canvas, edge, nucleus, diameter, rng), float(rng.uniform(0.4, max(0.8, min(2.5, 0.04 * diameter))))
    )
    if chance(rng, 0.4):
        cell += float(rng.uniform(0.03, 0.3)) * blur(cell, 0.4 * diameter)
    if chance(rng, 0.3):
        cell += specks(shape, int(rng.integers(1, 10)), max(0.8, 0.05 * diameter), rng) * float(rng.uniform(0.3, 1.2))
    nuclear = np.clip(nucleus / 1.5 + 0.5, 0, 1) * brightness * chromatin(shape, 0.5 * diameter, rng)
    return _with_nuclei(canvas, cell, blur(nuclear, float(rng.uniform(0.4, 1.5))), "fluorescent_cells", rng)


def membrane_tissue(shape: tuple[int, int], diameter: float | None, rng: np.random.Generator) -> SyntheticPicture:
    """Draw tissue whose membranes are stained: bright borders, mostly with a nuclear channel."""
    diameter = log_uniform(rng, 11, 70) if diameter is None else diameter
    canvas = Canvas(shape)
    canvas.warp(diameter * float(rng.uniform(0.01, 0.1)), max(4.0, diameter * float(rng.uniform(0.3, 0.8))), rng)
    fill_sheet(canvas, diameter, float(rng.uniform(0.52, 0.85)), rng)
    edge = canvas.finish()
    nucleus, brightness = nuclei_inside(canvas, edge, rng)
    width = max(0.8, diameter * float(rng.uniform(0.02, 0.09)))
    border = np.exp(-((edge / width) ** 2)) * (edge > -width)
    patchy = np.clip(1 + float(rng.uniform(0, 0.5)) * smooth_noise(shape, max(2.0, diameter * 0.4), rng), 0.05, 3)
    positive = canvas.spread(np.clip(np.exp(rng.normal(0, rng.uniform(0, 0.5), len(canvas.shapes))), 0.2, 2))
    filling = float(rng.uniform(0, 0.35)) * (1 + 0.4 * smooth_noise(shape, max(1.5, 0.15 * diameter), rng))
    cell = border * patchy * (0.5 + 0.5 * positive) + filling * positive * (edge > 0)
    cell = blur(cell, float(rng.uniform(0.3, 1.5)))
    if chance(rng, 0.4):
        cell += float(rng.uniform(0.05, 0.3)) * blur(cell, 0.5 * diameter)
    nuclear = np.clip(nucleus / 1.5 + 0.5, 0, 1) * brightness * chromatin(shape, 0.5 * diameter, rng)
    return _with_nuclei(canvas, cell, blur(nuclear, float(rng.uniform(0.4, 1.8))), "membrane_tissue", rng)
