"""The cells in a PNG or NPY of labels."""

from __future__ import annotations

from pathlib import Path

from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.label_tiff import read_labels

__all__ = ["read_picture"]


def read_picture(path: Path) -> CellSet:
    """Read cells from one plane of labels, as `read_labels` does.

    Raises
    ------
    ImageReadError
        If the file is missing or broken.
    ImageShapeError
        If it is not one plane of integers from 0.
    """
    return CellSet.from_array(read_labels(path), name=path.stem.removesuffix("_labels"))
