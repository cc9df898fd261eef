"""The file of a checkpoint: its tensors by name, read without running anything that is in it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CheckpointFile", "read_checkpoint_file"]

_WRAPPERS = ("state_dict", "model")
_PARALLEL_PREFIX = "module."
_MOST_SHARING = 8  # how many times a file's own size its tensors may claim, since tensors can share values


@dataclass(frozen=True, eq=False)
class CheckpointFile:
    """What a file holds.

    Attributes
    ----------
    tensors
        By name, without wrappers and prefixes of the training code; values are read when they are used where the format
        allows it.
    metadata
        The header of a safetensors file.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """Return the size of the network from the header; empty where there is none.

        Raises
        ------
        CheckpointError
            If the header is not what we write.
        """
        try:
            config = json.loads(self.metadata.get("config", "{}"))
        except json.JSONDecodeError as error:
            raise CheckpointError(f"the header of the weights is broken: its config is not JSON ({error})") from error
        if not isinstance(config, dict):
            raise CheckpointError(f"the header of the weights is broken: its config is {type(config).__name__}")
        return config


def read_checkpoint_file(path: Path) -> CheckpointFile:
    """Read a ``.safetensors`` file, or a PyTorch file of plain tensors; anything else in a pickle is refused.

    Raises
    ------
    CheckpointError
        If the file is absent, truncated, unsafe, or holds anything but tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; give the path of a .pt, .pth or .safetensors file")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    tensors = _unwrap(_read_torch(path), path)
    _check_size(tensors, path)
    return CheckpointFile(tensors)


def _read_safetensors(path: Path) -> CheckpointFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping, has keys() only
            return CheckpointFile(tensors, dict(file.metadata() or {}))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}. Fetch it again.") from error


def _read_torch(path: Path) -> Any:
    import pickle

    import torch

    try:
        # Without `mmap` a file of 1.2 GB would be held once more in memory; only the newer format has it.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a file of plain tensors and was not opened, because what else is in it could run code: "
            f"{_first_line(error)}"
        ) from error
    except Exception as error:  # broken bytes make an unpickler raise nearly anything
        raise CheckpointError(f"{path} is broken or no PyTorch file: {_first_line(error)}. Fetch it again.") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors inside the wrappers that training code puts around them."""
    import torch

    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds {type(content).__name__}; expected tensors by name (a state dict)")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            raise CheckpointError(f"{path} holds {type(value).__name__} under {key!r}; expected tensors by name only")
    while all(key.startswith(_PARALLEL_PREFIX) for key in content):
        content = {key.removeprefix(_PARALLEL_PREFIX): value for key, value in content.items()}
    return dict(content)


def _check_size(tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse a small file whose tensors would fill the memory."""
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    size = path.stat().st_size
    if claimed > _MOST_SHARING * size:
        raise CheckpointError(f"{path} has {size} bytes but its tensors claim {claimed}; it was not made by training")
