"""The learner of the published designs: CellFinder and the neck of the mask branch, on encoders that stay as they are.

As the CellSAM paper has it (bioRxiv 2023.11.17.567630, appendix B), but for CellFinder's encoder, which some pictures
are too few for: its blocks are not trained.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from napari_cellsam.data.augment import AugmentOptions
from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.models.published_backend import PublishedBackend
from napari_cellsam.training.crops import CropOptions
from napari_cellsam.training.field_masks import field_mask_losses
from napari_cellsam.training.published_file import save_published
from napari_cellsam.training.set_prediction import set_losses
from napari_cellsam.training.targets import Cells, cells_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cellsam.models.backend import Backend
    from napari_cellsam.models.network.cellsam import CellSam
    from napari_cellsam.training.learner import Stage
    from napari_cellsam.types.finetuning import FinetuneOptions

__all__ = ["PublishedLearner"]

_DETECTOR, _NECK = "cellfinder.", "image_encoder.neck."
_DECAY = 1e-4
_SPREAD = 0.35  # of a crop's zoom, in octaves
_CLAHE, _DAMAGED = 0.9, 0.5
_CROP_STEP = 32


class PublishedLearner:
    """Fine-tunes CellSAM of the published design, or SAM alone.

    Parameters
    ----------
    network
        It becomes the learner's own.
    device
        Where it computes.
    precision
        ``"bf16"`` for products of the encoders and of CellFinder in half precision; else fp32, as it is used.
    saves_memory
        Whether what learns is computed again for its gradients in place of being kept.
    """

    max_norm = 0.1  # DETR's
    can_tighten = False  # its files are laid out as the published ones

    def __init__(
        self, network: CellSam, device: torch.device, precision: str = "auto", *, saves_memory: bool = True
    ) -> None:
        self.network: CellSam = network.eval().requires_grad_(False).float().to(device)
        self._device, self._half, self._saves_memory = device, precision == "bf16", saves_memory
        if network.cellfinder is not None:
            network.cellfinder.saves_memory = saves_memory
        self.can_detect = network.can_detect
        self.n_at_once = 1 if device.type == "cpu" else 4

    def set_stage(self, stage: Stage) -> None:
        """As `Learner.set_stage`."""
        for name, parameter in self.network.named_parameters():
            is_taught = (stage != "masks" and name.startswith(_DETECTOR)) or (
                stage != "detector" and name.startswith(_NECK)
            )
            parameter.requires_grad_(is_taught)

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """As `Learner.groups`; no decay for norms and biases."""
        taught = [p for name, p in self.network.named_parameters() if name.startswith((_DETECTOR, _NECK))]
        return [
            {
                "params": [p for p in taught if (p.ndim > 1) == decays],
                "base_lr": rate,
                "weight_decay": _DECAY if decays else 0.0,
            }
            for decays in (True, False)
        ]

    def losses(self, pictures: Tensor, labels: Tensor, stage: Stage) -> dict[str, Tensor]:
        """As `Learner.losses`; every crop fills the field.

        Raises
        ------
        UnsupportedTaskError
            If the detector is to learn and the network is SAM alone.
        """
        prepared = pictures.float() / 255
        cells = cells_of(labels.to(self._device))
        result: dict[str, Tensor] = {}
        if stage == "detector" or (stage == "joint" and self.can_detect):
            result |= self._detector_losses(prepared, cells)
        if stage != "detector":
            result |= self._mask_losses(prepared, cells)
        return result

    def _detector_losses(self, prepared: Tensor, cells: Cells) -> dict[str, Tensor]:
        with self._autocasting():
            with torch.no_grad():
                features = torch.stack([self.network.encode_detector(picture) for picture in prepared])
            answers = self.network.answers(features)
        return set_losses(answers, cells)

    def _mask_losses(self, prepared: Tensor, cells: Cells) -> dict[str, Tensor]:
        with torch.no_grad(), self._autocasting():
            tokens = torch.stack([self.network.mask_tokens(picture) for picture in prepared])
        neck = self.network.image_encoder.neck
        again = self._saves_memory and torch.is_grad_enabled()
        embeddings = cast("Tensor", checkpoint(neck, tokens, use_reentrant=False) if again else neck(tokens))
        return field_mask_losses(self.network, embeddings, cells, saves_memory=self._saves_memory)

    def _autocasting(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._half)

    def crop_options(self, options: FinetuneOptions) -> CropOptions:
        """As `Learner.crop_options`: what the field shows at the zoom that the network was trained at.

        The options' own side does not count, since the field is always filled.
        """
        side = int(self.network.side / PublishedBackend.native_zoom) // _CROP_STEP * _CROP_STEP
        augment = AugmentOptions(None, _SPREAD, clahe_share=_CLAHE, damaged_share=_DAMAGED)
        return CropOptions(side=max(side, _CROP_STEP), seed=options.seed, augment=augment)

    def tighten(self, shift: float) -> None:
        """As `Learner.tighten`.

        Raises
        ------
        UnsupportedTaskError
            Always.
        """
        raise UnsupportedTaskError(f"files of published models cannot say that outlines are tighter by {shift}")

    def twin(self, weights: dict[str, Tensor]) -> PublishedLearner:
        """As `Learner.twin`; what never learns is held once."""
        frozen = [p for name, p in self.network.named_parameters() if not name.startswith((_DETECTOR, _NECK))]
        twin = copy.copy(self)
        twin.network = copy.deepcopy(self.network, {id(tensor): tensor for tensor in frozen})
        with torch.no_grad():
            for name, parameter in twin.network.named_parameters():
                if name in weights:
                    parameter.copy_(weights[name])
        return twin

    def backend(self) -> Backend:
        """As `Learner.backend`, in fp32."""
        return PublishedBackend(self.network, self._device, torch.float32)

    def save(self, path: Path) -> None:
        """As `Learner.save`: laid out as the published files, in fp32."""
        save_published(self.network, path)
