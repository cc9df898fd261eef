"""CellSAM at its published size (bioRxiv 2023.11.17.567630), and SAM alone where a checkpoint has no detector."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.models.network.cellfinder import CellFinder, CellFinderConfig
from napari_cellsam.models.network.inputs import Layout, Scale, detector_input, mask_input, measure_scale, squash
from napari_cellsam.models.network.mask_decoding import DecodedMasks, DecodeOptions, FieldPrompt, decode_masks
from napari_cellsam.models.network.vit import VitConfig, build_encoder, encode_tokens, use_precision

__all__ = ["CellSam", "CellSamConfig", "FieldBoxes", "adaptive_cut"]


@dataclass(frozen=True)
class CellSamConfig:
    """The size of a CellSAM; the defaults are the published one.

    Attributes
    ----------
    vit
        Of the mask branch's image encoder and, without its neck, of the detector's.
    finder
        Of CellFinder; None where there is no detector.
    layout
        How the networks were trained to see pictures.
    n_mask_hidden, n_iou_hidden, n_mask_tokens, n_mask_layers, n_mask_heads
        Of SAM's mask decoder.
    n_mask_in
        Hidden channels of SAM's encoder of previous masks.
    """

    vit: VitConfig = field(default_factory=VitConfig)
    finder: CellFinderConfig | None = field(default_factory=CellFinderConfig)
    layout: Layout = "adv"
    n_mask_hidden: int = 2048
    n_iou_hidden: int = 256
    n_mask_tokens: int = 4
    n_mask_layers: int = 2
    n_mask_heads: int = 8
    n_mask_in: int = 16

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CellSamConfig:
        """Return the config that `to_dict` was made from."""
        vit = dict(values["vit"], global_blocks=tuple(values["vit"]["global_blocks"]))
        finder = None if values["finder"] is None else CellFinderConfig(**values["finder"])
        return cls(**{**values, "vit": VitConfig(**vit), "finder": finder})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return asdict(self)


class FieldBoxes(NamedTuple):
    """What the detector found, best first; a query may appear once per class.

    Attributes
    ----------
    scores
        ``(N,)`` 0 to 1, falling.
    boxes
        ``(N, 4)`` x0, y0, x1, y1 in pixels of the field, not clipped.
    queries
        ``(N,)`` index of the query.
    """

    scores: Tensor
    boxes: Tensor
    queries: Tensor


class CellSam(nn.Module):
    """Encode a picture for the detector and for the mask branch, find boxes, and decode masks.

    Pictures are prepared ones, ``(3, H, W)`` in 0-1, of any size; they are squashed to the field. Coordinates are x, y
    in pixels of the field (1024 at published size). All results are float32.

    Parameters
    ----------
    config
        The size.
    """

    def __init__(self, config: CellSamConfig) -> None:
        super().__init__()
        self.config = config
        vit = config.vit
        n_tokens = vit.side // vit.patch
        self.image_encoder = build_encoder(vit)
        self.prompt_encoder = PromptEncoder(vit.n_out, (n_tokens, n_tokens), (vit.side, vit.side), config.n_mask_in)
        self.mask_decoder = MaskDecoder(
            transformer_dim=vit.n_out,
            transformer=TwoWayTransformer(
                config.n_mask_layers, vit.n_out, config.n_mask_heads, mlp_dim=config.n_mask_hidden
            ),
            num_multimask_outputs=config.n_mask_tokens - 1,
            iou_head_hidden_dim=config.n_iou_hidden,
        )
        self.detector_encoder = build_encoder(vit, neck=False) if config.finder else None
        self.cellfinder = CellFinder(config.finder) if config.finder else None
        self._autocast: torch.dtype | None = None

    @property
    def can_detect(self) -> bool:
        """Whether cells can be found without prompts."""
        return self.cellfinder is not None

    @property
    def side(self) -> int:
        """Pixels along the field's side."""
        return self.config.vit.side

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.prompt_encoder.no_mask_embed.weight.device
        return device

    def use_bfloat16(self) -> None:
        """Compute large products in bf16 from now on; norms, sums between blocks, scores and boxes stay fp32."""
        self._autocast = torch.bfloat16
        for encoder in (self.image_encoder, self.detector_encoder):
            if encoder is not None:
                use_precision(encoder, torch.bfloat16)

    def measure_scale(self, prepared: Tensor) -> Scale:
        """Return the limits of a whole picture's values, for the encoding of its tiles."""
        return measure_scale(squash(prepared, self.side))

    def mask_tokens(self, prepared: Tensor, scale: Scale | None = None) -> Tensor:
        """Return ``(width, h, w)`` what the neck makes `encode_mask`'s embedding of."""
        field_picture = squash(prepared, self.side)
        picture = mask_input(field_picture, scale or measure_scale(field_picture), self.config.layout)
        return encode_tokens(self.image_encoder, picture[None].to(self.device))[0]

    def encode_mask(self, prepared: Tensor, scale: Scale | None = None) -> Tensor:
        """Return the mask branch's embedding ``(n_out, h, w)`` of one prepared picture."""
        result: Tensor = self.image_encoder.neck(self.mask_tokens(prepared, scale)[None])[0]
        return result

    def encode_detector(self, prepared: Tensor, scale: Scale | None = None) -> Tensor:
        """Return the detector's features ``(width, h, w)`` of one prepared picture.

        Raises
        ------
        UnsupportedTaskError
            If the model has no detector.
        """
        if self.detector_encoder is None:
            raise _no_detector()
        field_picture = squash(prepared, self.side)
        picture = detector_input(field_picture, scale or measure_scale(field_picture), self.config.layout)
        return encode_tokens(self.detector_encoder, picture[None].to(self.device))[0]

    def find(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return class logits ``(N, n_classes)`` and boxes ``(N, 4)`` (cx, cy, w, h, 0-1 of the field) in query order.

        Raises
        ------
        UnsupportedTaskError
            If the model has no detector.
        """
        if self.cellfinder is None:
            raise _no_detector()
        with self._autocasting():
            logits, boxes = self.cellfinder(features[None])
        return logits[0], boxes[0]

    def answers(self, features: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return logits ``(B, N, n_classes)`` and boxes ``(B, N, 4)``, as `find`, after every decoder layer.

        Raises
        ------
        UnsupportedTaskError
            If the model has no detector.
        """
        if self.cellfinder is None:
            raise _no_detector()
        return self.cellfinder.answers(features)

    def detect(self, features: Tensor) -> FieldBoxes:
        """Return as many boxes as there are queries, best first, from what `encode_detector` returned."""
        logits, boxes = self.find(features)
        scores, order = logits.sigmoid().flatten().sort(descending=True, stable=True)
        queries = order[: len(logits)] // logits.shape[1]
        centre, half = boxes[queries, :2], boxes[queries, 2:] / 2
        corners = torch.cat((centre - half, centre + half), 1) * self.side
        return FieldBoxes(scores[: len(logits)], corners, queries)

    def decode(
        self,
        embedding: Tensor,
        prompts: Sequence[FieldPrompt],
        *,
        whole_field: bool = False,
        edge_logit: float = DecodeOptions.edge_logit,
    ) -> DecodedMasks:
        """Decode one mask per prompt from what `encode_mask` returned.

        Parameters
        ----------
        embedding
            ``(n_out, h, w)``.
        prompts
            Any mixture of points, boxes and previous masks, in field pixels.
        whole_field
            Whether logits of the whole field are wanted; else they are computed around boxes only.
        edge_logit
            A crop with a higher logit at its edge is decoded again over the whole field; give a logit below the one
            from which a pixel belongs to a cell.
        """
        options = DecodeOptions(whole_field, edge_logit, autocast=self._autocast)
        return decode_masks(self.prompt_encoder, self.mask_decoder, embedding, prompts, options)

    def _autocasting(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None)


def adaptive_cut(scores: Tensor, threshold: float) -> float:
    """Return the score from which a box counts, moved by the scores of the image.

    The published package cuts at ``0.66 * threshold + 0.33 * mean(centres)`` of two clusters of the scores. Its
    clustering starts at random; here it is the best split into two, found exactly.

    Parameters
    ----------
    scores
        ``(N,)`` of `CellSam.detect`.
    threshold
        0 to 1; 0.4 in the package.
    """
    ordered = scores.double().sort().values
    n = len(ordered)
    if n == 0:
        return threshold
    if n == 1:
        centres = ordered[0]
    else:
        below = ordered.cumsum(0)[:-1]
        count = torch.arange(1, n, device=ordered.device)
        low, high = below / count, (ordered.sum() - below) / (n - count)
        # The squares inside the clusters are least where those between the centres are largest.
        best = int((count * (n - count) * (high - low) ** 2).argmax())
        centres = (low[best] + high[best]) / 2
    return 0.66 * threshold + 0.33 * float(centres)


def _no_detector() -> UnsupportedTaskError:
    return UnsupportedTaskError(
        "these weights are SAM's alone, without CellFinder: they answer prompts (points, boxes) but cannot find cells "
        "by themselves. Give prompts, or choose a model that can detect."
    )
