"""The outlines of cells as SVG, over a small copy of the picture."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.output import whole_file
from napari_cellsam.export.overlay import draw_picture
from napari_cellsam.export.rings import group_rings

if TYPE_CHECKING:
    from napari_cellsam.types import Image

__all__ = ["write_svg"]

_PICTURE_SIDE = 2048  # largest of the picture behind the outlines


def write_svg(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write the outlines of one plane as SVG, a path per cell; exact, whatever the magnification.

    Parameters
    ----------
    path
        Where to write to.
    cells
        One plane. Where it has an image, that lies behind, at most 2048 pixels wide and high.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    height, width = cells.shape
    with whole_file(path, overwrite) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        )
        if cells.images:
            file.write(
                f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
                f'xlink:href="data:image/png;base64,{_picture(cells.images[0])}"/>\n'
            )
        file.write('<g fill="none" stroke="#ffd600" stroke-width="1" stroke-linejoin="round">\n')
        for label, pieces in group_rings(cells.rings(0)):
            lines = "".join(f"M{' '.join(map(str, ring[:, ::-1].ravel().tolist()))}z" for own in pieces for ring in own)
            file.write(f'<path id="cell-{label}" vector-effect="non-scaling-stroke" d="{lines}"/>\n')
        file.write("</g>\n</svg>\n")


def _picture(image: Image) -> str:
    """Return a small copy of the picture as PNG in base 64."""
    from imagecodecs import png_encode

    step = -(-max(image.shape) // _PICTURE_SIDE)
    return b64encode(png_encode(np.ascontiguousarray(draw_picture(image, step)))).decode("ascii")
