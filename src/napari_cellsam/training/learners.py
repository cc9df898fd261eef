"""Learners by the design of their network."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from napari_cellsam.models.loading import choose_dtype
from napari_cellsam.training.learner import CompactLearner
from napari_cellsam.training.published_learner import PublishedLearner

if TYPE_CHECKING:
    import torch

    from napari_cellsam.models.network.cellsam import CellSam
    from napari_cellsam.models.network.compact import CompactCellSam
    from napari_cellsam.models.weights import Network
    from napari_cellsam.training.learner import Learner

__all__ = ["learner_of"]


def learner_of(network: Network, device: torch.device, precision: str, freeze_backbone: bool) -> Learner:
    """Return what fine-tunes a network, which becomes its own.

    Parameters
    ----------
    network
        As `load_network` returned it.
    device
        Where it computes.
    precision
        As for `load_backend`.
    freeze_backbone
        Whether the image encoder stays as it is; that of a published design always does.

    Raises
    ------
    OptionError
        If there is no such precision.
    """
    choose_dtype(precision, device)
    if network.architecture == "compact":
        return CompactLearner(cast("CompactCellSam", network.model), device, precision, freeze_backbone)
    return PublishedLearner(cast("CellSam", network.model), device, precision)
