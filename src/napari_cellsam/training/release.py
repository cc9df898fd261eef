"""Releases: a training checkpoint turned into the file that the model is shipped as."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from napari_cellsam.errors import CheckpointError
from napari_cellsam.export.output import whole_file
from napari_cellsam.models.network.compact import CompactCellSam, CompactConfig
from napari_cellsam.training.checkpoint import read_checkpoint

__all__ = ["averaged_model", "save_release"]


def averaged_model(checkpoint: Path) -> CompactCellSam:
    """Return the averaged weights of a training checkpoint as a model.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, or it cannot be read.
    """
    state = read_checkpoint(checkpoint)
    if state is None:
        raise CheckpointError(f"there is no checkpoint {checkpoint}; train first")
    try:
        model = CompactCellSam(CompactConfig.from_dict(state["config"]))
        model.load_state_dict(state["average"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the weights in {checkpoint} do not fit the model: {error}") from error
    return model.eval()


def save_release(model: CompactCellSam, path: Path, *, box_score: float | None = None) -> None:
    """Write a model's weights in half precision, with its size in the header.

    Parameters
    ----------
    model
        The model.
    path
        A ``.safetensors`` file; replaced if it exists.
    box_score
        Score from which a box counts; the model's own when None.
    """
    from safetensors.torch import save

    config = model.config if box_score is None else replace(model.config, box_score=box_score)
    header = {"format": "napari-cellsam", "architecture": "compact", "config": json.dumps(config.to_dict())}
    # Vectors (norms' statistics, biases) are few and may be small numbers: they stay fp32.
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise CheckpointError("the weights hold numbers that half precision cannot; they were not written")
    with whole_file(path, overwrite=True) as partial:
        partial.write_bytes(save(tensors, header))
