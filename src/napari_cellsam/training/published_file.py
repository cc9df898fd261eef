"""The file of a fine-tuned CellSAM or SAM, laid out as the published ones are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellsam.errors import CheckpointError, OutputError
from napari_cellsam.export.output import whole_file
from napari_cellsam.models.layouts import published_names, recognise
from napari_cellsam.models.network.cellsam import CellSamConfig

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cellsam.models.network.cellsam import CellSam

__all__ = ["save_published"]


def save_published(network: CellSam, path: Path) -> None:
    """Write a network's weights in full precision, under the names of the published files.

    Parameters
    ----------
    network
        CellSAM in either layout, or SAM alone.
    path
        A ``.safetensors`` file; replaced if it exists.

    Raises
    ------
    CheckpointError
        If the weights hold NaN or infinity, or are of a size that the names and shapes do not tell.
    OutputError
        If it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = _published_tensors(network)
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise CheckpointError("the weights hold NaN or infinity; they were not written. Train again at a lower rate")
    _check_told(network.config, {key: tuple(tensor.shape) for key, tensor in tensors.items()})
    with whole_file(path, overwrite=True) as partial:
        try:
            save_file(tensors, partial, {"format": "pt"})
        except SafetensorError as error:
            raise OutputError(f"{path} cannot be written: {error}") from error


def _published_tensors(network: CellSam) -> dict[str, Tensor]:
    """Return tensors by their names in the file; no two share memory, as the format wants it."""
    state = network.state_dict()
    finder = network.config.finder
    keys = published_names(state, network.config.layout, finder.n_decoder if finder else 0)
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for key, name in keys.items():
        tensor = state[name].detach().cpu().contiguous()
        result[key] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return result


def _check_told(config: CellSamConfig, shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse a network that a reader would take for another one."""
    told = CellSamConfig.from_dict(recognise(shapes).config)
    if config.finder is not None and told.finder is not None:  # dropout is no part of what is computed
        told = replace(told, finder=replace(told.finder, dropout=config.finder.dropout))
    if told != config:
        raise CheckpointError(f"a published file cannot tell that a network is {config}; it would be read as {told}")
