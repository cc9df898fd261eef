"""The up-scaling of SAM's mask decoder, token by token, only where a mask is looked for."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PIXELS_PER_TOKEN", "TokenRectangle", "upscale"]

_TOKENS_AT_ONCE = 2**15  # bounds the largest intermediate to 64 MiB per 32 channels
PIXELS_PER_TOKEN = 4  # along each axis


class TokenRectangle(NamedTuple):
    """Tokens ``x0 <= x < x1``, ``y0 <= y < y1`` of the field."""

    x0: int
    y0: int
    x1: int
    y1: int


def upscale(mask_decoder: Any, grid: Tensor, weights: Tensor, rectangles: list[TokenRectangle]) -> list[Tensor]:
    """Return the logits of each prompt inside its rectangle.

    Both transposed convolutions have a kernel as large as their stride, so that every token becomes 4 by 4 pixels on
    its own and any set of tokens can be computed without the others.

    Parameters
    ----------
    mask_decoder
        segment-anything's ``MaskDecoder``.
    grid
        ``(B, h, w, C)`` image tokens.
    weights
        ``(B, C / 8)`` what the hyper-network gave for each prompt.
    rectangles
        One per prompt.

    Returns
    -------
    list of Tensor
        ``(4 * rows, 4 * columns)`` float32 each.
    """
    result = []
    for some in _portions(rectangles):
        tokens = [grid[i, r.y0 : r.y1, r.x0 : r.x1].flatten(0, 1) for i in some for r in (rectangles[i],)]
        counts = [len(t) for t in tokens]
        owner = torch.repeat_interleave(weights[some], torch.tensor(counts, device=grid.device), 0)
        blocks = torch.split(_blocks(mask_decoder, torch.cat(tokens), owner), counts)
        for i, block in zip(some, blocks, strict=True):
            rows, columns = rectangles[i].y1 - rectangles[i].y0, rectangles[i].x1 - rectangles[i].x0
            pixels = block.view(rows, columns, PIXELS_PER_TOKEN, PIXELS_PER_TOKEN).transpose(1, 2)
            result.append(pixels.reshape(rows * PIXELS_PER_TOKEN, columns * PIXELS_PER_TOKEN))
    return result


def _portions(rectangles: list[TokenRectangle]) -> list[list[int]]:
    """Return indices of rectangles in runs that hold a bounded number of tokens."""
    portions: list[list[int]] = []
    room = 0
    for i, r in enumerate(rectangles):
        size = (r.x1 - r.x0) * (r.y1 - r.y0)
        if not portions or size > room:
            portions.append([])
            room = _TOKENS_AT_ONCE
        portions[-1].append(i)
        room -= size
    return portions


def _blocks(mask_decoder: Any, tokens: Tensor, weights: Tensor) -> Tensor:
    """Return ``(K, 4, 4)`` logits of tokens ``(K, C)`` for their prompts' ``weights (K, C / 8)``."""
    first, norm, activation, second, _ = mask_decoder.output_upscaling
    n = len(tokens)
    x = _transposed(first, tokens)  # (4 K, C / 4), the four in order of row, column
    x = activation(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))
    x = activation(_transposed(second, x)).view(n, 16, -1)
    logits: Tensor = (x @ weights[:, :, None]).view(n, 2, 2, 2, 2)  # row, column, row in it, column in it
    return logits.transpose(2, 3).reshape(n, PIXELS_PER_TOKEN, PIXELS_PER_TOKEN)


def _transposed(layer: Any, x: Tensor) -> Tensor:
    """Return a transposed convolution with kernel and stride 2 of separate pixels ``(K, C)`` as ``(4 K, C')``."""
    n_in, n_out = layer.weight.shape[:2]
    weight = layer.weight.permute(2, 3, 1, 0).reshape(4 * n_out, n_in)
    return F.linear(x, weight, layer.bias.repeat(4)).view(-1, n_out)
