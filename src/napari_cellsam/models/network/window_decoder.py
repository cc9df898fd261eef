"""SAM's mask decoder working in a window around each prompt, so that hundreds of cells are cheap."""

from __future__ import annotations

from typing import NamedTuple

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from napari_cellsam.models.network.sampling import cut_windows

__all__ = ["PROMPT_SLOTS", "WindowDecoder", "WindowPrompts", "window_around"]

PROMPT_SLOTS = (
    5  # points of a prompt in training: two corners or up to three clicks, and corrective clicks; padding counts
)
_UPSCALE = 4  # of SAM's mask decoder
_TOKEN_PIXELS = 8  # the window's own pixels per token


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
    """

    def __init__(self, width: int, n_fine: int, n_tokens: int, n_hidden: int) -> None:
        super().__init__()
        side = n_tokens * _TOKEN_PIXELS
        self.n_tokens = n_tokens
        self.prompt_encoder = PromptEncoder(width, (n_tokens, n_tokens), (side, side), mask_in_chans=16)
        self.mask_decoder = MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, num_heads=8, mlp_dim=n_hidden),
            num_multimask_outputs=0,
            iou_head_hidden_dim=width,
        )
        self.skip = nn.Conv2d(n_fine, width // 8, 1)

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
        tokens = _cut(embedding, prompts, 8, self.n_tokens)
        skip = _cut(self.skip(fine), prompts, 4, self.side)
        sparse, dense = self._encode(prompts)
        decoder = self.mask_decoder
        queries = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))[None].expand(len(tokens), -1, -1)
        queries = torch.cat((queries, sparse), 1)
        position = self.prompt_encoder.get_dense_pe().expand(len(tokens), -1, -1, -1)
        hidden, tokens = decoder.transformer(tokens + dense, position, queries)
        grid = tokens.transpose(1, 2).unflatten(2, (self.n_tokens, self.n_tokens))
        first, norm, activation, second, last = decoder.output_upscaling
        grid = activation(norm(first(grid)))
        grid = last(second(grid) + skip)
        weights = decoder.output_hypernetworks_mlps[0](hidden[:, 1])
        logits = torch.einsum("nc,nchw->nhw", weights, grid.to(weights.dtype)).float()
        return logits, decoder.iou_prediction_head(hidden[:, 0]).float()[:, 0]

    def _encode(self, prompts: WindowPrompts) -> tuple[Tensor, Tensor]:
        """Return SAM's sparse ``(N, P, width)`` and dense ``(N, width, T, T)`` prompt embeddings."""
        corner, size = prompts.windows[:, None, :2], prompts.windows[:, None, 2:] - prompts.windows[:, None, :2]
        side = self.n_tokens * _TOKEN_PIXELS
        # SAM adds half a pixel of its own frame; pixel centres of the picture lie half a pixel inside their outer edge.
        points = (prompts.points + 0.5 - corner) / size * side - 0.5
        sparse = _embed_points(self.prompt_encoder, points, prompts.labels, side)
        dense = self.prompt_encoder.no_mask_embed.weight[:, :, None, None].expand(
            len(points), -1, self.n_tokens, self.n_tokens
        )
        if prompts.previous is not None and prompts.has_previous is not None:
            told = self.prompt_encoder.mask_downscaling(prompts.previous)
            dense = torch.where(prompts.has_previous[:, None, None, None], told, dense)
        return sparse, dense


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


def _cut(features: Tensor, prompts: WindowPrompts, stride: int, n: int) -> Tensor:
    """Return ``(N, C, n, n)`` features over the prompts' windows, which are grouped by picture for `cut_windows`."""
    order = prompts.picture.argsort(stable=True)
    picture = prompts.picture[order]
    rank = torch.arange(len(picture), device=picture.device) - torch.searchsorted(picture, picture)
    windows = prompts.windows.new_zeros(len(features), int(rank.max()) + 1, 4)
    windows[picture, rank] = prompts.windows[order]
    cut = cut_windows(features, windows, stride, n)[picture, rank]
    return cut[order.argsort()]
