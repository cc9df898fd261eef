"""Arrays as messages carry them, and back."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import LimitExceededError, MessageError
from napari_cellsam.service.messages import ArrayData, BitsData

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pack", "pack_bits", "unpack", "unpack_bits"]

_DTYPES = {name: np.dtype(name) for name in ("uint8", "uint16", "uint32", "int32", "float16", "float32")}
_MOST_BYTES = 2**33
_MOST_AXES = 6
_LEVEL = 1  # of zstd: fast enough for a laptop's processor to keep up with a network


def pack(array: NDArray[Any], *, compress: bool = False) -> ArrayData:
    """Return an array as a message carries it.

    Parameters
    ----------
    array
        Of uint8, uint16, uint32, int32, float16 or float32.
    compress
        Whether its bytes are compressed.

    Raises
    ------
    MessageError
        If it has another type.
    """
    if array.dtype.name not in _DTYPES:
        raise MessageError(f"arrays of {array.dtype} are not sent; expected {', '.join(_DTYPES)}")
    ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = _compress(ordered) if compress else ordered.tobytes()
    return ArrayData(dtype=array.dtype.name, shape=array.shape, data=data, compression="zstd" if compress else "none")


def unpack(
    data: ArrayData,
    *,
    dtypes: Collection[str] = tuple(_DTYPES),
    ndim: int | None = None,
    max_bytes: int = _MOST_BYTES,
    finite: bool = False,
    may_be_compressed: bool = False,
) -> NDArray[Any]:
    """Return the array that a message carries; nothing in the message is trusted.

    Parameters
    ----------
    data
        The message.
    dtypes
        Types that are expected.
    ndim
        Number of axes that is expected.
    max_bytes
        Largest array, uncompressed; no memory is taken for a larger one.
    finite
        Whether NaN and infinity are refused.
    may_be_compressed
        Whether compressed bytes are taken. They may grow ten thousand times, up to ``max_bytes`` for each array, so a
        message with any number of arrays must not hold them.

    Returns
    -------
    ndarray
        Read-only where the message's own bytes are used.

    Raises
    ------
    MessageError
        If the message does not hold what it says, or something else than expected.
    LimitExceededError
        If the array is larger than ``max_bytes``.
    """
    if data.dtype not in _DTYPES or data.dtype not in dtypes:
        raise MessageError(f"got an array of {data.dtype[:40]!r}; expected {' or '.join(dtypes)}")
    if ndim is not None and len(data.shape) != ndim:
        raise MessageError(f"got an array of {len(data.shape)} axes; expected {ndim}")
    dtype = _DTYPES[data.dtype].newbyteorder("<")
    n_bytes = _n_bytes(data.shape, dtype.itemsize)
    if n_bytes > max_bytes:
        raise LimitExceededError(
            f"got an array of shape {data.shape} and {n_bytes} bytes; at most {max_bytes} are taken here"
        )
    raw = _raw(data, n_bytes, dtype.itemsize, may_be_compressed)
    array: NDArray[Any] = np.frombuffer(raw, dtype).reshape(data.shape).astype(_DTYPES[data.dtype], copy=False)
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise MessageError(f"got an array of shape {data.shape} with NaN or infinity; expected finite numbers")
    return array


def pack_bits(mask: NDArray[np.bool_]) -> BitsData:
    """Return a boolean crop ``(h, w)``, eight pixels a byte."""
    return BitsData(shape=(mask.shape[0], mask.shape[1]), data=np.packbits(mask, axis=None).tobytes())


def unpack_bits(bits: BitsData, *, max_pixels: int = _MOST_BYTES) -> NDArray[np.bool_]:
    """Return a boolean crop ``(h, w)``.

    Raises
    ------
    MessageError
        If the bytes are not as many as the shape needs, or the crop is larger than allowed.
    """
    height, width = bits.shape
    n_pixels = height * width
    if min(height, width) < 0 or max(height, 1) * max(width, 1) > max_pixels:
        raise MessageError(f"got a mask of shape {bits.shape}; expected one of at most {max_pixels} pixels")
    if len(bits.data) != -(-n_pixels // 8):
        raise MessageError(f"got {len(bits.data)} bytes for a mask of shape {bits.shape}")
    flat = np.unpackbits(np.frombuffer(bits.data, np.uint8), count=n_pixels)
    return np.asarray(flat.reshape(height, width).view(bool))


def _n_bytes(shape: tuple[int, ...], itemsize: int) -> int:
    """Return how many bytes an array takes; an empty one may have axes of any length, but no longer than others'."""
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0 or math.prod(max(n, 1) for n in shape) > _MOST_BYTES:
        raise MessageError(f"got an array of the impossible shape {shape[:_MOST_AXES]}")
    return math.prod(shape) * itemsize


def _raw(data: ArrayData, n_bytes: int, itemsize: int, may_be_compressed: bool) -> bytes:
    """Return the bytes of an array, as many as it needs."""
    if data.compression != "none" and not may_be_compressed:
        raise MessageError(f"got compressed bytes for an array of shape {data.shape}; expected plain ones")
    raw = data.data if data.compression == "none" else _decompress(data.data, n_bytes, itemsize)
    if len(raw) != n_bytes:
        raise MessageError(f"got {len(raw)} bytes for an array of shape {data.shape} and type {data.dtype}")
    return raw


def _compress(array: NDArray[Any]) -> bytes:
    """Return the bytes, those of equal significance together, compressed."""
    import zstandard

    planes = array.reshape(-1, 1).view(np.uint8).T  # most significant bytes vary least: apart, they shrink more
    return zstandard.ZstdCompressor(level=_LEVEL).compress(np.ascontiguousarray(planes).data)


def _decompress(data: bytes, n_bytes: int, itemsize: int) -> bytes:
    """Return the bytes in their order; never takes more memory than they should need."""
    import zstandard

    try:
        declared = zstandard.get_frame_parameters(data).content_size
        if declared != n_bytes:
            raise MessageError(f"compressed bytes declare a size of {declared}; expected {n_bytes}")
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=n_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MessageError(f"got bytes that zstd cannot decompress: {error}") from error
    if itemsize == 1:
        return raw
    return np.frombuffer(raw, np.uint8).reshape(itemsize, -1).T.tobytes()
