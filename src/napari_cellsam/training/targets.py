"""What the compact model should have answered, computed from label images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Cells", "DenseTargets", "cells_of", "dense_targets"]

_SPREAD = 0.16  # standard deviation of the centre target, as a share of the box's sides
_SMALLEST_SPREAD = 2.2  # pixels: the target of the smallest cell still covers one step of the fine grid


@dataclass(frozen=True, eq=False)
class Cells:
    """Every cell of a batch of label images.

    Attributes
    ----------
    index
        ``(B, H, W)`` int64: row of the cell under each pixel plus 1, 0 background, -1 ignored or unknown.
    picture
        ``(M,)`` which image of the batch.
    boxes
        ``(M, 4)`` x0, y0, x1, y1: centres of the outermost pixels.
    centres
        ``(M, 2)`` x, y: the cell's pixel nearest to its centroid.
    areas
        ``(M,)`` pixels.
    """

    index: Tensor
    picture: Tensor
    boxes: Tensor
    centres: Tensor
    areas: Tensor


class DenseTargets(NamedTuple):
    """Targets of the dense head on the fine grid.

    Attributes
    ----------
    centre
        ``(B, h, w)`` 0-1.
    extent
        ``(B, h, w, 4)`` logarithms of distances to left, top, right, bottom in pixels; meaningful where ``cell`` > 0.
    inside
        ``(B, 2, h, w)`` in a cell; at a border.
    cell
        ``(B, h, w)`` as `Cells.index`.
    known
        ``(B, h, w)`` 1 where every pixel of the step is known, else 0.
    """

    centre: Tensor
    extent: Tensor
    inside: Tensor
    cell: Tensor
    known: Tensor


def cells_of(labels: Tensor, smallest: int = 12) -> Cells:
    """Measure every cell of label images.

    Parameters
    ----------
    labels
        ``(B, H, W)`` integers, 0 background; what is below 0 is unknown.
    smallest
        Cells with fewer visible pixels are ignored: neither wanted nor punished.

    Returns
    -------
    Cells
        The cells in order of picture and label.
    """
    unknown, labels = labels < 0, labels.long().clamp(min=0)
    n_labels = int(labels.max()) + 1
    offset = torch.arange(len(labels), device=labels.device)[:, None, None] * n_labels
    keys = labels + offset
    areas = torch.bincount(keys.flatten(), minlength=len(labels) * n_labels)
    keep = areas >= smallest
    keep[::n_labels] = False  # background
    row = torch.where(keep, keep.cumsum(0), -1)
    row[::n_labels] = 0
    index = torch.where(unknown, -1, row[keys])
    return _measure(index, int(keep.sum()))


def _measure(index: Tensor, n: int) -> Cells:
    batch, height, width = index.shape
    where = index > 0
    picture, y, x = where.nonzero(as_tuple=True)
    cell = index[where] - 1
    xy = torch.stack((x, y), -1).float()
    pair = cell[:, None].expand(-1, 2)
    low = torch.full((n, 2), torch.inf, device=index.device).scatter_reduce(0, pair, xy, "amin")
    high = torch.full((n, 2), -torch.inf, device=index.device).scatter_reduce(0, pair, xy, "amax")
    areas = torch.bincount(cell, minlength=n)
    centroid = torch.zeros(n, 2, device=index.device).index_add(0, cell, xy) / areas[:, None]
    distance = (xy - centroid[cell]).square().sum(-1)
    nearest = torch.full((n,), torch.inf, device=index.device).scatter_reduce(0, cell, distance, "amin")
    hit = (distance == nearest[cell]).nonzero()[:, 0]
    centres = torch.zeros(n, 2, device=index.device)
    centres[cell[hit]] = xy[hit]
    pictures = torch.zeros(n, dtype=torch.long, device=index.device)
    pictures[cell] = picture
    return Cells(index, pictures, torch.cat((low, high), -1), centres, areas)


def dense_targets(cells: Cells, stride: int = 4) -> DenseTargets:
    """Return the dense head's targets.

    Parameters
    ----------
    cells
        The batch's cells.
    stride
        Pixels per step of the fine grid.
    """
    index = cells.index
    device = index.device
    cell = index[:, stride // 2 :: stride, stride // 2 :: stride].clone()
    height, width = cell.shape[1:]
    # A cell smaller than a step must own the step in which its centre lies.
    known = 1 - F.max_pool2d((index < 0).float()[:, None], stride)[:, 0]
    column, row = (cells.centres / stride).long().unbind(-1)
    cell[cells.picture, row, column] = torch.arange(1, len(cells.areas) + 1, device=device)
    half = (stride - 1) / 2
    x = torch.arange(width, device=device) * stride + half
    y = torch.arange(height, device=device)[:, None] * stride + half
    if len(cells.areas) == 0:
        empty = torch.zeros(cell.shape, device=device)
        return DenseTargets(empty, empty[..., None].expand(-1, -1, -1, 4), _inside(index, stride), cell, known)
    under = (cell - 1).clamp(min=0)
    boxes, centres = cells.boxes[under], cells.centres[under]  # (B, h, w, 4), (B, h, w, 2)
    spread = ((boxes[..., 2:] - boxes[..., :2] + 1) * _SPREAD).clamp(min=_SMALLEST_SPREAD)
    away = ((x - centres[..., 0]) / spread[..., 0]).square() + ((y - centres[..., 1]) / spread[..., 1]).square()
    centre = torch.where(cell > 0, (-0.5 * away).exp(), torch.zeros_like(away))
    centre[cells.picture, row, column] = 1.0
    reach = torch.stack((x - boxes[..., 0], y - boxes[..., 1], boxes[..., 2] - x, boxes[..., 3] - y), -1)
    return DenseTargets(centre, reach.clamp(min=0.5).log(), _inside(index, stride), cell, known)


def _inside(index: Tensor, stride: int) -> Tensor:
    """Return ``(B, 2, h, w)``: share of cell pixels in a step, and whether a cell's border runs through it."""
    covered = (index > 0).float()[:, None]
    border = torch.zeros_like(covered)
    border[:, 0, 1:] = _differ(index[:, 1:], index[:, :-1])
    border[:, 0, :, 1:] += _differ(index[:, :, 1:], index[:, :, :-1])
    return torch.cat((F.avg_pool2d(covered, stride), F.max_pool2d(border.clamp(max=1), stride)), 1)


def _differ(a: Tensor, b: Tensor) -> Tensor:
    """Return 1 where neighbours are of different cells; the end of what is known is no border."""
    return ((a != b) & (a >= 0) & (b >= 0)).float()
