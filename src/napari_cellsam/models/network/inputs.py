"""The inputs of the published networks, made from a prepared picture (facts measured on the published package)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Layout", "Scale", "detector_input", "mask_input", "measure_scale", "squash"]

Layout = Literal["adv", "plain", "sam"]
"""How a checkpoint's networks were trained to see pictures; ``"sam"`` is segment-anything's own way."""

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
_LEVELS = 255
_SMALLEST_SPAN = 1e-6
_BRIGHTEST_PERCENT = 99.5
_GREEN, _BLUE = 1, 2


class Scale(NamedTuple):
    """The limits between which a picture's values are stretched.

    They belong to the whole picture: tiles of one picture share them, or seams show.

    Attributes
    ----------
    low, high
        ``(3,)`` smallest and largest level (0-255) of each channel, for the detector.
    floor, ceiling
        The smallest and the 99.5 percentile of all non-zero values, for the mask branch.
    mask_low, mask_high
        ``(3,)`` smallest and largest value of each channel between floor (0) and ceiling (1).
    """

    low: Tensor
    high: Tensor
    floor: float
    ceiling: float
    mask_low: Tensor
    mask_high: Tensor


def squash(prepared: Tensor, side: int) -> Tensor:
    """Return a picture ``(3, H, W)`` as ``(3, side, side)``: bilinear with antialias, the aspect ratio is not kept."""
    if prepared.shape[1:] == (side, side):
        return prepared
    return F.interpolate(prepared[None], size=(side, side), mode="bilinear", antialias=True, align_corners=False)[0]


def measure_scale(picture: Tensor) -> Scale:
    """Return the limits of a picture ``(3, H, W)`` in 0-1; the published package measures the squashed one."""
    levels = (picture * _LEVELS).floor()
    floor, ceiling = _limits(picture)
    stretched = _stretch(picture, floor, ceiling)
    return Scale(
        levels.amin((1, 2)), levels.amax((1, 2)), floor, ceiling, stretched.amin((1, 2)), stretched.amax((1, 2))
    )


def detector_input(picture: Tensor, scale: Scale, layout: Layout) -> Tensor:
    """Return what CellFinder's encoder sees of a squashed picture ``(3, side, side)``."""
    levels = (picture * _LEVELS).floor()
    if layout == "plain":
        return (levels - _channels(_MEAN, picture)) / _channels(_STD, picture)
    result = _min_max(levels, scale.low, scale.high)
    # A channel that the picture does not have takes the other one's values.
    blank = (scale.high <= scale.low).tolist()
    if blank[_GREEN]:
        result[_GREEN] = result[_BLUE]
    elif blank[_BLUE]:
        result[_BLUE] = result[_GREEN]
    return result


def mask_input(picture: Tensor, scale: Scale, layout: Layout) -> Tensor:
    """Return what the mask branch's encoder sees of a squashed picture ``(3, side, side)``."""
    if layout == "sam":  # one grey picture, as SAM saw grey pictures in its training
        picture = picture.amax(0, keepdim=True).expand(3, -1, -1)
    else:
        picture = _stretch(picture, scale.floor, scale.ceiling)
    if layout == "adv":
        picture = _min_max(picture, scale.mask_low, scale.mask_high)
    return (picture - _channels(_MEAN, picture) / _LEVELS) / (_channels(_STD, picture) / _LEVELS)


def _min_max(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (x - low[:, None, None]) / (high - low + _SMALLEST_SPAN)[:, None, None]


def _stretch(x: Tensor, floor: float, ceiling: float) -> Tensor:
    """Return values between floor and ceiling as 0-1; zeros where all values are alike."""
    if ceiling <= floor:
        return torch.zeros_like(x)
    return (x.clamp(floor, ceiling) - floor) / (ceiling - floor)


def _limits(picture: Tensor) -> tuple[float, float]:
    """Return the smallest and the 99.5 percentile of the non-zero values; zeros where there are none."""
    present = picture[picture != 0]
    if present.numel() == 0:
        return 0.0, 0.0
    place = _BRIGHTEST_PERCENT / 100 * (present.numel() - 1)
    below = math.floor(place)
    # Only the brightest values are sorted; torch.quantile would refuse large pictures.
    top = present.topk(present.numel() - below).values
    lower, upper = float(top[-1]), float(top[-2] if len(top) > 1 else top[-1])
    return float(present.min()), lower + (upper - lower) * (place - below)


def _channels(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device)[:, None, None]
