"""Query selection: where in the picture the compact CellFinder puts its anchor points."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DenseMaps", "Proposals"]

_PRIOR = 0.02  # share of pixels that are centres, for the first bias (Lin et al., focal loss, 2017)


class DenseMaps(NamedTuple):
    """What the dense head says at every pixel of the fine grid (stride 4).

    Attributes
    ----------
    centre
        ``(B, 1, H, W)`` logits: is this the centre of a cell?
    extent
        ``(B, 4, H, W)`` logarithms of the distances, in pixels, to the left, top, right and bottom edge of the cell
        under the pixel.
    inside
        ``(B, 2, H, W)`` logits: is this in a cell; is it at a border between cells? Help in training only.
    """

    centre: Tensor
    extent: Tensor
    inside: Tensor


class Proposals(nn.Module):
    """Predict centres and extents densely, and pick the local maxima of the centre map.

    Parameters
    ----------
    n_fine
        Channels of the fine features.
    stride
        Pixels of the picture per step of the fine grid.
    """

    def __init__(self, n_fine: int, stride: int = 4) -> None:
        super().__init__()
        self.stride = stride
        self.hidden = nn.Sequential(
            nn.Conv2d(n_fine, n_fine, 3, padding=1, bias=False), nn.BatchNorm2d(n_fine), nn.ReLU(inplace=True)
        )
        self.out = nn.Conv2d(n_fine, 7, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        bias = torch.zeros(7)
        bias[0] = math.log(_PRIOR / (1 - _PRIOR))
        bias[1:5] = math.log(12.0)
        self.out.bias = nn.Parameter(bias)

    def forward(self, fine: Tensor) -> DenseMaps:
        """Return the maps of ``(B, n_fine, H, W)`` features."""
        out = self.out(self.hidden(fine)).float()
        return DenseMaps(out[:, :1], out[:, 1:5], out[:, 5:])

    def peaks(self, maps: DenseMaps, n_most: int) -> tuple[Tensor, Tensor]:
        """Return the best local maxima of the centre map.

        Parameters
        ----------
        maps
            As `forward` returned them.
        n_most
            How many to return per picture at the most; all pictures return the same number, the surplus ones with
            logit -inf.

        Returns
        -------
        tuple of Tensor
            Points ``(B, N, 2)`` as x, y in pixels of the picture, and their logits ``(B, N)``, falling.
        """
        centre = maps.centre
        highest = F.max_pool2d(centre, 3, stride=1, padding=1)
        scores = centre.masked_fill(centre < highest, -torch.inf).flatten(1)
        n = min(n_most, int(torch.isfinite(scores).sum(1).max()))
        logits, index = scores.topk(max(n, 1), dim=1)
        width = centre.shape[-1]
        column, row = index % width, torch.div(index, width, rounding_mode="floor")
        points = torch.stack((column, row), -1).float() * self.stride + (self.stride - 1) / 2
        return points, logits
