"""The loss of a device: errors after which a process cannot use its GPU any more, whatever is asked of it."""

from __future__ import annotations

from napari_cellsam.errors import ServiceUnavailableError

__all__ = ["loss_of_device"]

_MARKS = ("CUDA error", "HIP error")
# of these the request or the machine is the cause: the next request may succeed, or a new process fail alike
_NO_LOSS = ("out of memory", "ALLOC_FAILED", "no kernel image", "invalid argument", "invalid configuration")


def loss_of_device(error: BaseException) -> ServiceUnavailableError | None:
    """Return what to tell if an error means that the device is lost to this process, else None.

    Suspending a machine, a reset of the driver and a kernel that fails have that effect. Torch's own class for it is
    known by its name, for torch need not be here.
    """
    text = str(error)
    is_of_device = any(kind.__name__ == "AcceleratorError" for kind in type(error).__mro__) or (
        isinstance(error, RuntimeError) and any(mark in text for mark in _MARKS)
    )
    if not is_of_device or any(mark in text for mark in _NO_LOSS):
        return None
    return ServiceUnavailableError(
        f"the device has failed ({text.partition(chr(10))[0][:200]}), and only a new process can use it again; the "
        "service ends, and has to be started anew"
    )
