"""Smooth random fields."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["blur", "chance", "directions", "log_uniform", "ridges", "smooth_noise", "upsample"]

Field = NDArray[np.float32]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Return True with the given probability, 0 to 1."""
    return bool(rng.random() < probability)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between ``low`` and ``high`` (both above 0) whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _spline_rows(n_pixels: int, step: float, start: float, n_knots: int) -> Field:
    """Return ``(n_pixels, n_knots)`` weights of a cubic B-spline; pixel i lies at knot ``start + i / step``."""
    position = start + np.arange(n_pixels) / step
    base = np.floor(position).astype(np.intp)
    t = position - base
    weights = np.zeros((n_pixels, n_knots), np.float32)
    pieces = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    rows = np.arange(n_pixels)
    for offset, piece in enumerate(pieces):
        # Beyond the outermost knots the field goes on with their value.
        np.add.at(weights, (rows, np.clip(base + offset - 1, 0, n_knots - 1)), (piece / 6).astype(np.float32))
    return weights


def upsample(coarse: Field, shape: tuple[int, int], step: float, start: float = 0.0) -> Field:
    """Enlarge a coarse ``(h, w)`` field to ``shape``; pixel i lies at coarse position ``start + i / step``."""
    rows = _spline_rows(shape[0], step, start, coarse.shape[0])
    columns = _spline_rows(shape[1], step, start, coarse.shape[1])
    return np.asarray(rows @ coarse @ columns.T, np.float32)


def smooth_noise(shape: tuple[int, int], scale: float | tuple[float, float], rng: np.random.Generator) -> Field:
    """Return Gaussian noise of mean 0 and standard deviation 1 that varies over ``scale`` pixels.

    Parameters
    ----------
    shape
        ``(Y, X)`` of the field.
    scale
        Distance between independent values, in pixels, at least 1; one number or ``(y, x)``.
    rng
        Source of chance.
    """
    sy, sx = scale if isinstance(scale, tuple) else (scale, scale)
    sy, sx = max(sy, 1.0), max(sx, 1.0)
    knots = (math.ceil(shape[0] / sy) + 3, math.ceil(shape[1] / sx) + 3)
    coarse = rng.standard_normal(knots, dtype=np.float32)
    rows = _spline_rows(shape[0], sy, 1.0, knots[0])
    columns = _spline_rows(shape[1], sx, 1.0, knots[1])
    power = np.float32(151 / 315)  # mean of the spline's summed squared weights, along each axis
    return np.asarray(rows @ coarse @ columns.T / power, np.float32)


def ridges(shape: tuple[int, int], scale: float | tuple[float, float], rng: np.random.Generator) -> Field:
    """Return a field in 0-1 that is near 1 along winding lines about ``scale`` pixels apart: fibres."""
    return np.asarray(np.exp(-4 * np.abs(smooth_noise(shape, scale, rng))), np.float32)


def directions(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Field:
    """Return angles ``(Y, X)`` in radians, from +x towards +y, that turn slowly over ``scale`` pixels: streams."""
    return np.asarray(0.5 * np.arctan2(smooth_noise(shape, scale, rng), smooth_noise(shape, scale, rng)), np.float32)


def blur(image: Field, sigma: float) -> Field:
    """Return ``(Y, X)`` blurred by a Gaussian of ``sigma`` pixels; a wide one goes by way of a coarser grid."""
    from scipy import ndimage

    if sigma <= 0.2:
        return image
    step = int(sigma // 1.5)
    if step < 2 or min(image.shape) < 4 * step:
        return np.asarray(ndimage.gaussian_filter(image, sigma, truncate=2.7, mode="nearest"), np.float32)
    pad = [(0, -n % step) for n in image.shape]
    padded = np.pad(image, pad, mode="edge") if any(p[1] for p in pad) else image
    h, w = padded.shape[0] // step, padded.shape[1] // step
    coarse = padded.reshape(h, step, w, step).mean((1, 3))
    # The spline itself blurs by a third of a squared step.
    remaining = math.sqrt(max((sigma / step) ** 2 - 1 / 3, 0.01))
    coarse = ndimage.gaussian_filter(coarse, remaining, truncate=2.7, mode="nearest")
    return upsample(coarse, (image.shape[0], image.shape[1]), step, 0.5 / step - 0.5)
