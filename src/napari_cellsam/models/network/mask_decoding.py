"""SAM's mask decoder for many prompts of one image, where their masks are (Kirillov et al., ICCV 2023, appendix A)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from napari_cellsam.models.network.mask_upscaling import PIXELS_PER_TOKEN, TokenRectangle, upscale
from napari_cellsam.models.network.two_way import ImageTokens, image_tokens, run_two_way

__all__ = ["DecodeOptions", "DecodedMasks", "FieldPrompt", "decode_masks"]

_MARGIN = 0.25  # of a box's side, all around it
_AT_ONCE_CPU = 2  # a prompt takes about 12 MB while it is decoded, and few of them stay in a processor's cache
_AT_ONCE = 32


class FieldPrompt(NamedTuple):
    """One prompt in pixels of the network's field, x before y; ``(0, 0)`` is the centre of the field's first pixel.

    Attributes
    ----------
    points, labels
        ``(P, 2)`` and ``(P,)``: 1 inside, 0 outside; None where there are none.
    box
        ``(4,)`` x0, y0, x1, y1, or None.
    mask
        ``(4 h, 4 w)`` logits of a previous answer over the whole field, ``h * w`` tokens, or None.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    box: Tensor | None = None
    mask: Tensor | None = None


class DecodedMasks(NamedTuple):
    """The answers to prompts, in their order.

    Attributes
    ----------
    logits
        One ``(h, w)`` float32 crop each, four pixels per token.
    corners
        ``(N, 2)`` x, y of each crop in the whole field's logits.
    iou
        ``(N,)`` float32 predicted intersection over union.
    """

    logits: list[Tensor]
    corners: Tensor
    iou: Tensor


@dataclass(frozen=True)
class DecodeOptions:
    """How masks are decoded.

    Attributes
    ----------
    whole_field
        Whether logits are wanted of the whole field for every prompt, not around its box only.
    edge_logit
        A crop whose edge has a higher logit than this is decoded again over the whole field: no mask is cut off.
    at_once
        Prompts per batch; None is as many as suit the device.
    autocast
        Type of the matrix products, or None for the weights' own.
    """

    whole_field: bool = False
    edge_logit: float = -1.0
    at_once: int | None = None
    autocast: torch.dtype | None = None


def decode_masks(
    prompt_encoder: Any,
    mask_decoder: Any,
    embedding: Tensor,
    prompts: Sequence[FieldPrompt],
    options: DecodeOptions | None = None,
) -> DecodedMasks:
    """Decode one mask per prompt.

    Parameters
    ----------
    prompt_encoder, mask_decoder
        segment-anything's modules.
    embedding
        ``(C, h, w)`` of the mask branch.
    prompts
        Any mixture; those of the same kind are decoded in batches.
    options
        How.
    """
    options = options or DecodeOptions()
    logits: list[Tensor] = [embedding.new_zeros(0, 0)] * len(prompts)
    corners = torch.zeros(len(prompts), 2, dtype=torch.long)
    iou = torch.zeros(len(prompts), device=embedding.device)
    if not prompts:
        return DecodedMasks(logits, corners, iou)
    codes = prompt_encoder.get_dense_pe()[0].flatten(1).T
    tokens = embedding.flatten(1).T + prompt_encoder.no_mask_embed.weight
    with _autocast(embedding, options):
        image = image_tokens(mask_decoder.transformer, tokens, codes)
    at_once = options.at_once or (_AT_ONCE_CPU if embedding.device.type == "cpu" else _AT_ONCE)
    for batch in _batches(prompts, at_once):
        chosen = [prompts[i] for i in batch]
        prompt_state, token_state = _look(prompt_encoder, mask_decoder, (image, embedding), chosen, options)
        iou[batch] = mask_decoder.iou_prediction_head(prompt_state[:, 0])[:, 0]
        weights = mask_decoder.output_hypernetworks_mlps[0](prompt_state[:, 1])
        grid = token_state.view(len(batch), *embedding.shape[1:], -1)
        rectangles = [_rectangle(p, prompt_encoder, options.whole_field) for p in chosen]
        for i, (crop, corner) in zip(
            batch, _crops(mask_decoder, grid, weights, rectangles, options.edge_logit), strict=True
        ):
            logits[i] = crop
            corners[i] = torch.tensor(corner)
    return DecodedMasks(logits, corners, iou)


def _batches(prompts: Sequence[FieldPrompt], at_once: int) -> list[list[int]]:
    """Return indices of prompts with the same number of tokens, some at a time; SAM knows no padding but its own."""
    kinds = defaultdict(list)
    for i, prompt in enumerate(prompts):
        kinds[0 if prompt.points is None else len(prompt.points), prompt.box is None, prompt.mask is None].append(i)
    return [same[i : i + at_once] for same in kinds.values() for i in range(0, len(same), at_once)]


def _look(
    prompt_encoder: Any,
    mask_decoder: Any,
    image: tuple[ImageTokens, Tensor],
    prompts: list[FieldPrompt],
    options: DecodeOptions,
) -> tuple[Tensor, Tensor]:
    """Return the state of prompt tokens ``(B, n, C)`` and image tokens ``(B, T, C)`` behind the transformer, fp32."""
    shared, embedding = image
    sparse, dense = _encode(prompt_encoder, prompts, embedding.device)
    outputs = torch.cat((mask_decoder.iou_token.weight, mask_decoder.mask_tokens.weight))
    tokens = torch.cat((outputs.expand(len(prompts), -1, -1), sparse), 1)
    own = None if dense is None else (embedding + dense).flatten(2).transpose(1, 2)
    with _autocast(embedding, options):
        prompt_state, token_state = run_two_way(mask_decoder.transformer, shared, tokens, own)
    return prompt_state.float(), token_state.float()


def _encode(prompt_encoder: Any, prompts: list[FieldPrompt], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return SAM's sparse ``(B, P, C)`` and dense ``(B, C, h, w)`` embeddings of prompts of one kind."""
    first = prompts[0]
    points = boxes = dense = None
    if first.points is not None and len(first.points):
        labels = torch.stack([torch.as_tensor(p.labels) for p in prompts])
        coordinates = torch.stack([torch.as_tensor(p.points) for p in prompts])
        points = coordinates.to(device, torch.float32), labels.to(device)
    if first.box is not None:
        boxes = torch.stack([torch.as_tensor(p.box) for p in prompts]).to(device, torch.float32)
    if first.mask is not None:
        masks = torch.stack([torch.as_tensor(p.mask) for p in prompts])[:, None].to(device, torch.float32)
        dense = prompt_encoder.mask_downscaling(masks)
    if points is None and boxes is None:
        return torch.zeros(len(prompts), 0, prompt_encoder.embed_dim, device=device), dense
    sparse, _ = prompt_encoder(points=points, boxes=boxes, masks=None)
    return sparse, dense


def _rectangle(prompt: FieldPrompt, prompt_encoder: Any, whole_field: bool) -> TokenRectangle:
    """Return the tokens of a prompt's box with a margin of a token and a quarter of its sides; without a box, all."""
    height, width = prompt_encoder.image_embedding_size
    if prompt.box is None or whole_field:
        return TokenRectangle(0, 0, width, height)
    side_y, side_x = prompt_encoder.input_image_size
    x0, y0, x1, y1 = torch.as_tensor(prompt.box).tolist()
    (left, right), (top, bottom) = _span(x0, x1, width, width / side_x), _span(y0, y1, height, height / side_y)
    return TokenRectangle(left, top, right, bottom)


def _span(low: float, high: float, n: int, tokens_per_pixel: float) -> tuple[int, int]:
    margin = _MARGIN * (high - low) * tokens_per_pixel + 1
    start = min(max(math.floor(low * tokens_per_pixel - margin), 0), n - 1)
    return start, min(max(math.ceil(high * tokens_per_pixel + margin), start + 1), n)


def _crops(
    mask_decoder: Any, grid: Tensor, weights: Tensor, rectangles: list[TokenRectangle], edge_logit: float
) -> list[tuple[Tensor, tuple[int, int]]]:
    """Return the logits in each rectangle of the tokens ``(B, h, w, C)``, or in the whole field where they go on."""
    whole = TokenRectangle(0, 0, grid.shape[2], grid.shape[1])
    crops = upscale(mask_decoder, grid, weights, rectangles)
    found = list(zip(crops, rectangles, strict=True))
    cut_off = [i for i, (crop, rectangle) in enumerate(found) if _reaches_edge(crop, rectangle, whole, edge_logit)]
    if cut_off:
        again = upscale(mask_decoder, grid[cut_off], weights[cut_off], [whole] * len(cut_off))
        for i, crop in zip(cut_off, again, strict=True):
            found[i] = crop, whole
    return [(crop, (PIXELS_PER_TOKEN * r.x0, PIXELS_PER_TOKEN * r.y0)) for crop, r in found]


def _reaches_edge(crop: Tensor, rectangle: TokenRectangle, whole: TokenRectangle, edge_logit: float) -> bool:
    """Return whether the mask goes on beyond an edge of its crop that is not the field's edge."""
    edges = (crop[:, 0], crop[0], crop[:, -1], crop[-1])
    inner = [edge for edge, a, b in zip(edges, rectangle, whole, strict=True) if a != b]
    return bool(inner) and bool((torch.cat(inner) > edge_logit).any())


def _autocast(like: Tensor, options: DecodeOptions) -> AbstractContextManager[Any]:
    return torch.autocast(like.device.type, dtype=options.autocast, enabled=options.autocast is not None)
