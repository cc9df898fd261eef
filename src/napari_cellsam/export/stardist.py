"""The folders of StarDist: ``images/`` and ``masks/`` with TIFFs of one name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.cellpose import write_masks
from napari_cellsam.export.output import check_output, make_folder, whole_file

__all__ = ["write_stardist"]


def write_stardist(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write labels to ``masks/`` and, where there is one, the image to ``images/`` beside it.

    Parameters
    ----------
    path
        Of the labels: ``masks/<name>.tif`` in the data set's folder; both folders are made.
    cells
        The cells; labels are stored as uint16 if they fit, images as acquired: ``(Y, X)``, ``(Y, X, C)``, or a stack.
    overwrite
        Whether files that are there already are replaced.

    Raises
    ------
    OutputError
        If a file exists already or cannot be written.
    """
    from tifffile import imwrite

    make_folder(path.parent)
    check_output(path, overwrite)
    if cells.images:
        picture = path.parent.parent / "images" / path.name
        make_folder(picture.parent)
        pixels = np.stack([image.pixels for image in cells.images]) if cells.axis else cells.images[0].pixels
        single = pixels.shape[-1] == 1
        with whole_file(picture, overwrite) as temporary:
            imwrite(
                temporary,
                pixels[..., 0] if single else pixels,
                photometric="rgb" if cells.images[0].rgb else "minisblack",
                planarconfig=None if single else "contig",
                compression="zlib",
                rowsperstrip=256,
            )
    write_masks(path, cells, overwrite)
