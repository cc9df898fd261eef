"""The networks by the names of their designs."""

from __future__ import annotations

from typing import Any

from torch import nn

from napari_cellsam.errors import CheckpointError

__all__ = ["build_model"]


def build_model(architecture: str, config: dict[str, Any]) -> nn.Module:
    """Return a network of a design and size, its weights not yet loaded.

    Parameters
    ----------
    architecture
        ``"cellsam"``, ``"sam"`` or ``"compact"``.
    config
        As ``to_dict`` of the design's config wrote it.

    Raises
    ------
    CheckpointError
        If there is no such design, or the config is not one of it.
    """
    try:
        if architecture in ("cellsam", "sam"):
            from napari_cellsam.models.network.cellsam import CellSam, CellSamConfig

            return CellSam(CellSamConfig.from_dict(config))
        if architecture == "compact":
            from napari_cellsam.models.network.compact import CompactCellSam, CompactConfig

            return CompactCellSam(CompactConfig.from_dict(config))
    # segment-anything asserts on sizes, and torch refuses negative ones in its own way
    except (KeyError, TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise CheckpointError(f"{config} is no size of the design {architecture!r}: {error}") from error
    raise CheckpointError(f"these weights are of the design {architecture!r}; expected cellsam, sam or compact")
