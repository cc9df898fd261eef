"""The compact model: the design of CellSAM on one small image encoder, for a laptop's processor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from msgspec import Meta, convert
from torch import Tensor, nn

from napari_cellsam.models.network.backbone import PyramidBackbone
from napari_cellsam.models.network.cellfinder import CellFinder, CellFinderConfig
from napari_cellsam.models.network.proposals import DenseMaps, Proposals
from napari_cellsam.models.network.sampling import sample_at
from napari_cellsam.models.network.window_decoder import WindowDecoder

__all__ = ["CellScore", "CompactCellSam", "CompactConfig", "Features", "Found"]

_TOKEN_STRIDE, _WIDE_STRIDE, _FINE_STRIDE = 16, 8, 4
_SUREST = 1e-3  # nearer to 0 and 1 shares are not told apart
_LARGEST_CHANGE = 2.0  # of a logarithm of a side, by one decoder layer
_LARGEST_EXTENT = 8.0  # logarithm of pixels, far beyond a field: nothing becomes infinite
_BEFORE = {"n_retouch": 0, "n_slots": 5}  # of models whose files do not say


# what the values of a file, which may be anybody's, must lie within
_Length = Annotated[float, Meta(ge=1, le=8192)]
_Logit = Annotated[float, Meta(ge=-100, le=100)]


@dataclass(frozen=True)
class CellScore:
    """How sure a model is of a cell, from its detector's score and from how well it thinks it outlined it.

    A detector judges a box before there is an outline; a good outline says as much (as in Mask Scoring R-CNN, Huang et
    al., CVPR 2019). The weights of a logistic regression on the validation pictures join both, so that a score is the
    share of cells that are right.

    Attributes
    ----------
    detector, outline
        Weights of the logits of the detector's score and of the predicted IoU.
    shift
        Added to both.
    floor
        Detector's score from which a box is outlined, where that is below the score that is asked for.
    """

    detector: _Logit = 1.0
    outline: _Logit = 0.0
    shift: _Logit = 0.0
    floor: Annotated[float, Meta(ge=0, le=1)] = 1.0

    def of(self, score: float, predicted_iou: float) -> float:
        """Return a cell's score, 0 to 1."""
        logit = self.detector * _logit(score) + self.outline * _logit(predicted_iou) + self.shift
        return 1 / (1 + math.exp(-logit))


_PLAIN = CellScore()  # the detector's score, as it is


def _logit(share: float) -> float:
    share = min(max(share, _SUREST), 1 - _SUREST)
    return math.log(share / (1 - share))


@dataclass(frozen=True)
class CompactConfig:
    """The size of a compact model.

    Attributes
    ----------
    channels, layers
        Of the residual network's four stages.
    width, n_fine
        Channels of the embedding and of the fine features.
    finder
        The size of CellFinder.
    n_tokens, n_hidden
        Tokens along a mask window's side; hidden channels of the mask decoder's MLPs.
    n_retouch
        Hidden channels with which the mask decoder retouches corrected masks; 0 for none, as in early models.
    n_slots
        Points of a prompt in training, padding included: box corners, clicks and corrective clicks.
    code_period
        Pixels per unit of CellFinder's position codes.
    field
        Side in pixels of the largest picture that is encoded at once.
    diameter
        Cell diameter in pixels to which pictures are scaled; crops of training are drawn around 30.
    n_queries
        Most anchor points of a picture.
    proposal_floor
        Logit of the centre map below which a maximum is no anchor point.
    box_score
        Score from which a box counts, chosen on the validation pictures.
    score
        How sure it is of a cell.
    outline_shift
        What is taken off the logits of all pixels of a mask: above 0 outlines are tighter than they were learned.
        Retraining fits it to how tight people draw.
    """

    channels: tuple[int, ...] = (64, 128, 256, 256)
    layers: tuple[int, ...] = (1, 2, 2, 1)
    width: int = 256
    n_fine: int = 64
    finder: CellFinderConfig = field(
        default_factory=lambda: CellFinderConfig(
            n_in=256, n_hidden=512, n_encoder=1, n_decoder=2, n_anchors=0, n_classes=1, dropout=0.0
        )
    )
    n_tokens: int = 8
    n_hidden: int = 512
    n_retouch: int = 32
    n_slots: Annotated[int, Meta(ge=1, le=1000)] = 10
    code_period: _Length = 64.0
    field: Annotated[int, Meta(ge=64, le=8192)] = 768
    diameter: _Length = 32.0
    n_queries: Annotated[int, Meta(ge=1, le=100_000)] = 1500
    proposal_floor: _Logit = -4.0
    box_score: Annotated[float, Meta(ge=0, le=1)] = 0.4
    score: CellScore = _PLAIN
    outline_shift: _Logit = 0.0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CompactConfig:
        """Return the config that `to_dict` was made from.

        Raises
        ------
        ValueError
            If a value is missing or unknown, of a wrong type, or out of range.
        """
        names = {entry.name for entry in fields(cls)}
        if values.keys() - names or {"channels", "layers", "finder"} - values.keys():
            raise ValueError(f"got {', '.join(values)}; expected {', '.join(sorted(names))}")
        return convert({**_BEFORE, **values}, cls)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return asdict(self)


class Features(NamedTuple):
    """What the image encoder gives.

    Attributes
    ----------
    wide
        ``(B, width, H / 8, W / 8)``, shared by detector and mask branch.
    embedding
        ``(B, width, H / 8, W / 8)`` behind the mask branch's neck.
    fine
        ``(B, n_fine, H / 4, W / 4)``.
    """

    wide: Tensor
    embedding: Tensor
    fine: Tensor


class Found(NamedTuple):
    """What CellFinder says of its anchor points, one item per decoder layer in the lists.

    Attributes
    ----------
    points
        ``(B, N, 2)`` anchors as x, y in pixels.
    logits
        ``(B, N)`` each.
    boxes
        ``(B, N, 4)`` each, x0, y0, x1, y1 in pixels: centres of the outermost pixels.
    """

    points: Tensor
    logits: list[Tensor]
    boxes: list[Tensor]


class CompactCellSam(nn.Module):
    """Detect cells and decode their masks from one image encoder.

    Parameters
    ----------
    config
        The size.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = PyramidBackbone(config.channels, config.layers, config.width, config.n_fine)
        self.proposals = Proposals(config.n_fine, _FINE_STRIDE)
        self.cellfinder = CellFinder(config.finder)
        self.query_wide = nn.Linear(config.width, config.finder.width)
        self.query_token = nn.Linear(config.finder.width, config.finder.width)
        self.query_fine = nn.Linear(config.n_fine, config.finder.width)
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, config.width, 1, bias=False), nn.BatchNorm2d(config.width), nn.ReLU(inplace=True)
        )
        self.masks = WindowDecoder(config.width, config.n_fine, config.n_tokens, config.n_hidden, config.n_retouch)
        self.masks.shift = config.outline_shift
        for last in (self.cellfinder.class_embed, self.cellfinder.bbox_embed.layers[-1]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)  # the queries start as the dense head left them

    def tighten(self, shift: float) -> None:
        """Draw outlines tighter from now on, by this much of a logit; wider where it is below 0."""
        self.config = replace(self.config, outline_shift=self.config.outline_shift + shift)
        self.masks.shift = self.config.outline_shift

    def encode(self, picture: Tensor) -> Features:
        """Return the features of pictures ``(B, 3, H, W)`` in 0-1; H and W are multiples of 32."""
        wide, fine = self.backbone((picture * 2).sub_(0.5))
        return Features(wide, self.neck(wide), fine)

    def propose(self, features: Features) -> DenseMaps:
        """Return the dense head's maps."""
        maps: DenseMaps = self.proposals(features.fine)
        return maps

    def tokens(self, features: Features, origin: Tensor | None = None) -> Tensor:
        """Return what CellFinder looks at, ``(B, H / 16, W / 16, C)``; ``origin`` as for `find`."""
        tokens = F.avg_pool2d(features.wide, _TOKEN_STRIDE // _WIDE_STRIDE)
        return self.cellfinder.encode(tokens, self._centres(tokens.shape[-2:], features.wide, origin))

    def find(
        self,
        features: Features,
        maps: DenseMaps,
        points: Tensor,
        origin: Tensor | None = None,
        *,
        alone: bool = False,
        tokens: Tensor | None = None,
    ) -> Found:
        """Let CellFinder judge anchor points.

        Parameters
        ----------
        features, maps
            As `encode` and `propose` returned them.
        points
            ``(B, N, 2)`` anchors as x, y in pixels.
        origin
            ``(2,)`` offset in pixels of the position codes; training draws it at random, so that no place is special.
        alone
            Whether every point is judged as if it were the only one: a click has no rivals.
        tokens
            What `tokens` returned for these features, if that is known.

        Returns
        -------
        Found
            Logits and boxes after every decoder layer.
        """
        grid = self.tokens(features, origin) if tokens is None else tokens
        queries = self.cellfinder.pattern.weight + self.query_token(
            sample_at(grid.permute(0, 3, 1, 2), points, _TOKEN_STRIDE)
        )
        queries = queries + self.query_wide(sample_at(features.wide, points, _WIDE_STRIDE))
        queries = queries + self.query_fine(sample_at(features.fine, points, _FINE_STRIDE))
        dense = sample_at(torch.cat((maps.centre, maps.extent), 1), points, _FINE_STRIDE).detach()
        anchors = (points if origin is None else points + origin) / self.config.code_period
        centres = self._centres(grid.shape[1:3], points, origin)
        states = self.cellfinder.decode(grid, centres, anchors, queries, alone=alone)
        return self._read(points, dense, states)

    def _read(self, points: Tensor, dense: Tensor, states: list[Tensor]) -> Found:
        """Turn query states into logits and boxes, each a change of what came before."""
        left_top, right_bottom = dense[..., 1:].clamp(max=_LARGEST_EXTENT).exp().split(2, -1)
        centre = points + (right_bottom - left_top) / 2
        size = left_top + right_bottom
        logits, boxes = [], []
        for state in states:
            change = self.cellfinder.bbox_embed(state).float()
            centre = centre + change[..., :2] * size.detach()
            size = size * change[..., 2:].clamp(-_LARGEST_CHANGE, _LARGEST_CHANGE).exp()
            logits.append(dense[..., 0] + self.cellfinder.class_embed(state).float()[..., 0])
            boxes.append(torch.cat((centre - size / 2, centre + size / 2), -1))
            centre, size = centre.detach(), size.detach()
        return Found(points, logits, boxes)

    def _centres(self, shape: Sequence[int], like: Tensor, origin: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return x and y of the centres of tokens ``(H, W)``, in units of the position codes."""
        height, width = (
            torch.arange(n, dtype=torch.float32, device=like.device) * _TOKEN_STRIDE + (_TOKEN_STRIDE - 1) / 2
            for n in shape
        )
        if origin is not None:
            width, height = width + origin[0], height + origin[1]
        return width / self.config.code_period, height / self.config.code_period
