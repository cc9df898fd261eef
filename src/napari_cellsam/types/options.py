"""The options with which a whole image is segmented."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal

from napari_cellsam.errors import OptionError

__all__ = ["SegmentOptions"]

_RANGES = {
    "box_score": (0.0, 1.0),
    "min_predicted_iou": (0.0, 1.0),
    "overlap": (0.0, 0.75),
    "min_area": (0.0, math.inf),
    "diameter": (1.0, 10_000.0),
    "looks": (1.0, 2.0),
}
_WORDS = {"scaling": ("tiles", "squash"), "score_rule": ("fixed", "adaptive"), "diameter": ("auto", "native")}


@dataclass(frozen=True)
class SegmentOptions:
    """How a whole image is segmented. None means the model's own default.

    Attributes
    ----------
    box_score
        Score from which a cell counts, 0 to 1: the detector's; of the compact model, that of detector and outline
        together.
    score_rule
        ``"fixed"`` cuts at ``box_score``; ``"adaptive"`` moves the cut with the scores of the image, as the published
        package does.
    diameter
        Typical cell diameter in pixels; the image is rescaled to what the model was trained on. ``"auto"`` estimates
        it in a first pass; ``"native"`` leaves the image as it is.
    scaling
        ``"tiles"`` keeps the aspect ratio and tiles what does not fit; ``"squash"`` is the published path: the whole
        image in one field, whatever its size. None: a published model squashes what is not larger than its field and
        tiles the rest.
    clahe
        Whether local contrast is equalized (CLAHE) before the network.
    min_predicted_iou
        Masks whose predicted IoU is lower are dropped, 0 to 1.
    mask_threshold
        Probability from which a pixel belongs to a cell, 0 to 1 exclusive.
    min_area
        Cells with fewer pixels are dropped.
    overlap
        Overlap of neighbouring tiles, as a fraction of the tile, 0 to 0.75.
    looks
        How often each part of the image is looked at, 1 or 2. The second time it is turned by half, and boxes, scores
        and outlines (but those that the first look is sure of) of both looks are averaged, which is better and takes
        up to twice as long.
    """

    box_score: float | None = None
    score_rule: Literal["fixed", "adaptive"] | None = None
    diameter: float | Literal["auto", "native"] | None = None
    scaling: Literal["tiles", "squash"] | None = None
    clahe: bool | None = None
    min_predicted_iou: float | None = None
    mask_threshold: float = 0.5
    min_area: int | None = None
    overlap: float | None = None
    looks: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, int | float) and not low <= value <= high:
                raise OptionError(f"{name} is {value}; expected {low:g} to {high:g}")
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if isinstance(value, str) and value not in words:
                raise OptionError(f"{name} is {value!r}; expected {' or '.join(map(repr, words))}")
        if self.looks is not None and self.looks != int(self.looks):
            raise OptionError(f"looks is {self.looks}; expected 1 or 2")
        if not 0 < self.mask_threshold < 1:
            raise OptionError(f"mask_threshold is {self.mask_threshold}; expected more than 0 and less than 1")

    def with_defaults(self, defaults: SegmentOptions) -> SegmentOptions:
        """Return these options with every None taken from ``defaults``."""
        missing = {f.name: getattr(defaults, f.name) for f in fields(self) if getattr(self, f.name) is None}
        return replace(self, **missing)
