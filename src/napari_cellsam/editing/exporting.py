"""Cells that were worked on, as the export takes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.records import CellRecord
from napari_cellsam.export.cell_set import CellFacts, CellSet, StackAxis
from napari_cellsam.types import Image

__all__ = ["cell_set_of"]


def cell_set_of(
    labels: NDArray[np.integer[Any]],
    records: Iterable[CellRecord],
    name: str,
    *,
    images: tuple[Image, ...] = (),
    pixel_size_um: tuple[float, float] | None = None,
    axis: StackAxis = "Z",
) -> CellSet:
    """Return labels and the records of their cells as a set of cells.

    Parameters
    ----------
    labels
        ``(..., Y, X)``; several leading axes become one, in their order.
    records
        Of the cells, with planes as of the labels.
    name
        Of the image.
    images
        Of each plane, or none.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres, or None where it is not known.
    axis
        What the planes of a stack are.

    Raises
    ------
    ImageShapeError
        If the labels are none.
    """
    leading = labels.shape[:-2]
    flat = labels.reshape(-1, *labels.shape[-2:]) if leading else labels
    cells = CellSet.from_array(
        flat, axis=axis if leading else "", images=images, pixel_size_um=pixel_size_um, name=name
    )
    facts = {
        (int(np.ravel_multi_index(r.plane, leading)) if leading else 0, r.label): CellFacts(
            r.origin, r.detector_score, r.predicted_iou
        )
        for r in records
    }
    return CellSet(cells.labels, cells.axis, facts, cells.images, cells.pixel_size_um, cells.name)
