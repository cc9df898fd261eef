"""The paper's filter: which cells are not learned from, because they are in pieces or one pixel thin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.export.cell_set import used_labels
from napari_cellsam.labels import relabel_sequential

__all__ = ["Flaws", "find_flaws", "without_flawed_cells"]


@dataclass(frozen=True)
class Flaws:
    """The cells that are not learned from.

    Attributes
    ----------
    in_pieces
        Labels of several pieces that do not even meet at a corner, rising.
    thin
        Labels that are one pixel high or wide, rising.
    """

    in_pieces: tuple[int, ...]
    thin: tuple[int, ...]


def find_flaws(labels: NDArray[np.uint32]) -> Flaws:
    """Find the cells that the paper leaves out.

    Parameters
    ----------
    labels
        ``(Y, X)``, 0 background, numbers may have gaps.
    """
    from scipy import ndimage
    from skimage import measure

    numbers = used_labels(labels)
    dense = relabel_sequential(labels)
    pieces: NDArray[Any] = measure.label(dense, background=0, connectivity=2)  # type: ignore[no-untyped-call]
    cell_of_piece = np.zeros(int(pieces.max()) + 1, np.uint32)
    cell_of_piece[pieces] = dense
    n_pieces = np.bincount(cell_of_piece[1:], minlength=len(numbers) + 1)[1:]
    sides = [min(y.stop - y.start, x.stop - x.start) for y, x in ndimage.find_objects(dense)]
    thin = np.array(sides, int) == 1
    return Flaws(tuple(map(int, numbers[n_pieces > 1])), tuple(map(int, numbers[thin])))


def without_flawed_cells(
    labels: NDArray[np.uint32], verified: NDArray[np.bool_]
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Take out the cells that the paper leaves out; what they cover becomes unknown, not background.

    Parameters
    ----------
    labels, verified
        ``(Y, X)``.

    Returns
    -------
    tuple of ndarray
        Labels and verified region; the arrays that were given where all cells are well.
    """
    flaws = find_flaws(labels)
    bad = np.array(sorted({*flaws.in_pieces, *flaws.thin}), np.uint32)
    if not len(bad):
        return labels, verified
    out: NDArray[Any] = np.isin(labels, bad)
    return np.where(out, np.uint32(0), labels), verified & ~out
