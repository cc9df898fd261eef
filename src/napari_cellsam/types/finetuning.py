"""The values of fine-tuning: how, how far, and how good."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from napari_cellsam.errors import OptionError

__all__ = ["Figures", "FinetuneOptions", "PictureFigures", "TrainingProgress", "TrainingRecord"]

_RANGES = {
    "minutes": (0.001, 100_000.0),
    "batch": (1, 1024),
    "side": (32, 2048),
    "rate": (1e-9, 1.0),
    "masks_from": (0.0, 1.0),
    "replay": (0.0, 0.95),
    "average": (0.0, 0.99999),
    "n_checks": (1, 1000),
    "seed": (0, 2**32 - 1),
}


@dataclass(frozen=True)
class FinetuneOptions:
    """How a model is fine-tuned.

    Attributes
    ----------
    minutes
        Budget of training time, earlier runs of the same training included.
    steps
        Number of optimizer steps in place of a time: the same run again then gives the same weights. None: the budget
        counts.
    batch
        Crops per step.
    side
        Pixels along a crop, a multiple of 32.
    rate
        Largest learning rate.
    masks_from
        Share of the budget after which the second stage begins, in which the mask branch alone learns.
    first_stage
        What learns before: the ``"detector"`` alone, as the paper does, or detector and mask branch, ``"joint"``.
    freeze_backbone
        Whether the image encoder stays as it is; that of a model of published size always does.
    replay
        Share of crops that are not of the corrected pictures, 0 to 0.95, so that the model does not forget the rest.
    average
        Decay of the average over steps that is kept of the weights, 0 for none.
    n_checks
        How often the model is judged on the held-out cells; the best one is kept.
    seed
        Source of chance.
    resume
        Whether to go on where an interrupted run of the same training was.
    """

    minutes: float = 6.0
    steps: int | None = None
    batch: int = 4
    side: int = 256
    rate: float = 1e-4
    masks_from: float = 0.8
    first_stage: Literal["joint", "detector"] = "joint"
    freeze_backbone: bool = False
    replay: float = 0.25
    average: float = 0.98
    n_checks: int = 8
    seed: int = 0
    resume: bool = True

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"{name} is {value}; expected {low:g} to {high:g}")
            if isinstance(low, int) and value != int(value):
                raise OptionError(f"{name} is {value}; expected a whole number")
        if self.side % 32:
            raise OptionError(f"side is {self.side}; expected a multiple of 32 pixels")
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"steps is {self.steps}; expected at least 1, or None")
        if self.first_stage not in ("joint", "detector"):
            raise OptionError(f"first_stage is {self.first_stage!r}; expected 'joint' or 'detector'")


@dataclass(frozen=True)
class TrainingProgress:
    """Where a fine-tuning stands.

    Attributes
    ----------
    stage
        What is being done: ``"before"`` and ``"after"`` are the judging of the parent and of the new model, the others
        (``"joint"``, ``"detector"``, ``"masks"``) the stages in which it learns.
    step
        Optimizer steps so far.
    share
        Share of the budget that is spent, 0 to 1.
    losses
        Running means by name, on what is learned from.
    val_losses
        On the held-out cells, by name; empty but where the model was just checked.
    f1
        Of the held-out cells at IoU 0.6; None but where the model was just checked.
    seconds_left
        Of the budget.
    """

    stage: str
    step: int = 0
    share: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    val_losses: dict[str, float] = field(default_factory=dict)
    f1: float | None = None
    seconds_left: float = 0.0


@dataclass(frozen=True)
class PictureFigures:
    """How good a model is on one picture.

    Attributes
    ----------
    name
        Of the picture.
    n_cells
        Cells that it was judged on.
    found, invented, missed
        Cells of an automatic run, at IoU 0.6; all 0 for a model that makes none, since it has no detector.
    click_ious
        IoU of each cell's mask after one click at its centre.
    """

    name: str
    n_cells: int
    found: int = 0
    invented: int = 0
    missed: int = 0
    click_ious: tuple[float, ...] = ()

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if there is nothing and nothing was found, NaN without a run."""
        return Figures((self,)).f1

    @property
    def click_iou(self) -> float:
        """Mean IoU after one click; NaN without cells."""
        return Figures((self,)).click_iou


@dataclass(frozen=True)
class Figures:
    """How good a model is on held-out verified cells, picture by picture."""

    pictures: tuple[PictureFigures, ...] = ()

    @property
    def n_cells(self) -> int:
        """Cells that it was judged on."""
        return sum(picture.n_cells for picture in self.pictures)

    @property
    def f1(self) -> float:
        """F1 at IoU 0.6, over the cells of all pictures; NaN for a model without a detector."""
        found, invented, missed = (sum(getattr(p, n) for p in self.pictures) for n in ("found", "invented", "missed"))
        if self.n_cells and not found + missed:
            return math.nan
        total = 2 * found + invented + missed
        return 2 * found / total if total else 1.0

    @property
    def click_iou(self) -> float:
        """Mean IoU after one click, over the cells of all pictures; NaN without cells."""
        ious = [iou for picture in self.pictures for iou in picture.click_ious]
        return sum(ious) / len(ious) if ious else math.nan


@dataclass(frozen=True)
class TrainingRecord:
    """Where a fine-tuned model comes from, and how good it is.

    Attributes
    ----------
    parent, parent_weights
        Model that it was made from, and sha256 of that one's weights.
    data
        Hash of each picture that it learned from, with its labels and verified region.
    judged_on
        Hashes of what it was judged on.
    replay
        What else it has seen, such as ``"synthetic"``.
    before, after
        Figures of parent and model.
    options
        How.
    date
        When it was made: UTC, ISO 8601.
    steps, seconds
        How long it learned.
    outline_shift
        What was taken off the logits of masks before, since people draw tighter outlines; below 0 where wider.
    images
        Hash of the pixels of each image that it, or a model that it comes from, learned from, whatever the labels were.
    n_judges_known
        How many of the pictures that judge are such images of a model that it comes from: the parent has seen them.
    """

    parent: str
    parent_weights: str
    data: tuple[str, ...]
    judged_on: tuple[str, ...]
    replay: str
    before: Figures
    after: Figures
    options: FinetuneOptions
    date: str
    steps: int
    seconds: float
    outline_shift: float = 0.0
    images: tuple[str, ...] = ()
    n_judges_known: int = 0

    @property
    def outlines(self) -> str:
        """How outlines are drawn beside the parent's: ``"tighter"``, ``"wider"`` or ``"as before"``."""
        if not self.outline_shift:
            return "as before"
        return "tighter" if self.outline_shift > 0 else "wider"

    @property
    def is_better(self) -> bool:
        """Whether it is no worse than its parent on the held-out cells: by F1, and if that is equal by clicks."""
        if self.after.f1 < self.before.f1 or self.after.f1 > self.before.f1:  # neither without a detector: NaN
            return self.after.f1 > self.before.f1
        return not self.after.click_iou < self.before.click_iou  # NaN without cells
