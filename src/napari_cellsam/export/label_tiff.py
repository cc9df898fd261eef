"""The label image as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ImageReadError, ImageShapeError
from napari_cellsam.export.output import whole_file

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["describe_pixels", "read_labels", "write_labels"]


def write_labels(
    path: Path,
    labels: ArrayLike,
    pixel_size_um: tuple[float, float] | None = None,
    overwrite: bool = False,
    axis: str = "",
) -> None:
    """Write labels as an OME-TIFF, compressed with zlib.

    The pixel size is written twice: as OME metadata, and as resolution tags, which ImageJ reads.

    Parameters
    ----------
    path
        Where to write to.
    labels
        ``(Y, X)``, or ``(N, Y, X)`` with an axis; integers from 0 (background), stored as uint16 if they fit, else as
        uint32.
    pixel_size_um
        ``(y, x)`` in micrometres, or None where it is not known.
    overwrite
        Whether a file that is there already is replaced.
    axis
        What the planes of a stack are: ``"T"`` or ``"Z"``; empty for one plane.

    Raises
    ------
    ImageShapeError
        If the labels are not of that shape, or not integers from 0 to 2**32 - 1.
    OutputError
        If the file exists already or cannot be written.
    """
    from tifffile import imwrite

    array = _narrow(labels, axis)
    metadata, options = describe_pixels(pixel_size_um)
    options |= {"photometric": "minisblack", "compression": "zlib", "metadata": metadata | {"axes": f"{axis}YX"}}
    with whole_file(Path(path), overwrite) as temporary:
        imwrite(temporary, array, ome=True, **options)


def _narrow(labels: ArrayLike, axis: str) -> NDArray[Any]:
    """Return labels as uint16 if they fit, else as uint32; refuse what is no label image."""
    array = np.asarray(labels)
    if array.ndim != 2 + len(axis) or array.size == 0:
        raise ImageShapeError(f"got labels of shape {array.shape}; expected ({', '.join(axis + 'YX')})")
    low, high = _label_range(array, "labels")
    if low < 0 or high >= 2**32:
        raise ImageShapeError(f"got labels from {low} to {high}; expected 0 to {2**32 - 1}")
    return array.astype(np.uint16 if high < 2**16 else np.uint32, copy=False)


def describe_pixels(pixel_size_um: tuple[float, float] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the OME metadata for a pixel size, and what tifffile wants to know for the resolution tags.

    Parameters
    ----------
    pixel_size_um
        ``(y, x)`` in micrometres, or None where it is not known; both are empty then.
    """
    if pixel_size_um is None:
        return {}, {}
    y, x = pixel_size_um
    metadata = {"PhysicalSizeY": y, "PhysicalSizeX": x, "PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    return metadata, {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}


def read_labels(path: Path) -> NDArray[Any]:
    """Read a label image from PNG, TIFF or NPY.

    Parameters
    ----------
    path
        The file. The indices of a palette PNG are its labels.

    Returns
    -------
    ndarray
        ``(Y, X)`` integers as stored; a picture of one bit has the label 1.

    Raises
    ------
    ImageReadError
        If the file is missing, broken, or not of these formats.
    ImageShapeError
        If it is not one plane of integers from 0.
    """
    path = Path(path)
    try:
        labels = _decode(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ImageReadError(f"{path} does not exist or is not a file") from error
    except Exception as error:  # whatever the three libraries make of a broken file
        raise ImageReadError(f"{path} cannot be read as a label image (PNG, TIFF or NPY): {error}") from error
    plane = labels.reshape([size for size in labels.shape[:-2] if size > 1] + list(labels.shape[-2:]))
    if plane.ndim != 2 or plane.size == 0:
        raise ImageShapeError(f"{path} holds an array of shape {labels.shape}; expected one plane of labels (Y, X)")
    if _label_range(plane, str(path))[0] < 0:
        raise ImageShapeError(f"{path} holds negative labels; expected integers from 0")
    return plane.astype(np.uint8) if plane.dtype == bool else plane


def _decode(path: Path) -> NDArray[Any]:
    """Decode a file by what its first bytes say it is."""
    with path.open("rb") as file:
        head = file.read(6)
    if head == b"\x93NUMPY":
        return np.asarray(np.load(path, allow_pickle=False))
    if head[:2] in (b"II", b"MM"):
        from tifffile import imread

        return np.asarray(imread(path))
    from PIL.PngImagePlugin import PngImageFile

    # Pillow, because imageio turns a palette's indices into colours
    with path.open("rb") as opened, PngImageFile(opened, str(path)) as picture:
        return np.asarray(picture)


def _label_range(array: NDArray[Any], name: str) -> tuple[int, int]:
    """Return the lowest and the highest label, and refuse what is not integers."""
    if array.dtype.kind not in "bui":
        raise ImageShapeError(f"{name} are of type {array.dtype}; expected integers")
    return int(array.min()), int(array.max())
