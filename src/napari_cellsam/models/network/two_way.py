"""The two-way attention of SAM's mask decoder with its shared work done once (Kirillov et al., ICCV 2023, appendix A).

Prompts have few tokens ``n`` and an image has many tokens ``T``, so wherever the image's tokens differ from prompt to
prompt the projections are applied to the prompt's side: ``q (W x) = (q W) x``. The numbers are segment-anything's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["ImageTokens", "image_tokens", "run_two_way"]


class ImageTokens(NamedTuple):
    """The tokens of one image before any prompt changed them.

    Attributes
    ----------
    tokens
        ``(T, C)`` embedding with SAM's "no mask" code.
    codes
        ``(T, C)`` position codes.
    keys, values, queries
        ``(heads, T, D)`` projections in the first layer: what prompts look for and take, and how the image looks back.
    """

    tokens: Tensor
    codes: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


def image_tokens(transformer: Any, tokens: Tensor, codes: Tensor) -> ImageTokens:
    """Project the tokens ``(T, C)`` of one image, once for all of its prompts."""
    first = transformer.layers[0]
    to_image, from_image = first.cross_attn_token_to_image, first.cross_attn_image_to_token
    placed = tokens + codes
    return ImageTokens(
        tokens,
        codes,
        _heads(to_image, to_image.k_proj(placed)),
        _heads(to_image, to_image.v_proj(tokens)),
        _heads(from_image, from_image.q_proj(placed)),
    )


def run_two_way(
    transformer: Any, image: ImageTokens, prompts: Tensor, own: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Let prompts and image look at each other.

    Parameters
    ----------
    transformer
        segment-anything's ``TwoWayTransformer``.
    image
        What `image_tokens` returned.
    prompts
        ``(B, n, C)`` tokens of the prompts, the output tokens among them.
    own
        ``(B, T, C)`` image tokens where each prompt has its own (a previous mask), or None.

    Returns
    -------
    tuple of Tensor
        Prompt tokens ``(B, n, C)`` and image tokens ``(B, T, C)``.
    """
    state: Tensor = prompts
    tokens = own
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            state = layer.self_attn(state, state, state)
        else:
            state = state + layer.self_attn(state + prompts, state + prompts, state)
        state = layer.norm1(state)
        placed = None if tokens is None else tokens + image.codes
        state = layer.norm2(
            state + _look_at_image(layer.cross_attn_token_to_image, state + prompts, image, tokens, placed)
        )
        state = layer.norm3(state + layer.mlp(state))
        shares, offers = _look_at_prompts(layer.cross_attn_image_to_token, image, placed, state + prompts, state)
        tokens = layer.norm4(_add_product(image.tokens if tokens is None else tokens, shares, offers))
    if tokens is None:
        raise ValueError("the transformer has no layers")
    last = transformer.final_attn_token_to_image
    state = transformer.norm_final_attn(
        state + _look_at_image(last, state + prompts, image, tokens, tokens + image.codes)
    )
    return state, tokens


def _look_at_image(
    attention: Any, asking: Tensor, image: ImageTokens, tokens: Tensor | None, placed: Tensor | None
) -> Tensor:
    """Return what prompt tokens ``(B, n, C)`` take from the image's, shared (None) or their own ``(B, T, C)``."""
    batch, n, _ = asking.shape
    n_heads = attention.num_heads
    depth = attention.internal_dim // n_heads
    query = attention.q_proj(asking).view(batch, n, n_heads, depth) * depth**-0.5
    if tokens is None or placed is None:
        scores = query.permute(2, 0, 1, 3).flatten(1, 2) @ image.keys.transpose(-1, -2)  # (heads, B * n, T)
        taken = (scores.softmax(-1) @ image.values).view(n_heads, batch, n, depth).permute(1, 2, 0, 3)
        return _as_tensor(attention.out_proj(taken.flatten(2)))
    key_weight = attention.k_proj.weight.view(n_heads, depth, -1)
    value_weight = attention.v_proj.weight.view(n_heads, depth, -1)
    # The key's bias adds the same to all scores of a token and drops out of the softmax.
    query = torch.einsum("bnhd,hdc->bnhc", query, key_weight).flatten(1, 2)  # (B, n * heads, C)
    scores = query @ placed.transpose(-1, -2)
    mixed = (scores.softmax(-1) @ tokens).reshape(batch, n, n_heads, -1)  # (B, n, heads, C)
    taken = torch.einsum("bnhc,hdc->bnhd", mixed, value_weight).flatten(2) + attention.v_proj.bias
    return _as_tensor(attention.out_proj(taken))


def _look_at_prompts(
    attention: Any, image: ImageTokens, placed: Tensor | None, asked: Tensor, told: Tensor
) -> tuple[Tensor, Tensor]:
    """Return shares ``(B, T, heads * n)`` of prompt tokens in image tokens, and offers ``(B, heads * n, C)``."""
    batch, n, _ = asked.shape
    n_heads = attention.num_heads
    depth = attention.internal_dim // n_heads
    key = attention.k_proj(asked).view(batch, n, n_heads, depth) * depth**-0.5
    value = attention.v_proj(told).view(batch, n, n_heads, depth)
    if placed is None:
        scores = key.permute(2, 0, 1, 3).flatten(1, 2) @ image.queries.transpose(-1, -2)  # (heads, B * n, T)
        scores = scores.view(n_heads, batch, n, -1).transpose(0, 1)
    else:
        weight = torch.einsum("bnhd,hdc->bhnc", key, attention.q_proj.weight.view(n_heads, depth, -1))
        offset = torch.einsum("bnhd,hd->bhn", key, attention.q_proj.bias.view(n_heads, depth))
        scores = (weight.flatten(1, 2) @ placed.transpose(-1, -2)).reshape(batch, n_heads, n, -1) + offset[..., None]
    shares = scores.softmax(2).flatten(1, 2)  # (B, heads * n, T)
    out_weight = attention.out_proj.weight.view(-1, n_heads, depth)
    # The shares of a head sum to one, so that the output's bias can ride on the heads' offers.
    offers = torch.einsum("bnhd,chd->bhnc", value, out_weight) + attention.out_proj.bias / n_heads
    return shares.transpose(-1, -2), offers.flatten(1, 2)


def _add_product(base: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return ``base + a @ b``, ``base`` being ``(T, C)`` or ``(B, T, C)``: in one pass, or in fp32 under autocast."""
    if torch.is_autocast_enabled(base.device.type):
        return base + a @ b
    return torch.baddbmm(base.expand(len(a), -1, -1), a, b)


def _heads(attention: Any, x: Tensor) -> Tensor:
    return x.view(len(x), attention.num_heads, -1).transpose(0, 1)  # (heads, T, D)


def _as_tensor(x: Any) -> Tensor:
    result: Tensor = x
    return result
