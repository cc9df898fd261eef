"""Random changes that a training picture goes through: place, scale, light, channels and damage."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["AugmentOptions", "crop_at_random", "damage", "mix_channels"]

_MARGIN = 8  # pixels around a crop that take part in interpolation and averaging
_WITHIN = 0.9  # of half a square's side: as far from its middle may lie what it is to show


@dataclass(frozen=True)
class AugmentOptions:
    """How strongly pictures are changed.

    Attributes
    ----------
    diameter
        Cell diameter in pixels around which crops are scaled. None: pictures are seen as a model of published design
        sees them, half of those that it squashes to its field whole and all others at their own scale.
    spread
        Standard deviation of the base-2 logarithm of the scaled diameter.
    largest_zoom
        Pictures are enlarged by this factor at the most, and shrunk to its inverse's half.
    clahe_share
        Share of crops whose local contrast was equalized.
    damaged_share
        Share of crops that go through `damage`.
    """

    diameter: float | None = 30.0
    spread: float = 0.5
    largest_zoom: float = 3.0
    clahe_share: float = 0.2
    damaged_share: float = 0.85


def crop_at_random(
    channels: NDArray[np.uint8],
    labels: NDArray[np.int32],
    side: int,
    zoom: float,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Cut a square out of a picture: rotated, flipped, scaled, slightly sheared.

    Parameters
    ----------
    channels
        ``(C, Y, X)`` picture.
    labels
        ``(Y, X)`` cells; -1 where nothing is known. Where that is so, the result shows something that is known.
    side
        Pixels along the result.
    zoom
        Pixels of the result per pixel of the picture.
    rng
        Source of chance.

    Returns
    -------
    tuple of Tensor
        Picture ``(C, side, side)`` float32 in 0-1 and labels ``(side, side)`` int32; outside the picture both are 0.
    """
    matrix = _random_turn(rng) / zoom * (side / 2)
    centre = _draw_centre(labels, matrix, rng)
    # Only what the square can touch is worked on: large pictures would cost most of the time otherwise.
    low = np.maximum(np.floor(centre - np.abs(matrix).sum(1)) - _MARGIN, 0).astype(int)
    high = np.ceil(centre + np.abs(matrix).sum(1)).astype(int) + _MARGIN
    channels = channels[:, low[1] : high[1], low[0] : high[0]]
    labels = labels[low[1] : high[1], low[0] : high[0]]
    height, width = labels.shape
    theta = np.concatenate((matrix, (centre - low)[:, None]), 1)
    theta = theta * 2 / np.array([[width], [height]])
    theta[:, 2] -= 1
    grid = F.affine_grid(torch.from_numpy(theta).float()[None], [1, 1, side, side], align_corners=False)
    source = torch.from_numpy(channels.copy()).float()[None] / 255
    place = grid
    if zoom < 0.75:  # shrinking without it would alias
        factor = 2 if zoom > 0.3 else 3
        source = F.pad(source, (0, -width % factor, 0, -height % factor), mode="replicate")
        place = (grid + 1) * torch.tensor([width / source.shape[3], height / source.shape[2]]) - 1
        source = F.avg_pool2d(source, factor)
    picture = F.grid_sample(source, place, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    x = ((grid[0, ..., 0] + 1) * width / 2 - 0.5).round().long()
    y = ((grid[0, ..., 1] + 1) * height / 2 - 0.5).round().long()
    valid = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    cut = torch.from_numpy(labels.copy())[y.clamp(0, height - 1), x.clamp(0, width - 1)]
    return picture, torch.where(valid, cut, torch.zeros_like(cut))


def _draw_centre(
    labels: NDArray[np.int32], matrix: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the ``(x, y)`` middle of a crop whose square a matrix spans; half of them lie on a cell.

    Otherwise sparse pictures would teach background only. Where a part of the picture is unknown, the others lie on
    what is known.
    """
    size = np.array(labels.shape[::-1])
    reach = np.minimum(np.abs(matrix).sum(1), size / 2)  # x, y: keep the square on the picture
    centre = rng.uniform(reach, size - reach)
    on_cell = rng.random() < 0.5
    if labels.min() < 0:
        chosen = _pixel_from(labels, 1, rng) if on_cell else None
        chosen = _pixel_from(labels, 0, rng) if chosen is None else chosen
        return centre if chosen is None else _nearest_centre(chosen, np.clip(chosen, reach, size - reach), matrix)
    chosen = _some_pixel_from(labels, 1, rng) if on_cell else None
    return centre if chosen is None else np.clip(chosen, reach, size - reach)


def _some_pixel_from(labels: NDArray[np.int32], least: int, rng: np.random.Generator) -> NDArray[np.float64] | None:
    """Return the ``(x, y)`` of a pixel with such a label or a higher one; None if a few tries find none."""
    at = rng.integers(0, labels.size, 64)
    hits = at[labels.reshape(-1)[at] >= least]
    return np.array(divmod(int(hits[0]), labels.shape[1])[::-1], float) if len(hits) else None


def _pixel_from(labels: NDArray[np.int32], least: int, rng: np.random.Generator) -> NDArray[np.float64] | None:
    """Return the ``(x, y)`` of a pixel with such a label or a higher one; None if there is none."""
    chosen = _some_pixel_from(labels, least, rng)
    if chosen is not None:
        return chosen
    found = np.flatnonzero(labels >= least)
    return np.array(divmod(int(rng.choice(found)), labels.shape[1])[::-1], float) if len(found) else None


def _nearest_centre(
    pixel: NDArray[np.float64], wanted: NDArray[np.float64], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the middle nearest to a wanted one, of a square that shows a pixel."""
    away = np.abs(np.linalg.solve(matrix, pixel + 0.5 - wanted)).max()  # in halves of the square's side
    return wanted if away <= _WITHIN else pixel + 0.5 + (wanted - pixel - 0.5) * (_WITHIN / away)


def _random_turn(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random rotation with a flip, a little stretch and shear, ``(2, 2)``."""
    angle = rng.uniform(0, 2 * math.pi) if rng.random() < 0.5 else rng.integers(4) * math.pi / 2
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if rng.random() < 0.5:
        turn = turn @ np.diag([-1.0, 1.0])
    if rng.random() < 0.4:
        stretch = math.exp(rng.normal(0, 0.12))
        turn = turn @ np.array([[stretch, rng.normal(0, 0.08)], [0.0, 1 / stretch]])
    return turn


def mix_channels(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Return ``(3, H, W)`` network channels (blank, nuclear, whole-cell) of a picture whose roles are known.

    Parameters
    ----------
    picture
        ``(2, H, W)`` nuclear, whole-cell; a channel that the picture does not have is all zero.
    rng
        Source of chance: a single channel now and then stands in the other place or in both; of two, one is dropped or
        they swap.
    """
    nuclear, cell = picture[0], picture[1]
    has_nuclear, has_cell = bool(nuclear.any()), bool(cell.any())
    if has_nuclear != has_cell:
        only = nuclear if has_nuclear else cell
        blank = torch.zeros_like(only)
        u = rng.random()
        nuclear, cell = (only, only) if u < 0.15 else (only, blank) if u < 0.3 else (blank, only)
    elif has_nuclear and has_cell:
        u = rng.random()
        if u < 0.15:
            nuclear = torch.zeros_like(nuclear)
        elif u < 0.25:
            nuclear, cell = torch.zeros_like(cell), torch.maximum(nuclear, cell)
    return torch.stack((torch.zeros_like(nuclear), nuclear, cell))


def damage(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the picture with other light, contrast, blur, noise and compression, in 0-1.

    Parameters
    ----------
    picture
        ``(3, H, W)`` in 0-1; a blank channel stays blank.
    rng
        Source of chance.
    """
    used = picture.flatten(1).amax(1) > 0
    if not bool(used.any()):
        return picture
    x = picture[used]
    x = _add_noise(_refocus(_relight(x, rng), rng), rng).clamp(0, 1)
    if rng.random() < 0.06:
        x = _compress(x, int(rng.integers(25, 80)))
    result = torch.zeros_like(picture)
    result[used] = x
    return result


def _relight(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return ``(C, H, W)`` inverted, with another gamma, gain and offset, and uneven light, each now and then."""
    if rng.random() < 0.12:
        x = 1 - x
    if rng.random() < 0.6:
        x = x.clamp(min=1e-4) ** math.exp(rng.normal(0, 0.4))
    if rng.random() < 0.25:
        x = x * _slow_field(x.shape[1], x.shape[2], rng)
    if rng.random() < 0.6:
        x = x * math.exp(rng.normal(-0.05, 0.3)) + rng.normal(0, 0.08)
    return x


def _refocus(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return ``(C, H, W)`` blurred or sharpened too much, now and then."""
    if rng.random() < 0.3:
        return _blur(x, float(rng.uniform(0.4, 1.8)))
    if rng.random() < 0.15:
        return x + (x - _blur(x, 1.2)) * float(rng.uniform(0.3, 1.2))
    return x


def _add_noise(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return ``(C, H, W)`` with the noise of a camera or of few photons, now and then."""
    if rng.random() < 0.45:
        noise = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))
        level = 10 ** rng.uniform(-2.3, -0.9)
        x = x + noise * level * (x.clamp(min=0.02).sqrt() if rng.random() < 0.5 else 1.0)
    return x


def _slow_field(height: int, width: int, rng: np.random.Generator) -> Tensor:
    """Return a smooth gain ``(1, H, W)`` around 1: uneven light."""
    coarse = torch.from_numpy(rng.uniform(0.5, 1.4, (1, 1, 3, 3)).astype(np.float32))
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0].clamp(0.2, 2.0)


def _blur(x: Tensor, sigma: float) -> Tensor:
    """Return ``(C, H, W)`` after a Gaussian of this standard deviation in pixels."""
    reach = max(1, math.ceil(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    padded = F.pad(x[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[:, :, None]), kernel[..., None])[:, 0]


def _compress(x: Tensor, quality: int) -> Tensor:
    """Return every channel of ``(C, H, W)`` after a JPEG round trip."""
    from PIL import Image as PillowImage

    channels = []
    for channel in x:
        buffer = io.BytesIO()
        PillowImage.fromarray((channel * 255).byte().numpy()).save(buffer, "JPEG", quality=quality)
        channels.append(torch.from_numpy(np.asarray(PillowImage.open(buffer), np.float32) / 255))
    return torch.stack(channels)
