"""Loading: from a model's name or file to a backend on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_cellsam.errors import DeviceError, OptionError
from napari_cellsam.models.compact_backend import CompactBackend
from napari_cellsam.models.published_backend import PublishedBackend
from napari_cellsam.models.weights import load_network

if TYPE_CHECKING:
    from napari_cellsam.models.backend import Backend

__all__ = ["choose_device", "choose_dtype", "load_backend"]


def load_backend(weights: Path, device: torch.device, precision: str = "auto") -> Backend:
    """Load weights of any design that we know.

    Parameters
    ----------
    weights
        A file that `napari_cellsam.models.weights` reads.
    device
        Where it computes.
    precision
        As for `choose_dtype`; ``"auto"`` is fp32 for published weights, whose detector was measured not to agree in
        bf16 (boxes of a random checkpoint moved by 3 % of the field).

    Raises
    ------
    CheckpointError
        If the file is broken, unsafe or of another design.
    """
    choose_dtype(precision, device)  # refuses a wrong word before a gigabyte is read
    network = load_network(weights)
    if network.architecture == "compact":
        return CompactBackend(network.model, device, choose_dtype(precision, device))  # type: ignore[arg-type]
    dtype = torch.float32 if precision == "auto" else choose_dtype(precision, device)
    return PublishedBackend(network.model, device, dtype)  # type: ignore[arg-type]


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``"auto"`` is the best one of this machine.

    Raises
    ------
    DeviceError
        If the machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is no device; use auto, cpu, cuda, cuda:N or mps") from error
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device.type, False):
        have = ", ".join(kind for kind, there in available.items() if there)
        raise DeviceError(f"device {name!r} was asked for, but this machine has {have} only; use --device auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {name!r} was asked for, but this machine has {torch.cuda.device_count()} GPUs")
    return device


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type for products; ``"auto"`` is bfloat16 where the hardware computes in it.

    Raises
    ------
    OptionError
        If there is no such precision.
    """
    if precision == "fp32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if precision != "auto":
        raise OptionError(f"precision is {precision!r}; expected fp32, bf16 or auto")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = device.type == "cpu" and torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
