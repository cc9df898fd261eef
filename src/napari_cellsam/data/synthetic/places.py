"""Where the next cell goes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.canvas import Crowd
from napari_cellsam.data.synthetic.shapes import Rod, Shape

__all__ = ["anywhere", "at", "beside", "beside_rod", "hexagonal", "random_crowd"]


def anywhere(shape: tuple[int, int], rng: np.random.Generator) -> tuple[float, float]:
    """Return a random ``(y, x)``, now and then just outside the picture, so that cells are cut at its border."""
    return float(rng.uniform(-4, shape[0] + 4)), float(rng.uniform(-4, shape[1] + 4))


def at(field: NDArray[np.float32], place: tuple[float, float]) -> float:
    """Return the value of a ``(Y, X)`` field at ``(y, x)``, that of its border for places outside."""
    y, x = (min(max(int(c), 0), n - 1) for c, n in zip(place, field.shape, strict=True))
    return float(field[y, x])


def beside(anchor: Shape, radius: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return the centre of a cell of this radius that touches ``anchor``."""
    angle = rng.uniform(0, 2 * math.pi)
    far = (anchor.size + radius) * rng.uniform(0.85, 1.05)
    return anchor.centre[0] + far * math.sin(angle), anchor.centre[1] + far * math.cos(angle)


def beside_rod(anchor: Rod, half: float, radius: float, rng: np.random.Generator) -> tuple[tuple[float, float], float]:
    """Return centre and angle of a rod that lies along ``anchor``, or follows it in a chain."""
    s, c = math.sin(anchor.angle), math.cos(anchor.angle)
    if rng.random() < 0.7:
        along = rng.uniform(-0.8, 0.8) * (anchor.half + half)
        side = float(rng.choice((-1, 1))) * (anchor.radius + radius) * rng.uniform(0.92, 1.1)
        turn = rng.normal(0, 0.08)
    else:
        along = float(rng.choice((-1, 1))) * (anchor.half + half + anchor.radius + radius) * rng.uniform(0.93, 1.04)
        side, turn = 0.0, rng.normal(0, 0.3)
    centre = anchor.centre[0] + along * s + side * c, anchor.centre[1] + along * c - side * s
    return centre, anchor.angle + turn


def hexagonal(
    shape: tuple[int, int], spacing: float, jitter: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Return centres on a hexagonal lattice over the picture, moved by ``jitter`` spacings, in random order."""
    row = spacing * math.sqrt(3) / 2
    n_rows, n_columns = math.ceil(shape[0] / row) + 2, math.ceil(shape[1] / spacing) + 2
    i, j = np.mgrid[:n_rows, :n_columns].reshape(2, -1)
    points = np.stack(((i - 0.5) * row, (j - 0.5 + 0.5 * (i % 2)) * spacing), 1)
    points += rng.normal(0, jitter * spacing, points.shape)
    return [(float(y), float(x)) for y, x in rng.permutation(points)]


def random_crowd(shape: tuple[int, int], diameter: float, fullest: float, rng: np.random.Generator) -> Crowd:
    """Return a random crowd that covers up to ``fullest`` of the picture, 0 to 1."""
    area = shape[0] * shape[1]
    room = area / (0.785 * diameter**2)
    cover = rng.uniform(0.03, fullest)
    # The upper limit keeps the time per picture in bounds; small cells then stand in clusters.
    n_cells = min(max(int(rng.integers(1, 5)), round(cover * room)), 1 + int(0.0026 * area))
    return Crowd(n_cells, touching=float(rng.choice((0.05, 0.4, 0.75, 0.95))), overlap=float(rng.uniform(0.02, 0.3)))
