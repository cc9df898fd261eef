"""Outlines of cells, as signed distances to their border."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.noise import chance

__all__ = ["Blob", "Rod", "Shape", "Spread", "random_blob", "random_spread"]

Field = NDArray[np.float32]
_N_ANGLES = 256
_ANGLES = np.arange(_N_ANGLES) * (2 * math.pi / _N_ANGLES)


class Shape(Protocol):
    """An outline: ``depth`` is positive inside, negative outside, in pixels from the border (nearly)."""

    @property
    def centre(self) -> tuple[float, float]:
        """``(y, x)`` of the middle."""
        ...

    @property
    def size(self) -> float:
        """Mean radius in pixels."""
        ...

    @property
    def extent(self) -> tuple[float, float]:
        """Half height and half width that hold the outline."""
        ...

    def depth(self, dy: Field, dx: Field) -> Field:
        """Return the distance to the border for pixels at ``(dy, dx)`` from the centre."""
        ...


@dataclass(frozen=True, eq=False)
class Blob:
    """A star-shaped outline: ``radii`` at 256 equally spaced angles, from +x towards +y."""

    centre: tuple[float, float]
    radii: Field

    @property
    def size(self) -> float:
        """Mean radius in pixels."""
        return float(self.radii.mean())

    @property
    def extent(self) -> tuple[float, float]:
        """Half height and half width that hold the outline."""
        return (
            float(np.abs(self.radii * np.sin(_ANGLES)).max()),
            float(np.abs(self.radii * np.cos(_ANGLES)).max()),
        )

    def depth(self, dy: Field, dx: Field) -> Field:
        """Return radius minus distance from the centre."""
        index = (np.arctan2(dy, dx) * np.float32(_N_ANGLES / (2 * math.pi))).astype(np.int16)
        result: Field = self.radii[index] - np.sqrt(dy * dy + dx * dx)  # a negative index counts from the end
        return result


@dataclass(frozen=True)
class Rod:
    """A capsule, bent, wavy or pinched in the middle.

    Attributes
    ----------
    half
        Half the length of the axis without the round caps, in pixels.
    angle
        Direction of the axis, from +x towards +y, in radians.
    bend
        Sideways shift of the tips per half length.
    wave
        Amplitude in pixels and wavelength in pixels of a sideways swing.
    pinch
        How much thinner the middle is, 0 to 1.
    """

    centre: tuple[float, float]
    half: float
    radius: float
    angle: float
    bend: float = 0.0
    wave: tuple[float, float] = (0.0, 1.0)
    pinch: float = 0.0

    @property
    def size(self) -> float:
        """Radius of a disc of the same area."""
        return math.sqrt((4 * self.half * self.radius) / math.pi + self.radius**2)

    @property
    def extent(self) -> tuple[float, float]:
        """Half height and half width that hold the outline."""
        side = self.radius + abs(self.bend) * self.half + self.wave[0]
        along = self.half + self.radius
        s, c = abs(math.sin(self.angle)), abs(math.cos(self.angle))
        return along * s + side * c, along * c + side * s

    def depth(self, dy: Field, dx: Field) -> Field:
        """Return radius minus distance from the axis."""
        s, c = np.float32(math.sin(self.angle)), np.float32(math.cos(self.angle))
        u, v = dx * c + dy * s, dy * c - dx * s
        radius: Field | float = self.radius
        if self.bend and self.half:
            axis = np.clip(u, -np.float32(self.half), np.float32(self.half))
            slope = axis * np.float32(2 * self.bend / self.half)
            v = (v - slope * (u - 0.5 * axis)) / np.sqrt(1 + slope * slope)  # straight on beyond the tips
        if self.wave[0]:
            v = v - np.float32(self.wave[0]) * np.sin(u * np.float32(2 * math.pi / self.wave[1]))
        if self.pinch:
            radius = self.radius * (1 - np.float32(self.pinch) * np.exp(-((u / np.float32(self.radius)) ** 2)))
        over = np.maximum(np.abs(u) - np.float32(self.half), 0)
        return np.asarray(radius - np.sqrt(over * over + v * v), np.float32)


@dataclass(frozen=True, eq=False)
class Spread:
    """A spread-out culture cell: a body with arms that taper.

    Attributes
    ----------
    body
        The outline without arms.
    arms
        Direction in radians, length from the centre and half width at the root in pixels, of every arm.
    """

    body: Blob
    arms: tuple[tuple[float, float, float], ...] = field(default=())

    @property
    def centre(self) -> tuple[float, float]:
        """``(y, x)`` of the middle."""
        return self.body.centre

    @property
    def size(self) -> float:
        """Mean radius of the body in pixels."""
        return self.body.size

    @property
    def extent(self) -> tuple[float, float]:
        """Half height and half width that hold the outline."""
        ey, ex = self.body.extent
        for angle, length, width in self.arms:
            ey = max(ey, abs(math.sin(angle)) * length + width)
            ex = max(ex, abs(math.cos(angle)) * length + width)
        return ey, ex

    def depth(self, dy: Field, dx: Field) -> Field:
        """Return the largest depth among body and arms."""
        best = self.body.depth(dy, dx)
        for angle, length, width in self.arms:
            s, c = np.float32(math.sin(angle)), np.float32(math.cos(angle))
            u, v = dx * c + dy * s, dy * c - dx * s
            beyond = np.maximum(u - np.float32(length), 0)
            taper = np.float32(width) * (1 - np.clip(u / np.float32(length), 0, 1))
            arm = taper + np.float32(0.6) - np.sqrt(v * v + beyond * beyond)
            best = np.maximum(best, np.where(u > 0, arm, best))
        return best


def random_blob(
    centre: tuple[float, float],
    radius: float,
    aspect: float,
    roughness: float,
    rng: np.random.Generator,
    angle: float | None = None,
) -> Blob:
    """Return an ellipse of mean ``radius`` and given ``aspect``, its border swung by ``roughness``.

    ``roughness`` is the relative swing of the radius, about 0 (smooth) to 0.3 (irregular); ``angle`` is that of the
    long axis, from +x towards +y in radians, at random by default.
    """
    turned = _ANGLES - (rng.uniform(0, math.pi) if angle is None else angle)
    a, b = radius * math.sqrt(aspect), radius / math.sqrt(aspect)
    radii = a * b / np.sqrt((b * np.cos(turned)) ** 2 + (a * np.sin(turned)) ** 2)
    if roughness > 0:
        order = np.arange(2, 7)[:, None]
        swing = rng.normal(0, 1, (5, 1)) / order * np.cos(order * _ANGLES + rng.uniform(0, 2 * math.pi, (5, 1)))
        radii = radii * np.clip(1 + 1.7 * roughness * swing.sum(0), 0.35, 2.0)
    return Blob(centre, np.maximum(radii, 1.0).astype(np.float32))


def random_spread(
    centre: tuple[float, float], radius: float, rng: np.random.Generator, angle: float | None = None
) -> Spread:
    """Return a culture cell whose body and arms have about the area of a disc of ``radius``.

    One that lies along an ``angle`` (as for `random_blob`) is longer than one that has none.
    """
    aspect = float(rng.uniform(1.0, 3.2) if angle is None else rng.uniform(2.0, 5.0))
    body = random_blob(centre, 0.88 * radius, aspect, float(rng.uniform(0.05, 0.3)), rng, angle)
    n_arms = int(rng.integers(0, 5))
    longest = math.atan2(*_tip(body))
    arms = []
    for i in range(n_arms):
        # Spindly cells send their arms along their long axis.
        angle = longest + math.pi * i + rng.normal(0, 0.2) if aspect > 1.8 and i < 2 else rng.uniform(0, 2 * math.pi)
        length = body.size * rng.uniform(1.2, 2.2 if chance(rng, 0.8) else 3.5)
        arms.append((float(angle), float(length), float(body.size * rng.uniform(0.08, 0.45))))
    return Spread(body, tuple(arms))


def _tip(body: Blob) -> tuple[float, float]:
    """Return ``(y, x)`` of the border point farthest from the centre."""
    i = int(body.radii.argmax())
    return float(body.radii[i] * np.sin(_ANGLES[i])), float(body.radii[i] * np.cos(_ANGLES[i]))
