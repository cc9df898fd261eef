"""The learner: a network that is fine-tuned, what of it learns in which stage, and what that costs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from napari_cellsam.data.augment import AugmentOptions
from napari_cellsam.models.compact_backend import CompactBackend
from napari_cellsam.models.loading import choose_dtype
from napari_cellsam.training.crops import CropOptions
from napari_cellsam.training.objective import detection_losses, losses
from napari_cellsam.training.release import save_release
from napari_cellsam.training.targets import cells_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cellsam.models.backend import Backend
    from napari_cellsam.models.network.compact import CompactCellSam
    from napari_cellsam.types.finetuning import FinetuneOptions

__all__ = ["CompactLearner", "Learner", "Stage", "grouped", "twin_of"]

Stage = Literal["joint", "detector", "masks"]
AnyLearner = TypeVar("AnyLearner", bound="Learner")

_MASK_BRANCH = ("neck.", "masks.")
_SPREAD = 0.35  # of the scaled diameter, in octaves: pictures of one microscope differ less than those of all
_DAMAGED = 0.5
_CLAHE = 0.2  # the compact model is used without


class Learner(Protocol):
    """A network that is fine-tuned.

    Attributes
    ----------
    network
        In inference mode throughout, so that norms keep the statistics of the many pictures of the first training.
    max_norm
        To which gradients are clipped.
    n_at_once
        Crops that are computed together, so that a click need not wait for more.
    can_detect
        Whether it has a detector that learns.
    can_tighten
        Whether its file can say how tight outlines are.
    """

    network: Any
    max_norm: float
    n_at_once: int
    can_detect: bool
    can_tighten: bool

    def set_stage(self, stage: Stage) -> None:
        """Let the parameters of a stage learn, and no others."""

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Return all parameters that learn in any stage, with their ``base_lr`` and weight decay."""

    def losses(self, pictures: Tensor, labels: Tensor, stage: Stage) -> dict[str, Tensor]:
        """Return the losses of crops ``(B, 3, side, side)`` uint8 with labels, -1 unknown; their sum is minimized."""

    def crop_options(self, options: FinetuneOptions) -> CropOptions:
        """Return which crops suit the network."""

    def tighten(self, shift: float) -> None:
        """Let the network draw outlines tighter, by this much of a logit, where ``can_tighten``."""

    def twin(self, weights: dict[str, Tensor]) -> Learner:
        """Return a learner with a copy of the network in which some tensors have other values."""

    def backend(self) -> Backend:
        """Return a back end, whose own the network becomes."""

    def save(self, path: Path) -> None:
        """Write the network as a file that `load_network` reads."""


class CompactLearner:
    """Fine-tunes the compact model.

    Parameters
    ----------
    network
        It becomes the learner's own.
    device
        Where it computes.
    precision
        As for `choose_dtype`.
    freeze_backbone
        Whether the image encoder stays as it is.
    """

    max_norm = 2.0
    can_detect = True
    can_tighten = True

    def __init__(self, network: CompactCellSam, device: torch.device, precision: str, freeze_backbone: bool) -> None:
        self.network: CompactCellSam = network.eval().float().to(device)
        self.network.to(memory_format=torch.channels_last)
        self._device, self._dtype = device, choose_dtype(precision, device)
        self._frozen = ("backbone.",) if freeze_backbone else ()
        self.n_at_once = 2 if device.type == "cpu" else 32

    def set_stage(self, stage: Stage) -> None:
        """As `Learner.set_stage`."""
        for name, parameter in self.network.named_parameters():
            is_mask = name.startswith(_MASK_BRANCH)
            learns = stage == "joint" or is_mask == (stage == "masks")
            parameter.requires_grad_(learns and not name.startswith(self._frozen))

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """As `Learner.groups`; half the rate for attention, no decay for norms and biases."""
        return grouped(self.network, rate, self._frozen, slow=("cellfinder.", "masks."))

    def losses(self, pictures: Tensor, labels: Tensor, stage: Stage) -> dict[str, Tensor]:
        """As `Learner.losses`."""
        pictures = (pictures.to(self._device).float() / 255).contiguous(memory_format=torch.channels_last)
        labels = labels.to(self._device)
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            if stage == "detector":
                return detection_losses(self.network, self.network.encode(pictures), cells_of(labels))[0]
            return losses(self.network, pictures, labels, masks_only=stage == "masks", corrected=True)

    def crop_options(self, options: FinetuneOptions) -> CropOptions:
        """As `Learner.crop_options`: cells around the diameter that the model is used at."""
        diameter = self.network.config.diameter
        augment = AugmentOptions(diameter, _SPREAD, clahe_share=_CLAHE, damaged_share=_DAMAGED)
        return CropOptions(side=options.side, seed=options.seed, augment=augment)

    def tighten(self, shift: float) -> None:
        """As `Learner.tighten`."""
        self.network.tighten(shift)

    def twin(self, weights: dict[str, Tensor]) -> CompactLearner:
        """As `Learner.twin`."""
        return twin_of(self, weights)

    def backend(self) -> Backend:
        """As `Learner.backend`."""
        return CompactBackend(self.network, self._device, self._dtype)

    def save(self, path: Path) -> None:
        """As `Learner.save`."""
        save_release(self.network, path)


def grouped(network: nn.Module, rate: float, frozen: Sequence[str], slow: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return parameters as groups of an optimizer.

    Parameters
    ----------
    network
        Whose parameters.
    rate
        Largest learning rate.
    frozen
        Beginnings of the names of those that never learn.
    slow
        Beginnings of the names of those that learn at half the rate.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not name.startswith(tuple(frozen)):
            groups.setdefault((name.startswith(tuple(slow)), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": p, "base_lr": rate * (0.5 if is_slow else 1.0), "weight_decay": 0.01 if decay else 0.0}
        for (is_slow, decay), p in groups.items()
    ]


def twin_of(learner: AnyLearner, weights: dict[str, Tensor]) -> AnyLearner:
    """Return a learner with a copy of the network in which some tensors have other values."""
    twin = copy.copy(learner)
    twin.network = copy.deepcopy(learner.network)
    with torch.no_grad():
        for name, parameter in twin.network.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])
    return twin
