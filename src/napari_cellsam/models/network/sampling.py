"""Bilinear sampling of feature maps at points and over windows, written as sums of table rows.

PyTorch's ``grid_sample`` is slow in training on a CPU, and in bfloat16 with channels-last memory it crashes there
(2.15). A sample is a weighted sum of four pixels' features, which is what an embedding bag computes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
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
    return _sample((points_xy + 0.5) / stride - 0.5, features)


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
    step = (torch.arange(n, device=windows.device) + 0.5) / n
    at = (windows[..., None, :2] + step[:, None] * (windows[..., None, 2:] - windows[..., None, :2])) / stride - 0.5
    rows, columns = at[..., 1, None].expand(-1, -1, n, n), at[..., None, :, 0].expand(-1, -1, n, n)  # (B, K, n, n)
    samples = _sample(torch.stack((columns, rows), -1).flatten(1, 3), features)
    return samples.view(*windows.shape[:2], n, n, features.shape[1]).permute(0, 1, 4, 2, 3)


def _sample(at: Tensor, features: Tensor) -> Tensor:
    """Return features ``(B, N, C)`` at ``(B, N, 2)`` x, y in steps of the grid, kept on the grid."""
    batch, channels, height, width = features.shape
    last = torch.tensor((width - 1, height - 1), device=at.device)
    at = torch.minimum(
        at.nan_to_num().clamp(min=0), last
    )  # no number has no pixel: a network that diverged gives those
    first = at.floor().long().minimum((last - 1).clamp(min=0))
    right, below = (at - first).unbind(-1)
    weights = torch.stack(((1 - below) * (1 - right), (1 - below) * right, below * (1 - right), below * right), -1)
    picture = torch.arange(batch, device=at.device)[:, None] * (height * width)
    corner = picture + first[..., 1] * width + first[..., 0]
    to_right, to_below = min(width - 1, 1), min(height - 1, 1) * width
    pixels = torch.stack((corner, corner + to_right, corner + to_below, corner + to_right + to_below), -1)
    table = features.permute(0, 2, 3, 1).flatten(0, 2)  # (B * H * W, C)
    add_up = _bagged if table.device.type == "cpu" else _gathered
    sums = add_up(table, pixels.flatten(0, 1), weights.flatten(0, 1).to(table.dtype))
    return sums.view(*at.shape[:2], channels)


def _bagged(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums ``(N, C)`` of rows ``(N, 4)`` of a table."""
    sums: Tensor = F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
    return sums


def _gathered(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Do the same where memory is fast, and embedding bags are new (Apple's GPUs, torch 2.10)."""
    return (F.embedding(rows, table) * weights[..., None]).sum(1)
