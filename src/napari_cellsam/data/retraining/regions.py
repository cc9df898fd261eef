"""Regions of a corrected picture: what is certain in it, and which crops of it are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.dataset import median_diameter
from napari_cellsam.data.retraining.pictures import Corrected
from napari_cellsam.data.tiling import Region
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import DatasetError
from napari_cellsam.export.cell_set import used_labels

__all__ = ["certain_region", "plan_crops", "without_doubtful"]

Bools = NDArray[np.bool_]

_RIM_OF_DIAMETER = 0.15
_LEAST_RIM_PX = 2
_WHOLE_PIXELS = 2048 * 2048
_BLOCK_PX = 64
_MARGIN_BLOCKS = 2


def certain_region(corrected: Corrected) -> Bools:
    """Return where a picture is known: every cell is outlined there, and the rest of it is background.

    That is what the person verified. Where that is nothing, it is the cells that a person made, changed or reviewed,
    and a rim of 15 % of the median diameter (at least 2 pixels) around them, because who approves of an outline has
    looked at what lies beside it. A cell that only the model spoke for is never part of it.

    Parameters
    ----------
    corrected
        The picture.

    Returns
    -------
    ndarray
        ``(Y, X)`` bool, somewhere True.

    Raises
    ------
    DatasetError
        If nothing in the picture is certain.
    """
    if corrected.verified_yx is not None:
        return corrected.verified_yx
    from scipy import ndimage

    labels = corrected.labels_yx
    unknown = _doubtful(labels, corrected.cells)
    certain = (labels > 0) & ~unknown
    if not certain.any():
        raise DatasetError(
            f"{corrected.name}: nothing in this picture is certain, so nothing can be learned from it. Review some of "
            f"its {len(used_labels(labels))} cells, or mark a region in which every cell is outlined as verified"
        )
    rim = max(_LEAST_RIM_PX, round(_RIM_OF_DIAMETER * median_diameter(np.where(certain, labels, 0))))
    return np.asarray(ndimage.binary_dilation(certain, iterations=rim) & ~unknown)


def without_doubtful(verified: Bools, labels: NDArray[Any], cells: Iterable[CellRecord]) -> Bools:
    """Return a region that was verified earlier without the cells that only a model spoke for, as it wrote them later.

    Parameters
    ----------
    verified
        ``(Y, X)``, where a person said that every cell is outlined.
    labels
        ``(Y, X)`` integers, 0 background, as they are now.
    cells
        What is known of the cells.
    """
    return verified & ~_doubtful(labels, cells)


def _doubtful(labels: NDArray[Any], cells: Iterable[CellRecord]) -> Bools:
    """Return the pixels of the cells that only a model spoke for."""
    numbers = [record.label for record in cells if record.is_replaceable]
    return np.isin(labels, np.array(numbers, labels.dtype)) if numbers else np.zeros(labels.shape, bool)


def plan_crops(verified: Bools) -> list[Region]:
    """Choose the crops of a picture that are kept.

    A picture of up to 2048 x 2048 pixels is kept whole. Of a larger one it is the boxes around the known regions, with
    at least 64 pixels around them for context, that do not overlap.

    Parameters
    ----------
    verified
        ``(Y, X)``, where the picture is known.
    """
    height, width = verified.shape
    if verified.size <= _WHOLE_PIXELS:
        return [(0, 0, height, width)]
    regions = []
    for rows, columns in _boxes(_coarse(verified)):
        y0, x0 = rows.start * _BLOCK_PX, columns.start * _BLOCK_PX
        regions.append((y0, x0, min(rows.stop * _BLOCK_PX, height), min(columns.stop * _BLOCK_PX, width)))
    return regions


def _coarse(verified: Bools) -> Bools:
    """Return which blocks of a picture are in the known regions or close to them."""
    from scipy import ndimage

    starts = [np.arange(0, n, _BLOCK_PX) for n in verified.shape]
    by_rows = np.logical_or.reduceat(verified, starts[0], axis=0)
    blocks = np.logical_or.reduceat(by_rows, starts[1], axis=1)
    square = np.ones((2 * _MARGIN_BLOCKS + 1,) * 2, bool)
    return np.asarray(ndimage.binary_dilation(blocks, square))


def _boxes(blocks: Bools) -> list[tuple[slice, slice]]:
    """Return boxes around pieces, such that they neither overlap nor touch."""
    from scipy import ndimage

    while True:
        filled = np.zeros_like(blocks)
        found: list[tuple[slice, slice]] = ndimage.find_objects(ndimage.label(blocks, np.ones((3, 3), bool))[0])
        for box in found:
            filled[box] = True
        if np.array_equal(filled, blocks):
            return found
        blocks = filled
