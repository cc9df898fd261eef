"""What light and camera do to an ideal picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.synthetic.noise import blur, chance, log_uniform, smooth_noise

__all__ = ["expose", "phase_contrast", "record", "specks", "uneven_light"]

Field = NDArray[np.float32]


def uneven_light(shape: tuple[int, int], rng: np.random.Generator, strength: float = 0.35) -> Field:
    """Return a smooth gain around 1: lamp off centre, vignetting."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None] - np.float32(rng.normal(0, 0.4))
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None] - np.float32(rng.normal(0, 0.4))
    gain = 1 - np.float32(rng.uniform(0, strength)) * 0.5 * (y * y + x * x)
    if chance(rng, 0.5):
        scale = float(rng.uniform(0.3, 1.0)) * max(shape)
        gain = gain * (1 + np.float32(rng.uniform(0, 0.4 * strength)) * smooth_noise(shape, scale, rng))
    return np.clip(gain, 0.15, 2.0)


def specks(shape: tuple[int, int], count: int, radius: float, rng: np.random.Generator) -> Field:
    """Return ``(Y, X)`` with ``count`` soft dots of strength 0.2-1, radii up to ``radius`` pixels: debris."""
    canvas = np.zeros(shape, np.float32)
    for _ in range(count):
        r = float(rng.uniform(0.4, 1.0)) * radius
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        reach = math.ceil(2.2 * r) + 1
        y0, x0 = max(0, int(cy) - reach), max(0, int(cx) - reach)
        y = np.arange(y0, min(shape[0], int(cy) + reach + 1), dtype=np.float32)[:, None] - np.float32(cy)
        x = np.arange(x0, min(shape[1], int(cx) + reach + 1), dtype=np.float32)[None] - np.float32(cx)
        stretch, power = float(rng.uniform(0.5, 2.0)), float(rng.choice((1.0, 2.0)))
        dot = np.exp(-(((y * y * stretch + x * x / stretch) / (r * r)) ** power))
        window = slice(y0, y0 + len(y)), slice(x0, x0 + x.shape[1])
        canvas[window] += np.float32(rng.uniform(0.2, 1.0)) * dot
    return canvas


def phase_contrast(thickness: Field, halo_px: float, strength: float) -> Field:
    """Return how much darker than the background phase contrast shows ``thickness``; negative in the bright halo.

    The ring of the condenser takes away the coarse part of the phase: a copy blurred by ``halo_px`` is subtracted
    ``strength`` times, which makes halos outside and shades off large cells inside.
    """
    return np.asarray(thickness - np.float32(strength) * blur(thickness, halo_px), np.float32)


def expose(ideal: Field, rng: np.random.Generator, dim: float = 0.15) -> Field:
    """Return a fluorescence picture with background, gain, shot noise and read noise, in 0-1.

    Parameters
    ----------
    ideal
        ``(Y, X)`` with cells of about 1 on 0.
    rng
        Source of chance.
    dim
        Smallest gain; some pictures use only a small part of the camera's range, a few saturate.
    """
    # Most exposures are chosen so that the brightest cells just fit; where all saturate, touching cells are one.
    brightest = float(np.percentile(ideal[::4, ::4], 99))
    gain = log_uniform(rng, dim, 1.2) / max(brightest, 0.5)
    offset = float(rng.uniform(0, 0.12)) * (1.0 if chance(rng, 0.8) else 3.0)
    signal = np.maximum(ideal + np.float32(rng.uniform(0, 0.15)), 0) * uneven_light(ideal.shape, rng)
    photons = log_uniform(rng, 25, 3000)
    read = log_uniform(rng, 0.002, 0.05)
    noise = rng.standard_normal(ideal.shape, dtype=np.float32)
    if chance(rng, 0.15):
        noise = 2 * blur(noise, 0.6)  # pictures that were enlarged or compressed have noise with a grain
    noisy = signal + np.sqrt(signal * np.float32(1 / photons) + np.float32(read**2)) * noise
    return np.asarray(np.clip(noisy * np.float32(gain) + np.float32(offset * gain), 0, 1), np.float32)


def record(ideal: Field, near: NDArray[np.bool_], rng: np.random.Generator) -> Field:
    """Return a transmitted-light picture with mottled background, uneven light and noise, in 0-1.

    Parameters
    ----------
    ideal
        ``(Y, X)``, background 0, with dark and bright deviations of any size.
    near
        ``(Y, X)`` where cells and their rims are. Contrast and noise are measured there, so that no cell drowns.
    rng
        Source of chance.
    """
    seen = float(ideal[near].std()) if near.any() else 1.0
    ideal = ideal * np.float32(1 / max(seen, 1e-3))
    mottle = float(rng.uniform(0, 0.25)) if chance(rng, 0.7) else 0.0
    ideal += np.float32(mottle) * smooth_noise(ideal.shape, log_uniform(rng, 2, 40), rng)
    background = float(rng.uniform(0.15, 0.85)) if chance(rng, 0.7) else float(rng.uniform(0.3, 0.6))
    contrast = log_uniform(rng, 0.02, 0.3) * max(background, 0.3) ** 0.5
    light = uneven_light(ideal.shape, rng, min(0.3, 5 * contrast))
    noise = rng.standard_normal(ideal.shape, dtype=np.float32)
    if chance(rng, 0.3):
        noise = np.float32(rng.uniform(1.5, 2.2)) * blur(noise, float(rng.uniform(0.5, 0.9)))
    level = contrast * log_uniform(rng, 0.02, 0.6)
    picture = (background + np.float32(contrast) * ideal) * light + np.float32(level) * noise
    return np.asarray(np.clip(picture, 0, 1), np.float32)
