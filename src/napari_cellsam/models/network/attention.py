"""Row-column decoupled attention (RCDA) of Anchor DETR (Wang et al., AAAI 2022, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["RowColumnAttention"]

_QUERIES_AT_ONCE = 1024  # bounds the (queries, rows, channels) intermediate


class RowColumnAttention(nn.Module):
    """Attend to a grid by one attention over its columns and one over its rows.

    Keys of the row attention are averaged over rows and those of the column attention over columns, so a query compares
    itself with ``W + H`` keys in place of ``W * H``.

    Parameters
    ----------
    width
        Channels of queries, keys and values.
    n_heads
        Number of attention heads.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.in_proj_weight = nn.Parameter(torch.empty(5 * width, width))  # q_row, q_col, k_row, k_col, v
        self.in_proj_bias = nn.Parameter(torch.zeros(5 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project(self, part: int, x: Tensor) -> Tensor:
        """Return one of the five projections (0-4: q_row, q_col, k_row, k_col, v) of ``(..., width)``."""
        width = self.out_proj.in_features
        span = slice(part * width, (part + 1) * width)
        return F.linear(x, self.in_proj_weight[span], self.in_proj_bias[span])

    def keys_and_values(self, grid: Tensor, code_x: Tensor, code_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what queries attend to.

        Parameters
        ----------
        grid
            ``(B, H, W, C)`` tokens.
        code_x, code_y
            ``(W, C)`` and ``(H, C)`` position codes; values carry none.

        Returns
        -------
        tuple of Tensor
            Row keys ``(B, heads, W, D)``, column keys ``(B, heads, H, D)`` and values ``(B, heads, W, H * D)``.
        """
        batch, height, width, channels = grid.shape
        # A projection is linear, so the mean may be taken before it.
        key_row = self._heads(self.project(2, grid.mean(1) + code_x))
        key_col = self._heads(self.project(3, grid.mean(2) + code_y))
        value = self.project(4, grid).view(batch, height, width, self.n_heads, channels // self.n_heads)
        value = value.permute(0, 3, 2, 1, 4).flatten(3)  # (B, heads, W, H * D)
        return key_row, key_col, value

    def forward(self, query_row: Tensor, query_col: Tensor, memory: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the attended values of every query.

        Parameters
        ----------
        query_row, query_col
            ``(B, N, C)`` queries with the position code of x and of y.
        memory
            What `keys_and_values` returned.

        Returns
        -------
        Tensor
            ``(B, N, C)``.
        """
        row, col = self._heads(self.project(0, query_row)), self._heads(self.project(1, query_col))
        parts = [
            self._attend(r, c, memory)
            for r, c in zip(row.split(_QUERIES_AT_ONCE, 2), col.split(_QUERIES_AT_ONCE, 2), strict=True)
        ]
        result: Tensor = self.out_proj(torch.cat(parts, 1))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)  # (B, heads, N, D)

    def _attend(self, row: Tensor, col: Tensor, memory: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        key_row, key_col, value = memory
        depth = row.shape[-1]
        to_row = (row * depth**-0.5 @ key_row.transpose(-1, -2)).softmax(-1)  # (B, heads, N, W)
        to_col = (col * depth**-0.5 @ key_col.transpose(-1, -2)).softmax(-1)  # (B, heads, N, H)
        # First the mean over each row, for all rows at once, then that over the rows: no (N, H * W) weights are needed.
        of_rows = (to_row.to(value.dtype) @ value).unflatten(3, (-1, depth))  # (B, heads, N, H, D)
        mean = torch.bmm(to_col.to(value.dtype).flatten(0, 2)[:, None], of_rows.flatten(0, 2))  # (B * heads * N, 1, D)
        result: Tensor = mean.view(*to_col.shape[:3], depth).transpose(1, 2).flatten(2)
        return result
