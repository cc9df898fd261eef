"""SAM's mask decoder working in a window around each prompt, so that hundreds of cells are cheap."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn

from napari_cellsam.models.network.sampling import cut_windows

__all__ = ["WindowDecoder", "WindowPrompts", "window_around"]

_UPSCALE = 4  # of SAM's mask decoder
_TOKEN_PIXELS = 8  # the window's own pixels per token
_N_MARKS = 3  # maps: previous mask, clicks inside, clicks outside
_SPOT = 1.0  # standard deviation of a click's spot, in pixels of the mask
_SATURATION = 4.0  # logit at which a previous mask counts as nearly sure


class WindowPrompts(NamedTuple):
    """A batch of prompts, each with the window that is decoded for it; everything in pixels of the picture.

    Attributes
    ----------
    picture
        ``(N,)`` index of the picture in the batch.
    windows
        ``(N, 4)`` x0, y0, x1, y1: outer edges.
    points, labels
        ``(N, P, 2)`` as x, y and ``(N, P)``: 1 in, 0 out, -1 padding, 2 and 3 the corners of a box.
    previous
        ``(N, 1, 4 T, 4 T)`` logits of an earlier answer in the same window, or None.
    has_previous
        ``(N,)`` bool: whose row of ``previous`` counts.
    """

    picture: Tensor
    windows: Tensor
    points: Tensor
    labels: Tensor
    previous: Tensor | None = None
    has_previous: Tensor | None = None


class WindowDecoder(nn.Module):
    """Decode masks from windows of the embedding.

    The modules are segment-anything's prompt encoder and mask decoder (Kirillov et al., ICCV 2023); the fine features
    enter at the last up-scaling step, as the skip connections of SAM 2 (Ravi et al., 2024).

    Parameters
    ----------
    width
        Channels of the embedding.
    n_fine
        Channels of the fine features.
    n_tokens
        Tokens along a window's side; the mask has four times as many pixels.
    n_hidden
        Hidden channels of the token MLPs.
    n_retouch
        Hidden channels of the retouching of corrected masks; 0 for none.

    Attributes
    ----------
    shift
        Taken off all logits: how much tighter outlines are than they were learned.
    """

    shift = 0.0

    def __init__(self, width: int, n_fine: int, n_tokens: int, n_hidden: int, n_retouch: int = 0) -> None:
        super().__init__()
        side = n_tokens * _TOKEN_PIXELS
        self.n_tokens = n_tokens
        self.prompt_encoder = PromptEncoder(width, (n_tokens, n_tokens), (side, side), mask_in_chans=16)
        self.mask_decoder = MaskDecoder(
            transformer_dim=width,
            transformer=_with_few_tokens(
                TwoWayTransformer(depth=2, embedding_dim=width, num_heads=8, mlp_dim=n_hidden)
            ),
            num_multimask_outputs=0,
            iou_head_hidden_dim=width,
        )
        for module in self.modules():
            if type(module) is LayerNorm2d:
                module.__class__ = OnePassNorm2d
        self.skip = nn.Conv2d(n_fine, width // 8, 1)
        self.retouch = Retouch(width, n_retouch) if n_retouch else None

    @property
    def side(self) -> int:
        """Pixels along a decoded mask's side."""
        return self.n_tokens * _UPSCALE

    def forward(self, embedding: Tensor, fine: Tensor, prompts: WindowPrompts) -> tuple[Tensor, Tensor]:
        """Return masks of all prompts.

        Parameters
        ----------
        embedding
            ``(B, width, H / 8, W / 8)``.
        fine
            ``(B, n_fine, H / 4, W / 4)``.
        prompts
            What is asked.

        Returns
        -------
        tuple of Tensor
            Logits ``(N, side, side)`` over each window and predicted IoU ``(N,)``.
        """
        tokens = cut_windows(embedding, prompts.picture, prompts.windows, 8, self.n_tokens)
        skip = cut_windows(self.skip(fine), prompts.picture, prompts.windows, 4, self.side)
        position = self.prompt_encoder.get_dense_pe()
        sparse, dense = self._encode(prompts)
        if not torch.is_grad_enabled():  # in half precision as a whole: sums with single precision would all be copied
            position, sparse, dense = (part.to(tokens.dtype) for part in (position, sparse, dense))
        marks = None
        if self.retouch is not None:
            marks = _marks(prompts, self.side).to(skip.dtype, memory_format=torch.channels_last)
            dense = dense + self.retouch.of_tokens(marks)
        decoder = self.mask_decoder
        queries = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))[None].expand(len(tokens), -1, -1)
        queries = torch.cat((queries.to(sparse.dtype), sparse), 1)
        hidden, tokens = decoder.transformer(tokens + dense, position.expand(len(tokens), -1, -1, -1), queries)
        grid = tokens.transpose(1, 2).unflatten(2, (self.n_tokens, self.n_tokens))
        first, norm, activation, second, last = decoder.output_upscaling
        grid = activation(norm(first(grid)))
        grid = second(grid) + skip
        if self.retouch is not None and marks is not None:
            grid = grid + self.retouch.of_pixels(torch.cat((grid, skip, marks), 1))
        grid = last(grid)
        weights = decoder.output_hypernetworks_mlps[0](hidden[:, 1])
        logits = torch.einsum("nc,nchw->nhw", weights, grid.to(weights.dtype)).float() - self.shift
        return logits, decoder.iou_prediction_head(hidden[:, 0]).float()[:, 0]

    def _encode(self, prompts: WindowPrompts) -> tuple[Tensor, Tensor]:
        """Return SAM's sparse ``(N, P, width)`` and dense prompt embeddings.

        The dense one is ``(N, width, T, T)``, or ``(1, width, 1, 1)`` where no prompt has a previous mask.
        """
        corner, size = prompts.windows[:, None, :2], prompts.windows[:, None, 2:] - prompts.windows[:, None, :2]
        side = self.n_tokens * _TOKEN_PIXELS
        # SAM adds half a pixel of its own frame; pixel centres of the picture lie half a pixel inside their outer edge.
        points = (prompts.points + 0.5 - corner) / size * side - 0.5
        sparse = _embed_points(self.prompt_encoder, points, prompts.labels, side)
        dense = self.prompt_encoder.no_mask_embed.weight[:, :, None, None]
        if prompts.previous is not None and prompts.has_previous is not None:
            told = self.prompt_encoder.mask_downscaling(prompts.previous)
            dense = torch.where(prompts.has_previous[:, None, None, None], told, dense)
        return sparse, dense


class Retouch(nn.Module):
    """Let clicks and the previous mask act where they are, at the resolution of the mask.

    SAM tells its decoder of clicks as tokens, and of the previous mask by the image token. A small decoder follows
    corrections better when both are maps beside the picture, as in RITM (Sofiiuk et al., ICIP 2022).

    Parameters
    ----------
    width
        Channels of the embedding.
    n_hidden
        Hidden channels.
    """

    def __init__(self, width: int, n_hidden: int) -> None:
        super().__init__()
        n_grid = width // 8
        self.of_tokens = nn.Sequential(
            nn.Conv2d(_N_MARKS, n_hidden, _UPSCALE, _UPSCALE), nn.GELU(), nn.Conv2d(n_hidden, width, 1)
        )
        self.of_pixels = nn.Sequential(
            nn.Conv2d(2 * n_grid + _N_MARKS, n_hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(n_hidden, n_hidden, 3, padding=2, dilation=2),
            nn.GELU(),
            nn.Conv2d(n_hidden, n_grid, 1),
        )
        for last in (self.of_tokens[-1], self.of_pixels[-1]):  # a decoder that was trained without stays as it was
            for parameter in last.parameters():
                nn.init.zeros_(parameter)


class OnePassNorm2d(LayerNorm2d):  # type: ignore[misc]  # segment-anything has no types
    """segment-anything's norm over channels, computed in one pass and in the type of what comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised ``(B, C, H, W)``."""
        channels_last = x.permute(0, 2, 3, 1)
        return F.layer_norm(channels_last, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class FewTokensAttention(Attention):  # type: ignore[misc]  # segment-anything has no types
    """segment-anything's attention, for a CPU and a side of only a few tokens.

    A softmax over rows of a dozen keys is slow there; along the long side of the transposed matrix many queries are
    computed at a time.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the attended values ``(B, N, C)`` of queries ``(B, N, C)``; keys and values are ``(B, M, C)``."""
        query, key, value = (
            project(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, N or M, D)
            for project, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        scale = query.shape[-1] ** -0.5
        if key.shape[2] < query.shape[2]:
            weights = (key @ query.transpose(-1, -2) * scale).softmax(-2).transpose(-1, -2)
        else:
            weights = (query @ key.transpose(-1, -2) * scale).softmax(-1)
        result: Tensor = self.out_proj((weights @ value).transpose(1, 2).flatten(2))
        return result


def _with_few_tokens(transformer: TwoWayTransformer) -> TwoWayTransformer:
    """Return the transformer, whose attentions become ours: they have the same parameters."""
    for module in transformer.modules():
        if type(module) is Attention:
            module.__class__ = FewTokensAttention
    return transformer


def _marks(prompts: WindowPrompts, side: int) -> Tensor:
    """Return maps ``(N, 3, side, side)``: the previous mask, -1 to 1, and spots of 0 to 1 at clicks inside, outside."""
    corner, size = prompts.windows[:, None, :2], prompts.windows[:, None, 2:] - prompts.windows[:, None, :2]
    at = (prompts.points + 0.5 - corner) / size * side - 0.5  # (N, P, 2), in pixels of the mask
    pixels = torch.arange(side, device=at.device, dtype=at.dtype)
    across, down = (torch.exp(-0.5 * (at[..., i, None] - pixels).square() / _SPOT**2) for i in (0, 1))  # (N, P, side)
    spots = [
        torch.einsum("npy,npx->nyx", down * (prompts.labels == kind)[..., None], across).clamp(max=1) for kind in (1, 0)
    ]
    previous = torch.zeros_like(spots[0])
    if prompts.previous is not None and prompts.has_previous is not None:
        told = torch.tanh(prompts.previous[:, 0] / _SATURATION)
        previous = torch.where(prompts.has_previous[:, None, None], told, previous)
    return torch.stack((previous, *spots), 1)


def window_around(boxes: Tensor, margin: float = 0.25, pad: float = 4.0) -> Tensor:
    """Return the windows in which boxes are decoded.

    Parameters
    ----------
    boxes
        ``(N, 4)`` x0, y0, x1, y1 in pixels.
    margin, pad
        Room on each side: a share of the box's side, and pixels.

    Returns
    -------
    Tensor
        ``(N, 4)`` outer edges; never narrower than half as long.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + 0.5
    size = (boxes[:, 2:] - boxes[:, :2] + 1) * (1 + 2 * margin) + 2 * pad
    size = torch.maximum(size, size.flip(-1) / 2)
    return torch.cat((centre - size / 2, centre + size / 2), -1)


def _embed_points(encoder: PromptEncoder, points: Tensor, labels: Tensor, side: int) -> Tensor:
    """Return SAM's embedding ``(N, P, width)`` of points and box corners in one call; labels as in `WindowPrompts`."""
    code = encoder.pe_layer.forward_with_coords(points + 0.5, (side, side)).float()
    code = torch.where(labels[..., None] < 0, torch.zeros_like(code), code)
    kinds = torch.cat((encoder.not_a_point_embed.weight, *(e.weight for e in encoder.point_embeddings)))
    return code + kinds[labels + 1]
