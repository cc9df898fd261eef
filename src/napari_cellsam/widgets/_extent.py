"""The extent of a cell in a label image, found from a pixel of it without looking at the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.widgets._layers import LabelsTarget

__all__ = ["Window", "extent_of", "window_around"]

Window = tuple[slice, slice]
_FIRST_PX = 64


def extent_of(target: LabelsTarget, plane: Plane, y: int, x: int) -> tuple[int, Window] | None:
    """Return number and window of the cell at a pixel; None on background.

    Pieces of the cell that lie far from the pixel, beyond a window whose border it does not touch, are not seen.
    """
    label = target.at(plane, y, x)
    if label == 0:
        return None
    reach = _FIRST_PX
    while True:
        window = _clipped(y - reach, x - reach, y + reach + 1, x + reach + 1, target.shape)
        mask = target.read(plane, window) == label
        if not _goes_on(mask, window, target.shape):
            break
        reach *= 2
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = window[0].start, window[1].start
    return label, (
        slice(top + int(rows[0]), top + int(rows[-1]) + 1),
        slice(left + int(columns[0]), left + int(columns[-1]) + 1),
    )


def window_around(shape: tuple[int, int], *windows: Window) -> Window:
    """Return the smallest window that holds some others, within a picture."""
    tops, lefts = ([w[axis].start for w in windows] for axis in (0, 1))
    bottoms, rights = ([w[axis].stop for w in windows] for axis in (0, 1))
    return _clipped(min(tops), min(lefts), max(bottoms), max(rights), shape)


def _clipped(top: int, left: int, bottom: int, right: int, shape: tuple[int, int]) -> Window:
    return slice(max(top, 0), min(bottom, shape[0])), slice(max(left, 0), min(right, shape[1]))


def _goes_on(mask: NDArray[Any], window: Window, shape: tuple[int, int]) -> bool:
    """Whether a cell touches a border of the window behind which the picture goes on."""
    rows, columns = window
    return bool(
        (rows.start > 0 and mask[0].any())
        or (columns.start > 0 and mask[:, 0].any())
        or (rows.stop < shape[0] and mask[-1].any())
        or (columns.stop < shape[1] and mask[:, -1].any())
    )
