"""Weights: from a checkpoint file to a network that computes what it was trained to compute."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import CheckpointError
from napari_cellsam.models.checkpoint_file import read_checkpoint_file
from napari_cellsam.models.layouts import recognise

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Checkpoint", "CheckpointInfo", "Network", "inspect_checkpoint", "load_checkpoint", "load_network"]

_OUR_FORMAT = "napari-cellsam"
_NAMED = 3  # of the tensors that do not fit
_MASK_ENCODER, _DETECTOR_ENCODER = "image_encoder.", "detector_encoder."


@dataclass(frozen=True)
class CheckpointInfo:
    """What is known of a checkpoint once it was read.

    Attributes
    ----------
    architecture
        ``"compact"``, ``"cellsam"`` or ``"sam"``.
    n_parameters
        Numbers that the network uses.
    can_detect
        Whether it finds cells by itself.
    sha256
        Of the file, hexadecimal.
    variant
        Which of the design's layouts or sizes; empty where there is one only.
    """

    architecture: str
    n_parameters: int
    can_detect: bool
    sha256: str
    variant: str = ""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of a network by their names in it, not yet copied from the file.

    Attributes
    ----------
    architecture, variant
        As in `CheckpointInfo`.
    config
        Size of the network, for `build_model`.
    state
        Every tensor of the network and no other, in its shape, finite.
    """

    architecture: str
    variant: str
    config: dict[str, Any]
    state: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Network:
    """A network with its weights.

    Attributes
    ----------
    architecture
        As in `CheckpointInfo`.
    model
        In inference mode, on the CPU, fp32.
    """

    architecture: str
    model: nn.Module


def inspect_checkpoint(path: Path) -> CheckpointInfo:
    """Read a checkpoint through and say what it is.

    Raises
    ------
    CheckpointError
        If it is broken, unsafe, not finite, or of a design that we do not know.
    """
    checkpoint = load_checkpoint(path)
    with Path(path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    can_detect = checkpoint.architecture != "sam"
    n_parameters = sum(tensor.numel() for tensor in checkpoint.state.values())
    return CheckpointInfo(checkpoint.architecture, n_parameters, can_detect, sha256, checkpoint.variant)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the tensors of a network.

    Parameters
    ----------
    path
        A ``.safetensors`` file, or a ``.pt``/``.pth`` file of plain tensors: our own, CellSAM's in either published
        layout, or SAM's of any size. Wrappers (``state_dict``, ``model``) and ``module.`` prefixes are taken off.

    Raises
    ------
    CheckpointError
        If it is broken, unsafe, not finite, of a design that we do not know, or if tensors are missing or too many.
    """
    file = read_checkpoint_file(path)
    if file.metadata.get("format") == _OUR_FORMAT:
        architecture, variant, config = file.metadata.get("architecture", ""), "", file.config()
        tensors = file.tensors
    else:
        layout = recognise({key: tuple(tensor.shape) for key, tensor in file.tensors.items()})
        architecture, variant, config = layout.architecture, layout.variant, layout.config
        tensors = {name: file.tensors[key] for name, key in layout.keys.items()}
    expected = _build_empty(architecture, config).state_dict()
    _check_names(tensors, expected, path)
    _check_values(tensors, expected, path)
    return Checkpoint(architecture, variant, config, tensors)


def load_network(path: Path) -> Network:
    """Build the network of a checkpoint, ready for inference.

    Tensors that detector and mask branch have in common are held once.

    Raises
    ------
    CheckpointError
        As `load_checkpoint`.
    """
    checkpoint = load_checkpoint(path)
    model = _build_empty(checkpoint.architecture, checkpoint.config)
    shared = _shared_names(checkpoint.state)
    state = {
        # A copy, or the file would have to stay as it is for as long as the network lives.
        name: tensor.detach().to(expected.dtype, copy=True).contiguous()
        for (name, tensor), expected in _paired(checkpoint.state, model.state_dict())
        if name not in shared
    }
    state.update({name: state[other] for name, other in shared.items()})
    model.load_state_dict(state, assign=True)
    for name, other in shared.items():
        _tie(model, name, other)
    return Network(checkpoint.architecture, model.eval().requires_grad_(False))


def _build_empty(architecture: str, config: dict[str, Any]) -> nn.Module:
    """Return the network without memory for its weights."""
    import torch

    from napari_cellsam.models.network.build import build_model

    with torch.device("meta"):
        return build_model(architecture, config)


def _paired(state: dict[str, Tensor], expected: dict[str, Tensor]) -> list[tuple[tuple[str, Tensor], Tensor]]:
    return [((name, tensor), expected[name]) for name, tensor in state.items()]


def _check_names(tensors: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors that are too few, too many or of other shapes, and name the first of them."""
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    wrong = [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of the wrong shape", wrong))
        if names
    ]
    if problems:
        raise CheckpointError(f"the tensors of {path} do not fit the network: {'; '.join(problems)}")


def _check_values(tensors: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors of an unusable type, and NaN or infinity."""
    for (name, tensor), like in _paired(tensors, expected):
        if tensor.is_floating_point() != like.is_floating_point() or tensor.is_complex():
            raise CheckpointError(f"tensor {name} of {path} is of type {tensor.dtype}; expected {like.dtype}")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(f"tensor {name} of {path} holds NaN or infinity; these weights are broken")


def _shared_names(state: dict[str, Tensor]) -> dict[str, str]:
    """Return the detector's encoder tensors that equal the mask branch's, with the names of those."""
    import torch

    pairs = {
        name: _MASK_ENCODER + name.removeprefix(_DETECTOR_ENCODER)
        for name in state
        if name.startswith(_DETECTOR_ENCODER)
    }
    return {name: other for name, other in pairs.items() if torch.equal(state[name], state[other])}


def _tie(model: nn.Module, name: str, other: str) -> None:
    """Make two names stand for one parameter, also when the network moves to a device."""
    module, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(module), attribute, model.get_parameter(other))
