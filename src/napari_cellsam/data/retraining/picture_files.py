"""The files of one picture of a data set: written once, known by their sums."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.tiling import Region
from napari_cellsam.errors import DatasetError
from napari_cellsam.export.label_tiff import describe_pixels, write_labels
from napari_cellsam.export.output import whole_file
from napari_cellsam.types import Image

__all__ = ["PictureContent", "checked_bytes", "crop_of", "digest_of", "read_crop", "sha256_of", "write_crop"]

_CHUNK = 2**20


@dataclass(frozen=True, eq=False)
class PictureContent:
    """Arrays of one crop.

    Attributes
    ----------
    pixels
        ``(Y, X, C)``.
    labels
        ``(Y, X)`` uint32.
    verified
        ``(Y, X)`` bool.
    """

    pixels: NDArray[Any]
    labels: NDArray[np.uint32]
    verified: NDArray[np.bool_]

    def crop(self, window: Region) -> PictureContent:
        """Return a part."""
        return PictureContent(*(crop_of(array, window) for array in (self.pixels, self.labels, self.verified)))


def crop_of(array: NDArray[Any], window: Region) -> NDArray[Any]:
    """Return the part of an array in ``(y0, x0, y1, x1)``."""
    y0, x0, y1, x1 = window
    return array[y0:y1, x0:x1]


def digest_of(*parts: NDArray[Any] | bytes | str) -> str:
    """Return a name of content: blake2b over types, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(repr((part.shape, str(part.dtype))).encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            raw = part.encode() if isinstance(part, str) else part
            digest.update(repr(len(raw)).encode() + b":" + raw)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_bytes(folder: Path, file: str, sha256: str) -> bytes:
    """Read a file of a data set, and refuse one that is not what was written.

    Raises
    ------
    DatasetError
        If it is missing, cannot be read, or has changed.
    """
    path = folder / file
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing; put it back, or add its picture again") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise DatasetError(f"{path} is not what was written; put it back, or add its picture again")
    return raw


def write_crop(folder: Path, number: int, content: PictureContent, image: Image, *, with_pixels: bool) -> None:
    """Write the files of a crop: ``image-0.tif``, ``labels-0.tif`` and ``verified-0.tif``.

    Parameters
    ----------
    folder
        Where to.
    number
        Of the crop, 0 first.
    content
        The arrays.
    image
        The picture, for pixel size and names of channels.
    with_pixels
        Whether the image is written; False where an earlier version has it already.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    size = image.pixel_size_um
    if with_pixels:
        _write_pixels(folder / f"image-{number}.tif", content.pixels, image)
    write_labels(folder / f"labels-{number}.tif", content.labels, size)
    write_labels(folder / f"verified-{number}.tif", content.verified.astype(np.uint8), size)


def _write_pixels(path: Path, pixels: NDArray[Any], image: Image) -> None:
    """Write pixels as acquired, one page per channel."""
    from tifffile import imwrite

    metadata, options = describe_pixels(image.pixel_size_um)
    metadata["axes"] = "CYX"
    if image.channel_names:
        metadata["Channel"] = {"Name": list(image.channel_names)}
    options |= {"photometric": "minisblack", "compression": "zlib", "metadata": metadata}
    with whole_file(path) as temporary:
        imwrite(temporary, np.ascontiguousarray(np.moveaxis(pixels, 2, 0)), ome=True, **options)


def read_crop(raw: tuple[bytes, bytes, bytes], window: Region, name: str) -> PictureContent:
    """Return the arrays of a crop.

    Parameters
    ----------
    raw
        Content of the files with image, labels and verified region.
    window
        ``(y0, x0, y1, x1)`` of the crop in its picture.
    name
        For messages.

    Raises
    ------
    DatasetError
        If a file is of another size or type.
    """
    pages = [_pages(part, name) for part in raw]
    y0, x0, y1, x1 = window
    for what, array in zip(("image", "labels", "verified region"), pages, strict=True):
        if array.shape[1:] != (y1 - y0, x1 - x0):
            raise DatasetError(f"{name}: the {what} is {array.shape[1:]}; expected {(y1 - y0, x1 - x0)}")
    pixels, labels, verified = pages
    for what, array in (("labels", labels), ("verified region", verified)):
        if len(array) != 1 or array.dtype.kind != "u":
            raise DatasetError(f"{name}: the {what} has {len(array)} planes of {array.dtype}; expected one of integers")
    return PictureContent(np.ascontiguousarray(np.moveaxis(pixels, 0, 2)), labels[0].astype(np.uint32), verified[0] > 0)


def _pages(raw: bytes, name: str) -> NDArray[Any]:
    """Decode a TIFF to ``(pages, Y, X)``."""
    from tifffile import TiffFile

    try:
        with TiffFile(io.BytesIO(raw)) as file:
            return np.stack([page.asarray(squeeze=False).reshape(page.shape) for page in file.pages])
    except Exception as error:  # whatever the library makes of a broken file
        raise DatasetError(f"{name}: a file of it cannot be read as TIFF: {error}") from error
