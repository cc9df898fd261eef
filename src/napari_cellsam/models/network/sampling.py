"""Bilinear sampling of feature maps at points and over windows, written as matrix products.

PyTorch's ``grid_sample`` is slow in training on a CPU, and in bfloat16 with channels-last memory it crashes there
(2.15). Interpolation weights are hat functions, so a product with a small matrix does the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cut_windows", "sample_at"]


def sample_at(features: Tensor, points_xy: Tensor, stride: int) -> Tensor:
    """Return features at points; outside the picture its border goes on.

    Parameters
    ----------
    features
        ``(B, C, H, W)``.
    points_xy
        ``(B, N, 2)`` in pixels of the picture; (0, 0) is the centre of its first pixel.
    stride
        Pixels of the picture per step of the grid.

    Returns
    -------
    Tensor
        ``(B, N, C)``.
    """
    grid = features.permute(0, 2, 3, 1)  # (B, H, W, C)
    at = (points_xy + 0.5) / stride - 0.5
    across = _hats(at[..., 0], grid.shape[2]).to(features.dtype)
    down = _hats(at[..., 1], grid.shape[1]).to(features.dtype)
    return (down[..., :, None] * across[..., None, :]).flatten(2) @ grid.flatten(1, 2)


def cut_windows(features: Tensor, windows: Tensor, stride: int, n: int) -> Tensor:
    """Return features evenly over windows; outside the picture its border goes on.

    Parameters
    ----------
    features
        ``(B, C, H, W)``.
    windows
        ``(B, K, 4)`` x0, y0, x1, y1: outer edges in pixels of the picture.
    stride
        Pixels of the picture per step of the grid.
    n
        Samples along each side of a window.

    Returns
    -------
    Tensor
        ``(B, K, C, n, n)``.
    """
    grid = features.permute(0, 2, 3, 1)  # (B, H, W, C)
    batch, height, width, channels = grid.shape
    step = (torch.arange(n, device=windows.device) + 0.5) / n
    at = (windows[..., None, :2] + step[:, None] * (windows[..., None, 2:] - windows[..., None, :2])) / stride - 0.5
    across = _hats(at[..., 0], width).to(features.dtype)  # (B, K, n, W)
    down = _hats(at[..., 1], height).to(features.dtype)  # (B, K, n, H)
    rows = down.flatten(1, 2) @ grid.reshape(batch, height, width * channels)  # (B, K * n, W * C)
    rows = rows.view(batch, -1, n, width, channels)
    return (across[:, :, None] @ rows).permute(0, 1, 4, 2, 3)


def _hats(position: Tensor, n: int) -> Tensor:
    """Return the bilinear weights ``(..., n)`` of positions in steps of the grid, kept on the grid."""
    position = position.clamp(0, n - 1)[..., None]
    return (1 - (position - torch.arange(n, device=position.device)).abs()).clamp(min=0)
