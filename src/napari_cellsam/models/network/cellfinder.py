"""CellFinder, the detector of CellSAM: an Anchor DETR on an image encoder's tokens (Wang et al., AAAI 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.models.network.positions import sine_1d, sine_2d
from napari_cellsam.models.network.transformer import DecoderLayer, EncoderLayer, Mlp

__all__ = ["AnchorStart", "CellFinder", "CellFinderConfig"]

_LOG_ODDS_FLOOR = 1e-5
_Stamps = list[tuple[Tensor, object]]  # parameters with what changes when their values may have changed


@dataclass(frozen=True)
class CellFinderConfig:
    """The size of a CellFinder; the defaults are the published one.

    Attributes
    ----------
    n_in
        Channels of the image encoder's tokens.
    width, n_heads, n_hidden
        Channels of the transformer, attention heads, and hidden channels of its feed-forward layers.
    n_encoder, n_decoder
        Number of layers.
    n_anchors
        Learned anchor points; 0 where the queries are selected from the image (`Proposals`).
    n_classes
        Scores per query.
    dropout
        Used in training only.
    """

    n_in: int = 768
    width: int = 256
    n_heads: int = 8
    n_hidden: int = 1024
    n_encoder: int = 6
    n_decoder: int = 6
    n_anchors: int = 3500
    n_classes: int = 2
    dropout: float = 0.1


class AnchorStart(NamedTuple):
    """What the learned anchors bring to every image.

    Attributes
    ----------
    plane
        ``(1, N, width)`` code of their place in the plane.
    lines
        ``(1, N, width)`` codes of their x and y.
    state
        ``(1, N, width)`` queries behind the first layer's self-attention, which sees no image yet.
    """

    plane: Tensor
    lines: tuple[Tensor, Tensor]
    state: Tensor


class CellFinder(nn.Module):
    """Find a box and a score for every anchor point.

    Parameters
    ----------
    config
        The size; published by default.

    Attributes
    ----------
    saves_memory
        Whether layers are computed again for their gradients (gradient checkpointing) in place of being kept.
    """

    saves_memory = False

    def __init__(self, config: CellFinderConfig) -> None:
        super().__init__()
        self.config = config
        width, sizes = config.width, (config.width, config.n_heads, config.n_hidden, config.dropout)
        self.input_proj = nn.Sequential(nn.Conv2d(config.n_in, width, 1), nn.GroupNorm(32, width))
        self.encoder_layers = nn.ModuleList(EncoderLayer(*sizes) for _ in range(config.n_encoder))
        self.decoder_layers = nn.ModuleList(DecoderLayer(*sizes) for _ in range(config.n_decoder))
        self.adapt_pos1d = _adapter(width)
        self.adapt_pos2d = _adapter(width)
        self.pattern = nn.Embedding(1, width)
        self.position = nn.Embedding(config.n_anchors, 2) if config.n_anchors else None
        self.class_embed = nn.Linear(width, config.n_classes)
        self.bbox_embed = Mlp(width, width, 4, 3)
        self._start: tuple[_Stamps, AnchorStart] | None = None

    def encode(self, features: Tensor, centres_xy: tuple[Tensor, Tensor]) -> Tensor:
        """Return the encoder's tokens.

        Parameters
        ----------
        features
            ``(B, n_in, H, W)``.
        centres_xy
            ``(W,)`` and ``(H,)`` centres of the tokens in units of the position code.

        Returns
        -------
        Tensor
            ``(B, H, W, width)``.
        """
        grid: Tensor = self.input_proj(features).permute(0, 2, 3, 1)  # (B, H, W, C)
        code_x, code_y = (self._code_1d(centres) for centres in centres_xy)
        for layer in self.encoder_layers:
            grid = self._run(layer, grid, code_x, code_y)
        return grid

    def decode(
        self,
        grid: Tensor,
        centres_xy: tuple[Tensor, Tensor],
        anchors_xy: Tensor,
        queries: Tensor,
        *,
        alone: bool = False,
    ) -> list[Tensor]:
        """Return the queries after every decoder layer.

        Parameters
        ----------
        grid, centres_xy
            As `encode` returned and took them.
        anchors_xy
            ``(B, N, 2)`` anchor points in units of the position code.
        queries
            ``(B, N, width)`` what the queries start from.
        alone
            Whether every query is judged as if it were the only one.

        Returns
        -------
        list of Tensor
            One ``(B, N, width)`` per layer.
        """
        code_x, code_y = (self._code_1d(centres) for centres in centres_xy)
        plane = self.adapt_pos2d(sine_2d(anchors_xy, self.config.width))
        lines = self._code_1d(anchors_xy[..., 0]), self._code_1d(anchors_xy[..., 1])
        states = []

        def look(layer: DecoderLayer, queries: Tensor) -> Tensor:
            queries = layer.attend_to_queries(queries, plane, alone=alone)
            return layer.attend_to_grid(queries, lines, layer.cross_attn.keys_and_values(grid, code_x, code_y))

        for layer in self._decoder():
            queries = self._run(look, layer, queries)
            states.append(queries)
        return states

    def answers(self, features: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the scores and boxes of the learned anchors after every decoder layer, for training.

        Parameters
        ----------
        features
            ``(B, n_in, H, W)`` of whole fields.

        Returns
        -------
        list of tuple of Tensor
            What `forward` returns, layer by layer; the last is the model's answer.
        """
        height, width = features.shape[-2:]
        centres = _centres(width, features), _centres(height, features)
        anchors = self._anchors()
        shape = (len(features), len(anchors), -1)
        grid = self.encode(features, centres)
        states = self.decode(grid, centres, anchors.expand(*shape), self.pattern.weight.expand(*shape))
        return [self._answer(state) for state in states]

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores and boxes of the learned anchors.

        Parameters
        ----------
        features
            ``(B, n_in, H, W)`` of one whole field.

        Returns
        -------
        tuple of Tensor
            Logits ``(B, N, n_classes)`` and boxes ``(B, N, 4)`` as centre x, centre y, width, height, 0-1 of the field.
        """
        height, width = features.shape[-2:]
        centres = _centres(width, features), _centres(height, features)
        codes = [self._code_1d(c) for c in centres]
        grid = self.encode(features, centres)
        start = self.anchor_start()
        state = start.state.expand(len(features), -1, -1)
        for i, layer in enumerate(self._decoder()):
            if i > 0:
                state = layer.attend_to_queries(state, start.plane)
            state = layer.attend_to_grid(state, start.lines, layer.cross_attn.keys_and_values(grid, *codes))
        return self._answer(state)

    def anchor_start(self) -> AnchorStart:
        """Return what does not depend on the image; kept from call to call until weights, device or type change."""
        if torch.is_grad_enabled():
            return self._make_anchor_start()
        first = self._decoder()[0]
        parts = (self.pattern, self._anchor_table(), self.adapt_pos1d, self.adapt_pos2d, first.self_attn, first.norm2)
        stamp: _Stamps = [(p, _stamp(p)) for part in parts for p in part.parameters()]
        if self._start is None or not _same(self._start[0], stamp):
            self._start = stamp, self._make_anchor_start()
        return self._start[1]

    def _make_anchor_start(self) -> AnchorStart:
        anchors = self._anchors()[None]
        with torch.autocast(anchors.device.type, enabled=False):
            plane = self.adapt_pos2d(sine_2d(anchors, self.config.width))
            lines = self._code_1d(anchors[..., 0]), self._code_1d(anchors[..., 1])
            queries = self.pattern.weight.expand(1, anchors.shape[1], -1)
            return AnchorStart(plane, lines, self._decoder()[0].attend_to_queries(queries, plane))

    def _answer(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and boxes of queries ``(B, N, width)``, one per learned anchor."""
        with torch.autocast(state.device.type, enabled=False):
            state = state.float()
            offset = self.bbox_embed(state)
            centre = offset[..., :2] + _log_odds(self._anchors())
            return self.class_embed(state), torch.cat((centre, offset[..., 2:]), -1).sigmoid()

    def _run(self, part: Callable[..., Tensor], *args: object) -> Tensor:
        if self.saves_memory and torch.is_grad_enabled():
            again: Tensor = checkpoint(part, *args, use_reentrant=False)
            return again
        return part(*args)

    def _decoder(self) -> list[DecoderLayer]:
        return cast("list[DecoderLayer]", list(self.decoder_layers))

    def _anchor_table(self) -> nn.Embedding:
        if self.position is None:
            raise UnsupportedTaskError("this CellFinder has no learned anchors; give it anchor points with `decode`")
        return self.position

    def _anchors(self) -> Tensor:
        return self._anchor_table().weight

    def _code_1d(self, position: Tensor) -> Tensor:
        result: Tensor = self.adapt_pos1d(sine_1d(position, self.config.width))
        return result


def _adapter(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def _stamp(parameter: Tensor) -> object:
    """Return what changes when the values of a parameter may have changed."""
    version = None if parameter.is_inference() else parameter._version
    return parameter.data_ptr(), version, parameter.dtype, parameter.device


def _same(one: _Stamps, other: _Stamps) -> bool:
    return len(one) == len(other) and all(a is b and x == y for (a, x), (b, y) in zip(one, other, strict=True))


def _centres(n: int, like: Tensor) -> Tensor:
    return (torch.arange(n, dtype=torch.float32, device=like.device) + 0.5) / n


def _log_odds(p: Tensor) -> Tensor:
    """Return ln(p / (1 - p)), both ends bounded as Anchor DETR bounds them."""
    return (p.clamp(min=_LOG_ODDS_FLOOR) / (1 - p).clamp(min=_LOG_ODDS_FLOOR)).log()
