"""Sine codes of positions, as Anchor DETR uses them (Wang et al., AAAI 2022)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["sine_1d", "sine_2d"]

_TEMPERATURE = 10_000.0


def sine_1d(position: Tensor, n_features: int = 256) -> Tensor:
    """Return the code of positions on a line.

    Parameters
    ----------
    position
        Any shape; one unit is the longest cycle of the fastest feature (published model: the whole field, 0-1).
    n_features
        Length of a code; sine and cosine alternate.

    Returns
    -------
    Tensor
        ``(*position.shape, n_features)`` float32.
    """
    index = torch.arange(n_features, dtype=torch.float32, device=position.device)
    rate = _TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / n_features)
    angle = position.float()[..., None] * (2 * math.pi) / rate
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2)


def sine_2d(position_xy: Tensor, n_features: int = 256) -> Tensor:
    """Return the code of positions in a plane, the half of y before the half of x.

    Parameters
    ----------
    position_xy
        ``(..., 2)`` as x, y.
    n_features
        Length of a code.

    Returns
    -------
    Tensor
        ``(..., n_features)`` float32.
    """
    half = n_features // 2
    return torch.cat((sine_1d(position_xy[..., 1], half), sine_1d(position_xy[..., 0], half)), dim=-1)
