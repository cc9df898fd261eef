"""The compression of images for a slow wire, where it pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from napari_cellsam.service import arrays
from napari_cellsam.service.messages import ArrayData, PutImage, Request

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["squeeze"]

_SAMPLE_BYTES = 2**18
_PAYS = 0.9


def squeeze(request: Request) -> Request:
    """Return a request with its image compressed, where a sample of the image becomes a tenth smaller or more.

    Parameters
    ----------
    request
        Any; only a `PutImage` changes.
    """
    if not isinstance(request, PutImage) or request.pixels.compression != "none":
        return request
    data = request.pixels
    pixels = np.frombuffer(data.data, np.dtype(data.dtype).newbyteorder("<")).reshape(data.shape)
    if not _pays(pixels):
        return request
    return msgspec.structs.replace(request, pixels=_packed(pixels))


def _packed(pixels: NDArray[np.generic]) -> ArrayData:
    return arrays.pack(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("=")), compress=True)


def _pays(pixels: NDArray[np.generic]) -> bool:
    """Whether some rows, spread over the image, become smaller."""
    n_rows = max(1, _SAMPLE_BYTES // max(pixels[0].nbytes, 1))
    sample = pixels[:: max(1, len(pixels) // n_rows)]
    return len(_packed(sample).data) < _PAYS * sample.nbytes
