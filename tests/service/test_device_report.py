"""What is said of a device."""

from __future__ import annotations

import pytest

from napari_cellsam.errors import DeviceError
from napari_cellsam.service.device_report import report_on


def test_a_processor_shares_the_memory_of_the_machine():
    import psutil

    report = report_on("cpu")
    assert report.name == "cpu"
    assert report.memory_bytes == psutil.virtual_memory().total > report.memory_used_bytes > 0


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(DeviceError, match="warp"):
        report_on("warp")


@pytest.mark.gpu
def test_a_gpu_has_a_name_and_memory_of_its_own():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    report = report_on("cuda")
    assert report.name == f"cuda:0 ({torch.cuda.get_device_name(0)})"
    assert report.memory_bytes > report.memory_used_bytes > 0
    assert report_on("cuda:0").name == report.name
