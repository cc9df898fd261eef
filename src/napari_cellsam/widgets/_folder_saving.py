"""The saving of the cells of a folder's image, as a label image beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.editing.exporting import cell_set_of
from napari_cellsam.editing.folder_states import CELLS_FOLDER
from napari_cellsam.export.facts import stem_of
from napari_cellsam.export.formats import find_format
from napari_cellsam.export.output import make_folder
from napari_cellsam.widgets._layers import labels_of, same_layer

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from napari_cellsam.editing.records import CellRecord
    from napari_cellsam.export.cell_set import StackAxis
    from napari_cellsam.widgets._session import Session

__all__ = ["cells_file", "free_cells_file", "labels_to_close", "write_cells"]

_FORMAT = find_format("tiff")


def cells_file(path: Path, paths: Sequence[Path], more: str = "") -> Path:
    """Return the file for the cells of an image; of two that differ in the ending alone it has theirs, too.

    Parameters
    ----------
    path, paths
        Of the image, and of all images of the folder.
    more
        What the name ends with, for a further file.
    """
    twins = sum(stem_of(other).casefold() == stem_of(path).casefold() for other in paths)
    name = stem_of(path) if twins < 2 else path.name
    return _FORMAT.path(path.parent / CELLS_FOLDER, name + more)


def free_cells_file(path: Path, paths: Sequence[Path]) -> Path:
    """Return a file for the cells of an image that is not there yet, beside one that is to stay."""
    places = (cells_file(path, paths, f" {number}") for number in count(2))
    return next(place for place in places if not place.exists())


def write_cells(
    file: Path,
    labels: Any,
    records: Sequence[CellRecord],
    *,
    pixel_size_um: tuple[float, float] | None,
    axis: StackAxis,
    name: str,
) -> None:
    """Write the cells of an image into a label image, in place of an older one.

    Parameters
    ----------
    file
        Where to.
    labels, records, pixel_size_um, axis, name
        As `cell_set_of` takes them.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    make_folder(file.parent)
    cells = cell_set_of(np.asarray(labels), records, name, pixel_size_um=pixel_size_um, axis=axis)
    _FORMAT.write(file, cells, overwrite=True)


def labels_to_close(session: Session, images: Sequence[Layer]) -> list[Labels]:
    """Return the labels layers that are closed with the layers of an image; none where nothing could save them.

    That is so where the user has removed the image, and is told.
    """
    labels = [layer for image in images for layer in labels_of(session.viewer, image)]
    if not labels or any(same_layer(image, there) for image in images for there in session.viewer.layers):
        return labels
    names = ", ".join(repr(str(layer.name)) for layer in labels)
    session.say(f"The image was removed before its cells were saved, so these stay: {names}.", "warning")
    return []
