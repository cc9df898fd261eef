"""The memory that an image would need, compared with what the machine has left."""

from __future__ import annotations

from math import prod

from napari_cellsam.errors import ImageTooLargeError

__all__ = ["available_bytes", "check_memory", "estimate_bytes"]

# besides the pixels: up to three prepared float32 channels and a uint32 label image
_WORKING_BYTES_PER_PIXEL = 16


def estimate_bytes(n_pixels: int, n_channels: int, itemsize: int) -> int:
    """Estimate the memory that an image takes from reading to labels, in bytes.

    Parameters
    ----------
    n_pixels
        Height times width.
    n_channels
        Channels that are read.
    itemsize
        Bytes per stored value; types other than 8- and 16-bit unsigned become 4 bytes.

    Returns
    -------
    int
        The decoded values, one copy of them while they are converted, and the working arrays of the same height and
        width. The tiles of the model come on top; they do not grow with the image.
    """
    return n_pixels * (n_channels * (itemsize + min(itemsize, 4)) + _WORKING_BYTES_PER_PIXEL)


def available_bytes() -> int:
    """Return the memory that this machine can still give without swapping, in bytes."""
    import psutil

    return int(psutil.virtual_memory().available)


def check_memory(shape: tuple[int, ...], itemsize: int, available: int | None = None) -> None:
    """Refuse an image that would not fit, before any of it is decoded.

    Parameters
    ----------
    shape
        ``(Y, X, C)`` of what is about to be read.
    itemsize
        Bytes per stored value.
    available
        Free memory in bytes; measured when None.

    Raises
    ------
    ImageTooLargeError
        If the estimate is above the free memory.
    """
    height, width, *rest = shape
    needed = estimate_bytes(height * width, prod(rest), itemsize)
    free = available_bytes() if available is None else available
    if needed > free:
        raise ImageTooLargeError(
            f"an image of {height:,} x {width:,} pixels needs about {needed / 2**30:.1f} GiB and "
            f"{free / 2**30:.1f} GiB are free; crop or downscale it, or use a machine with more memory"
        )
