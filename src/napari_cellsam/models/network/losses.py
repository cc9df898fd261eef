"""Training losses of the compact model's detector and mask branch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dice_loss", "focal_loss", "giou", "quality_focal_loss"]


def quality_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss for soft targets, element by element (Li et al., NeurIPS 2020, equation 6, beta 2).

    Parameters
    ----------
    logits, target
        The same shape; targets are 0-1.
    """
    error = (logits.sigmoid() - target).square()
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none") * error.detach()


def focal_loss(logits: Tensor, target: Tensor, alpha: float = 0.25) -> Tensor:
    """Return the sigmoid focal loss, element by element (Lin et al., ICCV 2017, gamma 2).

    Parameters
    ----------
    logits, target
        The same shape; targets are 0 or 1.
    alpha
        Weight of targets that are 1; the others weigh ``1 - alpha``.
    """
    weight = torch.where(target > 0.5, alpha, 1 - alpha)
    return weight * quality_focal_loss(logits, target)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalized IoU of pairs of boxes (Rezatofighi et al., CVPR 2019).

    Parameters
    ----------
    a, b
        ``(..., 4)`` as x0, y0, x1, y1.

    Returns
    -------
    Tensor
        ``(...)``, -1 to 1.
    """
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    outer = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    union = (area_a + area_b - inner).clamp(min=1e-6)
    return inner / union - (outer - union) / outer.clamp(min=1e-6)


def dice_loss(logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Return 1 - Dice of each mask (Milletari et al., 3DV 2016).

    Parameters
    ----------
    logits, target
        ``(N, h, w)``; targets are 0-1.
    known
        ``(N, h, w)`` 1 where a pixel counts, else 0; None for everywhere.

    Returns
    -------
    Tensor
        ``(N,)``.
    """
    p, t = (x if known is None else x * known for x in (logits.sigmoid(), target))
    p, t = p.flatten(1), t.flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / (p.square().sum(1) + t.square().sum(1) + 1)
