"""The compression of images for a slow wire, where it pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from napari_cellsam.service.arrays import pack, unpack
from napari_cellsam.service.messages import PutImage, Request

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
    pixels = unpack(request.pixels)
    return msgspec.structs.replace(request, pixels=pack(pixels, compress=True)) if _pays(pixels) else request


def _pays(pixels: NDArray[Any]) -> bool:
    """Whether some rows, spread over the image, become smaller."""
    n_rows = max(1, _SAMPLE_BYTES // max(pixels[0].nbytes, 1))
    sample = pixels[:: max(1, len(pixels) // n_rows)]
    return len(pack(sample, compress=True).data) < _PAYS * sample.nbytes
