"""The set-prediction loss of CellFinder: each cell is answered for by one query, all others are background.

As Anchor DETR has it (Wang et al., AAAI 2022), after Carion et al. (ECCV 2020). What is unknown is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_cellsam.models.network.losses import giou
from napari_cellsam.training.targets import Cells

__all__ = ["Answer", "match", "set_losses", "unknown_share"]

Answer = tuple[Tensor, Tensor]
"""Logits ``(B, N, n_classes)``, of which the last is "cell", and boxes ``(B, N, 4)``: cx, cy, w, h, 0-1 of the crop."""

_SCORE, _SHIFT, _OVERLAP = 2.0, 5.0, 2.0  # weights of losses and of costs, as in Anchor DETR
_ALPHA, _GAMMA = 0.25, 2.0  # of the focal loss
_MOSTLY = 0.5  # share of a box in the unknown from which nobody can say that it is wrong
_HOPELESS = 1e6


class _Targets(NamedTuple):
    boxes: Tensor  # (M, 4) as answers'
    picture: Tensor  # (M,)
    unknown: Tensor  # (B, H, W) bool


def set_losses(answers: Sequence[Answer], cells: Cells) -> dict[str, Tensor]:
    """Return the weighted losses of the answers of every decoder layer, on average over layers.

    Parameters
    ----------
    answers
        Of every layer.
    cells
        Of the crops. A query that answers for no cell and whose box lies mostly where nothing is known costs nothing.
    """
    targets = _targets(cells)
    parts = [_layer_losses(logits.float(), boxes.float(), targets) for logits, boxes in answers]
    return {name: sum((part[name] for part in parts), torch.zeros(())) / len(parts) for name in parts[0]}


def _targets(cells: Cells) -> _Targets:
    height, width = cells.index.shape[1:]
    size = cells.boxes.new_tensor([width, height])
    low, high = cells.boxes[:, :2] / size, cells.boxes[:, 2:] / size
    return _Targets(torch.cat(((low + high) / 2, high - low), -1), cells.picture, cells.index < 0)


def _layer_losses(logits: Tensor, boxes: Tensor, targets: _Targets) -> dict[str, Tensor]:
    n_cells = max(len(targets.boxes), 1)
    picture, query, cell = match(logits.detach(), boxes.detach(), targets.boxes, targets.picture)
    wanted = torch.zeros_like(logits)
    wanted[picture, query, -1] = 1
    counts = (unknown_share(boxes.detach(), targets.unknown) < _MOSTLY).float()
    counts[picture, query] = 1
    score = torch.where(wanted > 0, _as_cell(logits), _as_background(logits)) * counts[..., None]
    answer, truth = boxes[picture, query], targets.boxes[cell]
    return {
        "score": _SCORE * score.sum() / n_cells,
        "box": _SHIFT * F.l1_loss(answer, truth, reduction="sum") / n_cells,
        "overlap": _OVERLAP * (1 - giou(_corners(answer), _corners(truth))).sum() / n_cells,
    }


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, true_boxes: Tensor, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which query answers best for which cell, one to one.

    Parameters
    ----------
    logits, boxes
        As in `Answer`.
    true_boxes, picture
        ``(M, 4)`` and ``(M,)`` of the cells.

    Returns
    -------
    tuple of Tensor
        Picture, query and cell of each pair; of more cells than queries some are left out.
    """
    from scipy.optimize import linear_sum_assignment

    pairs = [torch.zeros(3, 0, dtype=torch.long)]
    for i in range(len(logits)):
        own = (picture == i).nonzero()[:, 0]
        cost = _costs(logits[i, :, -1], boxes[i], true_boxes[own])
        # A network that went astray is told by its losses, not by the matching.
        query, cell = linear_sum_assignment(cost.nan_to_num(_HOPELESS, _HOPELESS, -_HOPELESS).cpu().numpy())
        pairs.append(torch.stack((torch.full((len(query),), i), torch.as_tensor(query), own.cpu()[cell])))
    found = torch.cat(pairs, 1).to(logits.device)
    return found[0], found[1], found[2]


def _costs(logits: Tensor, boxes: Tensor, true_boxes: Tensor) -> Tensor:
    """Return what it would cost ``(N, M)`` if a query answered for a cell."""
    overlap = giou(_corners(boxes)[:, None], _corners(true_boxes)[None])
    score = (_as_cell(logits) - _as_background(logits))[:, None]
    return _SCORE * score + _SHIFT * torch.cdist(boxes, true_boxes, p=1) - _OVERLAP * overlap


def _as_cell(logits: Tensor) -> Tensor:
    """Return the focal loss of what should be a cell (Lin et al., ICCV 2017), with its whole gradient."""
    return _ALPHA * (-logits).sigmoid() ** _GAMMA * -F.logsigmoid(logits)


def _as_background(logits: Tensor) -> Tensor:
    return (1 - _ALPHA) * logits.sigmoid() ** _GAMMA * -F.logsigmoid(-logits)


def unknown_share(boxes: Tensor, unknown: Tensor) -> Tensor:
    """Return the share ``(B, N)`` of boxes' area in which nothing is known.

    Parameters
    ----------
    boxes
        ``(B, N, 4)`` as in `Answer`; what of them lies beyond the crop does not count.
    unknown
        ``(B, H, W)`` bool.
    """
    height, width = unknown.shape[1:]
    sums = F.pad(unknown.double().cumsum(1).cumsum(2), (1, 0, 1, 0))  # (B, H + 1, W + 1)
    size = boxes.new_tensor([width, height])
    corners = _corners(boxes.nan_to_num())
    low = torch.minimum((corners[..., :2] * size).floor().clamp(min=0), size - 1).long()
    high = torch.maximum(torch.minimum((corners[..., 2:] * size).ceil(), size).long(), low + 1)
    picture = torch.arange(len(boxes), device=boxes.device)[:, None]
    (x0, y0), (x1, y1) = low.unbind(-1), high.unbind(-1)
    hidden = sums[picture, y1, x1] - sums[picture, y0, x1] - sums[picture, y1, x0] + sums[picture, y0, x0]
    return (hidden / ((x1 - x0) * (y1 - y0))).float()


def _corners(boxes: Tensor) -> Tensor:
    """Return x0, y0, x1, y1 of boxes given as cx, cy, w, h."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)
