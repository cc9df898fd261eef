"""Which errors mean that a process cannot use its device any more."""

from __future__ import annotations

import pytest

from napari_cellsam.errors import DeviceMemoryError
from napari_cellsam.service.lost_device import loss_of_device


class AcceleratorError(RuntimeError):
    """What torch calls it."""


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronous"),
        RuntimeError("HIP error: unspecified launch failure"),
        AcceleratorError("the device went away"),
    ],
)
def test_an_error_of_the_device_itself_is_a_loss(error):
    loss = loss_of_device(error)
    assert str(error).splitlines()[0] in str(loss)
    assert "might be" not in str(loss)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        RuntimeError("shapes cannot be multiplied"),
        DeviceMemoryError("the device's memory is too small"),
        ValueError("CUDA error"),
    ],
)
def test_full_memory_and_what_a_request_is_to_blame_for_is_none(error):
    assert loss_of_device(error) is None
