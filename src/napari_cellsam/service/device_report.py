"""The report on a device: what it is, and how much of its memory is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cellsam.service.lost_device import loss_of_device

if TYPE_CHECKING:
    import torch

__all__ = ["DeviceReport", "report_on"]


@dataclass(frozen=True)
class DeviceReport:
    """What a device is.

    Attributes
    ----------
    name
        Such as ``"cpu"`` or ``"cuda:0 (NVIDIA A100)"``.
    memory_bytes, memory_used_bytes
        All of it, and what is taken; of a CPU, what this process takes.
    """

    name: str
    memory_bytes: int
    memory_used_bytes: int


def report_on(device: str) -> DeviceReport:
    """Report on a device by its name; as for `napari_cellsam.load_model`.

    Raises
    ------
    DeviceError
        If the machine has no such device.
    ServiceUnavailableError
        If it is lost to this process.
    """
    from napari_cellsam.models.loading import choose_device

    try:
        chosen = choose_device(device)
        return _report_on_gpu(chosen) if chosen.type == "cuda" else _report_on_processor(chosen)
    except RuntimeError as error:
        loss = loss_of_device(error)
        if loss is None:
            raise
        raise loss from error


def _report_on_gpu(device: torch.device) -> DeviceReport:
    import torch

    index = torch.cuda.current_device() if ":" not in str(device) else device.index
    free, total = torch.cuda.mem_get_info(index)
    return DeviceReport(f"cuda:{index} ({torch.cuda.get_device_name(index)})", total, total - free)


def _report_on_processor(device: torch.device) -> DeviceReport:
    """Report on what shares the machine's memory: a CPU, or Apple's GPU."""
    import psutil

    return DeviceReport(device.type, psutil.virtual_memory().total, psutil.Process().memory_info().rss)
