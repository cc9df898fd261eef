"""SAM's image encoder, in fewer passes over memory than segment-anything's (Kirillov et al., ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor, nn

__all__ = ["VitConfig", "build_encoder", "encode_tokens", "use_precision"]

_SCORES_AT_ONCE_CPU = 2**19  # what stays in a core's cache between the passes over it; measured
_SCORES_AT_ONCE = 2**26  # bounds the mask of a fused attention on other devices to 256 MiB
_NORM_EPS = 1e-6


@dataclass(frozen=True)
class VitConfig:
    """The size of an image encoder; the defaults are ViT-B's.

    Attributes
    ----------
    width, depth, n_heads
        Channels, blocks and attention heads.
    n_hidden
        Hidden channels of a block's MLP.
    global_blocks
        Blocks whose tokens see the whole field; the others see windows.
    window
        Tokens along a window's side.
    side, patch
        Pixels along the field's and a token's side.
    n_out
        Channels behind the neck.
    """

    width: int = 768
    depth: int = 12
    n_heads: int = 12
    n_hidden: int = 3072
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    side: int = 1024
    patch: int = 16
    n_out: int = 256


def build_encoder(config: VitConfig, *, neck: bool = True) -> Any:
    """Return segment-anything's ``ImageEncoderViT`` of a size, with or without its neck."""
    encoder = ImageEncoderViT(
        img_size=config.side,
        patch_size=config.patch,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.n_heads,
        mlp_ratio=config.n_hidden / config.width,
        out_chans=config.n_out,
        norm_layer=partial(nn.LayerNorm, eps=_NORM_EPS),
        use_rel_pos=True,
        window_size=config.window,
        global_attn_indexes=config.global_blocks,
    )
    if not neck:
        encoder.neck = nn.Identity()
    return encoder


def use_precision(encoder: nn.Module, dtype: torch.dtype) -> None:
    """Hold the blocks' large weights in ``dtype``; norms, positions, the neck and the sums between blocks stay fp32."""
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear) or name == "patch_embed.proj":
            module.to(dtype)


def encode_tokens(encoder: Any, picture: Tensor) -> Tensor:
    """Return the output of the last block, before the neck.

    Parameters
    ----------
    encoder
        What `build_encoder` returned.
    picture
        ``(B, 3, side, side)`` network input.

    Returns
    -------
    Tensor
        ``(B, width, side / patch, side / patch)`` float32.
    """
    patches = encoder.patch_embed(picture.to(encoder.patch_embed.proj.weight.dtype))  # (B, H, W, C)
    x = patches + encoder.pos_embed
    for block in encoder.blocks:
        x = x + _look_around(block, x)
        mlp = block.mlp
        x = x + _linear(mlp.lin2, mlp.act(_linear(mlp.lin1, block.norm2(x))))
    tokens: Tensor = x.permute(0, 3, 1, 2)
    return tokens


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x.to(layer.weight.dtype), layer.weight, layer.bias)


def _look_around(block: Any, x: Tensor) -> Tensor:
    """Return the self-attention of tokens ``(B, H, W, C)`` in windows, or in the field where ``window_size`` is 0."""
    attention = block.attn
    batch, height, width, channels = x.shape
    h, w = (block.window_size,) * 2 if block.window_size else (height, width)
    rows, columns = -(-height // h), -(-width // w)
    qkv = _linear(attention.qkv, block.norm1(x))
    if (rows * h, columns * w) != (height, width):
        # SAM pads with zeros before this layer; behind it a padded token is the layer's bias.
        padded = attention.qkv.bias.expand(batch, rows * h, columns * w, 3 * channels).clone()
        padded[:, :height, :width] = qkv
        qkv = padded
    n_heads = attention.num_heads
    parts = qkv.view(batch, rows, h, columns, w, 3, n_heads, channels // n_heads).permute(5, 0, 1, 3, 6, 2, 4, 7)
    q, k, v = parts.reshape(3, -1, h * w, channels // n_heads)  # (windows * heads, tokens, D) each
    seen = _attend(q * attention.scale, k, v, _position_scores(attention, q, (h, w)))
    seen = seen.view(batch, rows, columns, n_heads, h, w, -1).permute(0, 1, 4, 2, 5, 3, 6)
    seen = seen.reshape(batch, rows * h, columns * w, channels)[:, :height, :width]
    return _linear(attention.proj, seen)


def _position_scores(attention: Any, q: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return what rows ``(n, tokens, h)`` and columns ``(n, tokens, w)`` of keys add to a query's scores, fp32."""
    h, w = size
    grid = q.float().view(len(q), h, w, -1)
    by_row = torch.einsum("nhwc,hkc->nhwk", grid, get_rel_pos(h, h, attention.rel_pos_h))
    by_column = torch.einsum("nhwc,wkc->nhwk", grid, get_rel_pos(w, w, attention.rel_pos_w))
    return by_row.flatten(1, 2), by_column.flatten(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, position: tuple[Tensor, Tensor]) -> Tensor:
    """Return softmax(q k + position) v, ``(n, tokens, D)``, without holding all scores at a time; ``q`` is scaled."""
    on_cpu = q.device.type == "cpu"
    budget = _SCORES_AT_ONCE_CPU if on_cpu else _SCORES_AT_ONCE
    attend = _attend_in_cache if on_cpu else _attend_fused
    n_tokens = q.shape[1]
    step = max(1, budget // n_tokens**2)
    n_queries = max(1, min(n_tokens, budget // n_tokens))
    result = []
    for i in range(0, len(q), step):
        some = slice(i, i + step)
        rows = [
            attend(q[some, j : j + n_queries], k[some], v[some], *(p[some, j : j + n_queries] for p in position))
            for j in range(0, n_tokens, n_queries)
        ]
        result.append(torch.cat(rows, 1) if len(rows) > 1 else rows[0])
    return torch.cat(result)


def _attend_in_cache(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    # Plain steps on few scores beat the fused kernel with a mask on processors, and are fp32 where it matters.
    scores = (q @ k.transpose(-1, -2)).float()
    grid = scores.view(*scores.shape[:2], by_row.shape[-1], by_column.shape[-1])
    grid += by_row[..., :, None]
    grid += by_column[..., None, :]
    return scores.softmax(-1).to(v.dtype) @ v


def _attend_fused(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    bias = (by_row[..., :, None] + by_column[..., None, :]).flatten(2).to(q.dtype)
    return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=bias[None], scale=1.0)[0]
