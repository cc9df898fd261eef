"""Prompts that are drawn from known cells: boxes, clicks, and clicks that correct an answer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_cellsam.models.network.window_decoder import WindowPrompts, window_around
from napari_cellsam.training.targets import Cells

__all__ = ["N_DRAWN", "choose_cells", "correct", "draw_prompts", "window_targets"]

N_DRAWN = 4  # most points of a prompt before it is corrected: three inside, or two corners and one, and one outside
_FORGOTTEN = 0.25  # share of corrected prompts of which nothing but the mask and the correction is known
_PAINTED = 0.25  # share of previous masks that say yes or no only, as an outline that a person drew
_SURE = 4.0  # their logits
_CARELESS = 0.3  # how much shallower in the error than the deepest place a click may be


def choose_cells(cells: Cells, n_most: int) -> Tensor:
    """Return rows of at most ``n_most`` random cells per picture, in order of picture."""
    order = torch.rand(len(cells.areas), device=cells.areas.device).add(cells.picture.float() * 2).argsort()
    picture = cells.picture[order]
    start = torch.searchsorted(picture.contiguous(), picture.contiguous())
    rank = torch.arange(len(picture), device=picture.device) - start
    return order[rank < n_most]


def draw_prompts(
    cells: Cells, chosen: Tensor, guesses: Tensor, n_slots: int = N_DRAWN + 1, box_share: float = 0.5
) -> WindowPrompts:
    """Draw a prompt for each chosen cell: a box that is a little off, or one to three clicks.

    Parameters
    ----------
    cells
        The batch's cells.
    chosen
        ``(N,)`` rows of the cells.
    guesses
        ``(M, 4)`` boxes that the detector guessed for the cells, or NaN. They stand for half of the boxes, since a mask
        must not trust a box more than the detector deserves.
    n_slots
        Points of a prompt, padding included; those from `N_DRAWN` on are left for corrective clicks.
    box_share
        Share of box prompts.
    """
    boxes = cells.boxes[chosen]
    n, device = len(chosen), boxes.device
    by_box = torch.rand(n, device=device) < box_share
    size = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    spread = torch.where(by_box, 0.05, 0.11)[:, None]
    noisy = boxes + torch.randn_like(boxes) * spread * size
    noisy = torch.cat((torch.minimum(noisy[:, :2], noisy[:, 2:]), torch.maximum(noisy[:, :2], noisy[:, 2:])), -1)
    guessed = (torch.rand(n, device=device) < 0.5) & guesses[chosen].isfinite().all(1)
    noisy = torch.where(guessed[:, None], guesses[chosen], noisy)
    windows = window_around(noisy)
    inside, outside = _clicks(cells, chosen, windows)
    points = torch.zeros(n, n_slots, 2, device=device)
    labels = torch.full((n, n_slots), -1, device=device)
    points[:, :3], labels[:, 0] = inside, 1
    extra = torch.rand(n, 2, device=device)
    labels[:, 1] = torch.where(extra[:, 0] < 0.25, 1, -1)
    points[:, 3] = outside
    labels[:, 3] = torch.where(extra[:, 1] < 0.3, 0, -1)
    corners = noisy.view(n, 2, 2)
    points[by_box, :2] = corners[by_box]
    labels[by_box] = -1
    labels[by_box, :2] = torch.tensor([2, 3], device=device)
    both = by_box & (extra[:, 0] < 0.15)
    labels[both, 2] = 1
    return WindowPrompts(cells.picture[chosen], windows, points, labels)


def _clicks(cells: Cells, chosen: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
    """Return three points inside each cell ``(N, 3, 2)``, half of the first ones central; one outside ``(N, 2)``."""
    n, device = len(chosen), windows.device
    grid = torch.rand(n, 48, 2, device=device)
    span = cells.boxes[chosen, None, 2:] - cells.boxes[chosen, None, :2]
    tries = (cells.boxes[chosen, None, :2] + grid * span).round()
    hit = _cell_at(cells, chosen, tries) == chosen[:, None] + 1
    weight = hit.float() + torch.rand(hit.shape, device=device) * 0.5
    best = weight.topk(3, dim=1).indices
    found = tries.gather(1, best[..., None].expand(-1, -1, 2))
    ok = hit.gather(1, best)
    centre = cells.centres[chosen, None].expand(-1, 3, -1)
    inside = torch.where(ok[..., None], found, centre)
    central = (torch.rand(n, device=device) < 0.5)[:, None]
    inside[:, 0] = torch.where(central, cells.centres[chosen], inside[:, 0])
    tries = windows[:, None, :2] + torch.rand(n, 24, 2, device=device) * (windows[:, None, 2:] - windows[:, None, :2])
    miss = _cell_at(cells, chosen, tries.round()) != chosen[:, None] + 1
    first = miss.float().add(torch.rand(miss.shape, device=device) * 0.5).argmax(1)
    return inside, tries[torch.arange(n, device=device), first]


def _cell_at(cells: Cells, chosen: Tensor, points: Tensor) -> Tensor:
    """Return the index under ``(N, P, 2)`` points of the chosen cells' pictures; 0 outside the picture."""
    height, width = cells.index.shape[1:]
    x, y = points[..., 0].long(), points[..., 1].long()
    valid = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    under = cells.index[cells.picture[chosen][:, None], y.clamp(0, height - 1), x.clamp(0, width - 1)]
    return torch.where(valid, under, torch.zeros_like(under))


def window_targets(cells: Cells, chosen: Tensor, windows: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the true masks over windows, and where they are known.

    Returns
    -------
    tuple of Tensor
        ``(N, side, side)`` shares of covered area, 0-1; ``(N, side, side)`` 1 where all of the area is known, else 0.
    """
    n = 2 * side
    step = (torch.arange(n, device=windows.device) + 0.5) / n
    x = windows[:, :1] + step * (windows[:, 2:3] - windows[:, :1])
    y = windows[:, 1:2] + step * (windows[:, 3:] - windows[:, 1:2])
    points = torch.stack((x[:, None].expand(-1, n, -1), y[:, :, None].expand(-1, -1, n)), -1).floor().flatten(1, 2)
    under = _cell_at(cells, chosen, points).unflatten(1, (n, n))[:, None]
    hit = under == chosen[:, None, None, None] + 1
    return F.avg_pool2d(hit.float(), 2)[:, 0], 1 - F.max_pool2d((under < 0).float(), 2)[:, 0]


def correct(
    prompts: WindowPrompts, logits: Tensor, target: Tensor, known: Tensor, slot: int = N_DRAWN
) -> WindowPrompts:
    """Add the click that a person would make next: about where the error is thickest, and the answer so far.

    Some prompts are forgotten and some answers become plain outlines, since people also correct cells that they did
    not ask for: those of an automatic run, or drawn by hand.

    Parameters
    ----------
    prompts
        What was asked.
    logits, target
        ``(N, side, side)`` what was answered and what is true.
    known
        ``(N, side, side)`` 1 where the truth is known, else 0: nobody would click there.
    slot
        Which of a prompt's points the click becomes.

    Returns
    -------
    WindowPrompts
        The prompts with the click and the logits as previous mask.
    """
    wrong = ((logits > 0) != (target > 0.5)) & (known > 0)
    # Repeated averaging finds the middle of the widest part, much as an arg-max of the distance transform does.
    depth = F.avg_pool2d(F.avg_pool2d(wrong.float()[:, None], 5, 1, 2), 5, 1, 2)[:, 0] * wrong
    depth = depth * (1 - _CARELESS * torch.rand_like(depth))  # people do not hit the very middle
    side = logits.shape[-1]
    at = depth.flatten(1).argmax(1)
    row, column = torch.div(at, side, rounding_mode="floor"), at % side
    share = torch.stack((column, row), -1).add(0.5) / side
    windows = prompts.windows
    point = windows[:, :2] + share * (windows[:, 2:] - windows[:, :2]) - 0.5
    inside = target.flatten(1).gather(1, at[:, None])[:, 0] > 0.5
    points, labels = prompts.points.clone(), prompts.labels.clone()
    points[:, slot] = point
    labels[:, slot] = torch.where(wrong.flatten(1).any(1), inside.long(), -1)
    labels[torch.rand(len(labels), device=labels.device) < _FORGOTTEN, :slot] = -1
    painted = torch.rand(len(labels), 1, 1, device=labels.device) < _PAINTED
    previous = torch.where(painted, logits.detach().sign() * _SURE, logits.detach())
    told = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
    return prompts._replace(points=points, labels=labels, previous=previous[:, None], has_previous=told)
