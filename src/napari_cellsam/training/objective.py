"""The training objective: what a batch of pictures costs the compact model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_cellsam.models.network.compact import CompactCellSam, Features, Found
from napari_cellsam.models.network.losses import dice_loss, focal_loss, giou, quality_focal_loss
from napari_cellsam.models.network.proposals import DenseMaps
from napari_cellsam.training.prompts import N_DRAWN, choose_cells, correct, draw_prompts, window_targets
from napari_cellsam.training.targets import Cells, cells_of, dense_targets

__all__ = ["detection_losses", "losses", "mask_losses"]

# per 256 x 256 pixels:
_N_PEAKS, _N_RANDOM = 64, 24  # queries: proposed, and random points inside cells
_FAIR = 0.2  # generalized IoU from which a guessed box serves as a prompt
_FIRST = 0.5  # what the first answer weighs beside all corrections together
_N_MASKS, _N_MASKS_ALONE = 6, 10  # cells whose masks are decoded, in the first and in the second stage


def losses(
    model: CompactCellSam, pictures: Tensor, labels: Tensor, *, masks_only: bool = False, corrected: bool = False
) -> dict[str, Tensor]:
    """Return the weighted losses of a batch.

    Parameters
    ----------
    model
        The model in training.
    pictures
        ``(B, 3, H, W)`` in 0-1.
    labels
        ``(B, H, W)`` integers, 0 background; what is below 0 is unknown and costs nothing.
    masks_only
        Whether only the mask branch learns (second stage); it then also learns from corrective clicks.
    corrected
        Whether it learns from corrective clicks in the first stage as well: a model that knows them forgets them
        otherwise.

    Returns
    -------
    dict
        Scalars by name; their sum is minimized.
    """
    cells = cells_of(labels)
    area = labels.shape[1] * labels.shape[2] / 256**2
    if masks_only:
        with torch.no_grad():
            wide, fine = model.backbone(pictures * 2 - 0.5)
            frozen = Features(wide, wide, fine)
            guesses = _guesses(_find(model, frozen, model.propose(frozen), cells), cells)
        features = Features(wide, model.neck(wide), fine)
        return mask_losses(model, features, cells, guesses, max(round(_N_MASKS_ALONE * area), 1), _n_rounds(model))
    features = model.encode(pictures)
    detection, guesses = detection_losses(model, features, cells)
    rounds = _n_rounds(model) if corrected else 1
    return detection | mask_losses(model, features, cells, guesses, max(round(_N_MASKS * area), 1), rounds)


def detection_losses(model: CompactCellSam, features: Features, cells: Cells) -> tuple[dict[str, Tensor], Tensor]:
    """Return the losses of the dense head and of CellFinder, and a guessed box ``(M, 4)`` of each cell or NaN."""
    maps = model.propose(features)
    found = _find(model, features, maps, cells)
    return _dense_losses(maps, cells) | _query_losses(found, cells), _guesses(found, cells)


def _find(model: CompactCellSam, features: Features, maps: DenseMaps, cells: Cells) -> Found:
    points = _query_points(model, maps, cells)
    return model.find(features, maps, points, torch.rand(2, device=points.device) * 1024)


@torch.no_grad()
def _guesses(found: Found, cells: Cells) -> Tensor:
    """Return a box ``(M, 4)`` that some query guessed for each cell; NaN where none or a hopeless one did."""
    under = _cells_under(found.points, cells)
    boxes, row = found.boxes[-1][under > 0], under[under > 0] - 1
    fair = giou(boxes, cells.boxes[row]) > _FAIR
    result = torch.full_like(cells.boxes, torch.nan)
    result[row[fair]] = boxes[fair]
    return result


def _dense_losses(maps: DenseMaps, cells: Cells) -> dict[str, Tensor]:
    target = dense_targets(cells)
    known = target.known
    n_cells = max(len(cells.areas), 1)
    centre = (quality_focal_loss(maps.centre[:, 0], target.centre) * known).sum() / n_cells
    within = (target.cell > 0).float() * known * (0.2 + target.centre)
    total = within.sum().clamp(min=1)
    extent = maps.extent.permute(0, 2, 3, 1)
    log_error = (F.smooth_l1_loss(extent, target.extent, reduction="none", beta=0.1).mean(-1) * within).sum() / total
    signs = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=extent.device)
    overlap = giou(extent.clamp(max=7).exp() * signs, target.extent.exp() * signs)
    inside = F.binary_cross_entropy_with_logits(maps.inside, target.inside, reduction="none").mean(1)
    inside = (inside * known).sum() / known.sum().clamp(min=1)
    box_error = ((1 - overlap) * within).sum() / total
    return {"centre": centre, "extent": log_error + 0.5 * box_error, "inside": 0.5 * inside}


@torch.no_grad()
def _query_points(model: CompactCellSam, maps: DenseMaps, cells: Cells) -> Tensor:
    """Return ``(B, N, 2)`` anchors: the best peaks, and random points inside cells that teach boxes and duplicates."""
    batch, height, width = cells.index.shape
    area = height * width / 256**2
    n_random = round(_N_RANDOM * area)
    peaks, _ = model.proposals.peaks(maps, round(_N_PEAKS * area))
    tries = torch.randint(height * width, (batch, 8 * n_random), device=peaks.device)
    inside = cells.index.flatten(1).gather(1, tries) > 0
    best = (inside.float() + torch.rand(inside.shape, device=peaks.device) * 0.5).topk(n_random, dim=1).indices
    at = tries.gather(1, best)
    random = torch.stack((at % width, torch.div(at, width, rounding_mode="floor")), -1).float()
    return torch.cat((peaks, random), 1)


def _query_losses(found: Found, cells: Cells) -> dict[str, Tensor]:
    """Return the set-prediction losses of every decoder layer.

    A query can only answer for the cell under its anchor point, so the best one-to-one matching is the best query of
    each cell; all others are to score 0. Boxes are learned by every query inside a cell.
    """
    under = _cells_under(found.points, cells)  # (B, N)
    known, within = (under >= 0).float(), under > 0
    n_cells = max(len(cells.areas), 1)
    target = cells.boxes[under[within] - 1]
    score, box = found.points.new_zeros(()), found.points.new_zeros(())
    for logits, boxes in zip(found.logits, found.boxes, strict=True):
        overlap = giou(boxes[within], target) if len(target) else boxes.new_zeros(0)
        wanted = _best_queries(logits.detach(), overlap.detach(), under, len(cells.areas))
        score = score + (focal_loss(logits, wanted) * known).sum() / n_cells
        size = (target[:, 2:] - target[:, :2] + 2).repeat(1, 2)
        shift = ((boxes[within] - target) / size).abs().clamp(max=4).mean(-1)
        box = box + ((1 - overlap) + 2 * shift).sum() / max(len(target), 1)
    n_layers = len(found.logits)
    return {"score": 2 * score / n_layers, "box": box / n_layers}


def _cells_under(points: Tensor, cells: Cells) -> Tensor:
    """Return `Cells.index` under points ``(B, N, 2)``."""
    height, width = cells.index.shape[1:]
    x = points[..., 0].round().long().clamp(0, width - 1)
    y = points[..., 1].round().long().clamp(0, height - 1)
    picture = torch.arange(len(x), device=x.device)[:, None].expand_as(x)
    return cells.index[picture, y, x]


def _best_queries(logits: Tensor, overlap: Tensor, under: Tensor, n_cells: int) -> Tensor:
    """Return ``(B, N)`` 1 for the query that answers best for its cell, 0 for the others."""
    within = under > 0
    quality = logits[within].sigmoid() + overlap
    cell = under[within] - 1
    best = torch.full((n_cells,), -torch.inf, device=logits.device).scatter_reduce(0, cell, quality, "amax")
    chosen = quality == best[cell]
    # Two queries at one point tie: the first one is taken.
    order = torch.arange(len(cell), device=cell.device)
    first = torch.full((n_cells,), len(cell), device=cell.device).scatter_reduce(0, cell[chosen], order[chosen], "amin")
    wanted = torch.zeros_like(logits)
    wanted[within] = (first[cell] == order).to(logits.dtype)
    return wanted


def mask_losses(
    model: CompactCellSam, features: Features, cells: Cells, guesses: Tensor, n_masks: int, rounds: int
) -> dict[str, Tensor]:
    """Return the losses of the mask branch on ``n_masks`` cells per picture; further rounds add a corrective click."""
    chosen = choose_cells(cells, n_masks)
    if len(chosen) == 0:
        return {}
    prompts = draw_prompts(cells, chosen, guesses, model.config.n_slots)
    target, known = window_targets(cells, chosen, prompts.windows, model.masks.side)
    mask, quality = target.new_zeros(()), target.new_zeros(())
    for turn in range(rounds):
        logits, predicted = model.masks(features.embedding, features.fine, prompts)
        cross = F.binary_cross_entropy_with_logits(logits, target, weight=known, reduction="none").sum((1, 2))
        cross = cross / known.sum((1, 2)).clamp(min=1)
        weight = 1.0 if rounds == 1 else _FIRST if turn == 0 else (1 - _FIRST) / (rounds - 1)
        mask = mask + weight * (3 * cross + dice_loss(logits, target, known)).mean()
        quality = quality + weight * F.mse_loss(predicted, _iou(logits.detach(), target, known))
        if turn + 1 < rounds:
            prompts = correct(prompts, logits.detach(), target, known, N_DRAWN + turn)
    return {"mask": 2 * mask, "quality": quality}


def _n_rounds(model: CompactCellSam) -> int:
    """Return how often masks are asked for, with corrections: at random, so that every number of clicks is known."""
    return 2 + int(torch.randint(model.config.n_slots - N_DRAWN, ()))


def _iou(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return the IoU ``(N,)`` of masks with the truth, where that is known."""
    answer, truth = (logits > 0) & (known > 0), target > 0.5
    both = (answer & truth).flatten(1).sum(1)
    return both / (answer | truth).flatten(1).sum(1).clamp(min=1)
