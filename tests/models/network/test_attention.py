"""Tests of row-column decoupled attention."""

from __future__ import annotations

import pytest
import torch

from napari_cellsam.models.network import attention
from napari_cellsam.models.network.attention import RowColumnAttention


def _slow(
    layer: RowColumnAttention, query: torch.Tensor, grid: torch.Tensor, codes: dict[str, torch.Tensor]
) -> torch.Tensor:
    """Attend one query at a time, as the paper's equations say: ``query (C,)``, ``grid (H, W, C)``."""
    width, n_heads = grid.shape[-1], layer.n_heads
    weight, bias = layer.in_proj_weight.view(5, width, width), layer.in_proj_bias.view(5, width)
    height, length = grid.shape[:2]
    q_row, q_col = (weight[i] @ (query + codes[axis]) + bias[i] for i, axis in enumerate(("query_x", "query_y")))
    k_row = torch.stack(
        [
            torch.stack([weight[2] @ (grid[y, x] + codes["x"][x]) + bias[2] for y in range(height)]).mean(0)
            for x in range(length)
        ]
    )
    k_col = torch.stack(
        [
            torch.stack([weight[3] @ (grid[y, x] + codes["y"][y]) + bias[3] for x in range(length)]).mean(0)
            for y in range(height)
        ]
    )
    heads = []
    for head in range(n_heads):
        part = slice(head * width // n_heads, (head + 1) * width // n_heads)
        scale = (width // n_heads) ** -0.5
        a_row = torch.softmax(torch.stack([q_row[part] @ k[part] * scale for k in k_row]), 0)
        a_col = torch.softmax(torch.stack([q_col[part] @ k[part] * scale for k in k_col]), 0)
        out = torch.zeros(width // n_heads)
        for y in range(height):
            for x in range(length):
                out = out + a_col[y] * a_row[x] * (weight[4] @ grid[y, x] + bias[4])[part]
        heads.append(out)
    return layer.out_proj(torch.cat(heads))


@pytest.mark.parametrize("at_once", [2, 1024])
def test_row_column_attention_is_what_its_equations_say(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_QUERIES_AT_ONCE", at_once)
    torch.manual_seed(0)
    layer = RowColumnAttention(8, 2)
    torch.nn.init.normal_(layer.in_proj_bias)
    torch.nn.init.normal_(layer.out_proj.bias)
    grid, code_x, code_y = torch.randn(4, 3, 8), torch.randn(3, 8), torch.randn(4, 8)
    queries, at_x, at_y = torch.randn(5, 8), torch.randn(5, 8), torch.randn(5, 8)
    expected = torch.stack(
        [
            _slow(layer, q, grid, {"x": code_x, "y": code_y, "query_x": x, "query_y": y})
            for q, x, y in zip(queries, at_x, at_y, strict=True)
        ]
    )
    memory = layer.keys_and_values(grid[None], code_x, code_y)
    torch.testing.assert_close(layer((queries + at_x)[None], (queries + at_y)[None], memory)[0], expected)
