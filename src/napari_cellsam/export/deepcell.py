"""The ``.npz`` of DeepCell: ``X`` with pictures, ``y`` with labels."""

from __future__ import annotations

import zlib
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import numpy as np

from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.cell_set import CellSet, StackAxis
from napari_cellsam.export.facts import pixel_size_from
from napari_cellsam.export.output import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_npz", "write_npz"]

# what zipfile and numpy make of a file that is no such file
_BROKEN = (
    BadZipFile,
    EOFError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    zlib.error,
)


def write_npz(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write cells as ``y (N, Y, X, 1)`` and, where there is one, the image as ``X (N, Y, X, C)``.

    Parameters
    ----------
    path
        Where to write to.
    cells
        The cells. Labels are int32 if they fit, as DeepCell's own, else uint32; pictures stay as acquired.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    labels = cells.labels if cells.axis else cells.labels[None]
    arrays: dict[str, NDArray[Any]] = {}
    if cells.images:
        arrays["X"] = np.stack([image.pixels for image in cells.images])
    arrays["y"] = (labels.view(np.int32) if labels.max() < 2**31 else labels)[..., None]
    arrays["axis"] = np.array(cells.axis)
    if cells.pixel_size_um is not None:
        arrays["pixel_size_um"] = np.array(cells.pixel_size_um)
    # not by numpy.savez_compressed, whose compression is three times as slow
    with whole_file(path, overwrite) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def read_npz(path: Path) -> CellSet:
    """Read the labels of DeepCell's ``.npz``: the first channel of ``y``, several pictures as a stack.

    Raises
    ------
    ImageReadError
        If the file is no such file.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            labels = archive["y"]
            axis = str(archive["axis"]) if "axis" in archive else None
            size = archive["pixel_size_um"].tolist() if "pixel_size_um" in archive else None
    except OSError as error:
        raise ImageReadError(f"{path} cannot be read: {error.strerror or error}") from error
    except _BROKEN as error:
        raise ImageReadError(f"{path} cannot be read as DeepCell's .npz, with labels called y: {error}") from error
    if labels.ndim != 4:
        raise ImageReadError(f"{path} holds labels of shape {labels.shape}; expected (N, Y, X, C)")
    labels = labels[..., 0]
    if axis == "" or (axis is None and len(labels) == 1):
        return CellSet.from_array(labels[0], pixel_size_um=pixel_size_from(size), name=path.stem)
    own: StackAxis = "Z" if axis == "Z" else "T"
    return CellSet.from_array(labels, axis=own, pixel_size_um=pixel_size_from(size), name=path.stem)
