"""The encoder and decoder layers of CellFinder's Anchor DETR (Wang et al., AAAI 2022, figure 3)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from napari_cellsam.models.network.attention import RowColumnAttention

__all__ = ["DecoderLayer", "EncoderLayer", "FeedForward", "Mlp"]


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int) -> None:
        super().__init__()
        sizes = [n_in] + [n_hidden] * (n_layers - 1) + [n_out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., n_in)`` to ``(..., n_out)``."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        result: Tensor = self.layers[-1](x)
        return result


class FeedForward(nn.Module):
    """Two linear layers with a residual connection and a norm after it."""

    def __init__(self, width: int, n_hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, n_hidden)
        self.linear2 = nn.Linear(n_hidden, width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to itself."""
        result: Tensor = self.norm2(x + self.dropout(self.linear2(self.dropout(self.linear1(x).relu()))))
        return result


class EncoderLayer(nn.Module):
    """Let every token of the grid look along its row and its column."""

    def __init__(self, width: int, n_heads: int, n_hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = RowColumnAttention(width, n_heads)
        self.norm1 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, n_hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, grid: Tensor, code_x: Tensor, code_y: Tensor) -> Tensor:
        """Return the tokens ``(B, H, W, C)``; ``code_x (W, C)`` and ``code_y (H, C)`` are their position codes."""
        memory = self.self_attn.keys_and_values(grid, code_x, code_y)
        row, col = (grid + code_x).flatten(1, 2), (grid + code_y[:, None]).flatten(1, 2)
        attended = self.self_attn(row, col, memory).view_as(grid)
        result: Tensor = self.ffn(self.norm1(grid + self.dropout(attended)))
        return result


class DecoderLayer(nn.Module):
    """Let queries look at each other, then at the grid."""

    def __init__(self, width: int, n_heads: int, n_hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.cross_attn = RowColumnAttention(width, n_heads)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, n_hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def attend_to_queries(self, queries: Tensor, code: Tensor, *, alone: bool = False) -> Tensor:
        """Return the queries after self-attention.

        Parameters
        ----------
        queries
            ``(B, N, C)``.
        code
            ``(B, N, C)`` their position in the plane.
        alone
            Whether every query sees itself only.
        """
        placed, seen = queries + code, queries
        if alone:
            placed, seen = placed.flatten(0, 1)[:, None], seen.flatten(0, 1)[:, None]
        attended = self.self_attn(placed, placed, seen, need_weights=False)[0].view_as(queries)
        result: Tensor = self.norm2(queries + self.dropout(attended))
        return result

    def attend_to_grid(
        self, queries: Tensor, codes_xy: tuple[Tensor, Tensor], memory: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Return the queries after cross-attention; ``codes_xy`` are ``(B, N, C)`` codes of their x and y."""
        code_x, code_y = codes_xy
        attended = self.cross_attn(queries + code_x, queries + code_y, memory)
        result: Tensor = self.ffn(self.norm1(queries + self.dropout(attended)))
        return result
