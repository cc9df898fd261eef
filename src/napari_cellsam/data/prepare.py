"""The prepared picture: what every model sees of an image, whatever its type and range were (CellSAM, methods)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.data.clahe import equalize

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from napari_cellsam.types import Image

__all__ = ["prepare"]

_NUCLEAR, _CELL = 1, 2  # places in the prepared picture; 0 stays blank
_BRIGHTEST_PERCENT = 99.9
_KERNEL_PIXELS = 128
_GREY_WEIGHTS = (0.2125, 0.7154, 0.0721)  # luminance of linear sRGB, ITU-R BT.709


def prepare(image: Image, *, clahe: bool = True) -> NDArray[np.float32]:
    """Scale the channels of an image to the range that models expect.

    Each channel is clipped at the 99.9 percentile of its non-zero pixels, rescaled to 0-1 and, on request, equalized
    locally (CLAHE) over the whole image. A constant channel becomes zeros.

    Parameters
    ----------
    image
        The picture as acquired. Colour pictures are turned to grey, which takes the place of the whole cell.
    clahe
        Whether local contrast is equalized.

    Returns
    -------
    NDArray
        ``(3, Y, X)``, 0 to 1: blank, nuclear, whole-cell.
    """
    prepared = np.zeros((3, *image.shape), np.float32)
    if image.rgb:
        prepared[_CELL] = _stretch(_grey(image.pixels), clahe)
        return prepared
    for place, index in ((_NUCLEAR, image.nuclear), (_CELL, image.cell)):
        if index is not None:
            prepared[place] = _stretch(image.pixels[..., index].astype(np.float32), clahe)
    return prepared


def _grey(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return the luminance ``(Y, X)`` of ``(Y, X, 3 or 4)``."""
    grey = np.zeros(pixels.shape[:2], np.float32)
    for channel, weight in enumerate(_GREY_WEIGHTS):
        grey += np.float32(weight) * pixels[..., channel].astype(np.float32)
    return grey


def _stretch(channel: NDArray[np.float32], clahe: bool) -> NDArray[np.float32]:
    """Return one channel in 0-1; the array that is given is overwritten."""
    if max(float(channel.max()), -float(channel.min())) > np.finfo(np.float32).max / 4:
        channel /= 4  # or differences of values would overflow
    present = channel[channel != 0]
    if present.size == 0:
        return channel
    np.minimum(channel, np.float32(np.percentile(present, _BRIGHTEST_PERCENT)), out=channel)
    del present
    low, high = float(channel.min()), float(channel.max())
    if low == high:
        channel.fill(0)
        return channel
    channel -= np.float32(low)
    channel /= np.float32(high - low)
    return equalize(channel, _KERNEL_PIXELS) if clahe else channel
