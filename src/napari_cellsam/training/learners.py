"""The choice of a learner by the design of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.training.learner import CompactLearner

if TYPE_CHECKING:
    import torch

    from napari_cellsam.models.weights import Network
    from napari_cellsam.training.learner import Learner

__all__ = ["learner_of"]


def learner_of(network: Network, device: torch.device, precision: str, freeze_backbone: bool) -> Learner:
    """Return what fine-tunes a network.

    Parameters
    ----------
    network
        As `load_network` returns it; it becomes the learner's own.
    device
        Where it computes.
    precision
        As for `choose_dtype`.
    freeze_backbone
        Whether the image encoder stays as it is.
    """
    if network.architecture == "compact":
        return CompactLearner(network.model, device, precision, freeze_backbone)  # type: ignore[arg-type]
    raise UnsupportedTaskError(f"models of the design {network.architecture!r} cannot be fine-tuned")
