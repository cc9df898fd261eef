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
    batch, n = points_xy.shape[:2]
    picture = torch.arange(batch, device=points_xy.device).repeat_interleave(n)
    x, y = ((points_xy.flatten(0, 1) + 0.5) / stride - 0.5).unbind(-1)
    return _sample(x, y, picture, features).view(batch, n, features.shape[1])


def cut_windows(features: Tensor, picture: Tensor, windows: Tensor, stride: int, n: int) -> Tensor:
    """Return features evenly over windows; outside the picture its border goes on.

    Parameters
    ----------
    features
        ``(B, C, H, W)``.
    picture
        ``(K,)`` index of the picture in the batch.
    windows
        ``(K, 4)`` x0, y0, x1, y1: outer edges in pixels of the picture.
    stride
        Pixels of the picture per step of the grid.
    n
        Samples along each side of a window.

    Returns
    -------
    Tensor
        ``(K, C, n, n)``, channels last in memory.
    """
    step = (torch.arange(n, device=windows.device) + 0.5) / n
    at = (windows[:, None, :2] + step[:, None] * (windows[:, None, 2:] - windows[:, None, :2])) / stride - 0.5
    samples = _sample(at[:, None, :, 0], at[:, :, None, 1], picture[:, None, None], features)
    return samples.view(-1, n, n, features.shape[1]).permute(0, 3, 1, 2)


def _sample(x: Tensor, y: Tensor, picture: Tensor, features: Tensor) -> Tensor:
    """Return features ``(N, C)`` at x, y in steps of the grid, kept on the grid, of pictures; all three broadcast."""
    height, width = features.shape[2:]
    (left, right), (above, below) = _between(x, width), _between(y, height)
    weights = torch.stack([down * across for down in (1 - below, below) for across in (1 - right, right)], -1)
    corner = (picture * height + above) * width + left
    to_right, to_below = min(width - 1, 1), min(height - 1, 1) * width
    pixels = torch.stack((corner, corner + to_right, corner + to_below, corner + to_right + to_below), -1)
    table = features.permute(0, 2, 3, 1).flatten(0, 2)  # (B * H * W, C)
    add_up = _bagged if table.device.type == "cpu" else _gathered
    return add_up(table, pixels.view(-1, 4), weights.to(table.dtype).view(-1, 4))


def _between(at: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the pixel before each place on a line of ``n``, and how far behind it the place is."""
    at = at.nan_to_num().clamp(0, n - 1)  # no number has no pixel: a network that diverged gives those
    first = at.floor().long().clamp(max=max(n - 2, 0))
    return first, at - first


def _bagged(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums ``(N, C)`` of rows ``(N, 4)`` of a table."""
    sums: Tensor = F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
    return sums


def _gathered(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Do the same where memory is fast, and embedding bags are new (Apple's GPUs, torch 2.10)."""
    return (F.embedding(rows, table) * weights[..., None]).sum(1)
