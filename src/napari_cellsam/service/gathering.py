"""The cells of an automatic segmentation, gathered as they come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import MessageError
from napari_cellsam.types import Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.types import Cell

__all__ = ["Gathering"]


class Gathering:
    """Cells of one image.

    A service that died and was asked again sends all cells again. Cells of one answer share no pixels, so those that
    share some with what was handed over already are from another answer.

    Parameters
    ----------
    shape
        ``(Y, X)`` of the image.
    on_cells
        Called with cells that were not handed over yet.
    """

    def __init__(self, shape: tuple[int, int], on_cells: Callable[[tuple[Cell, ...]], None] | None = None) -> None:
        self._shape = shape
        self._on_cells = on_cells
        self._cells: list[Cell] = []
        self._handed = np.zeros(shape, bool) if on_cells else None

    def add(self, cells: Sequence[Cell]) -> None:
        """Take cells that came in.

        Parameters
        ----------
        cells
            Inside the image.
        """
        self._cells.extend(cells)
        if self._on_cells is None or self._handed is None:
            return
        new = tuple(cell for cell in cells if not _window(self._handed, cell)[cell.mask.crop].any())
        for cell in new:
            _window(self._handed, cell)[cell.mask.crop] = True
        if new:
            self._on_cells(new)

    def segmentation(self, n_cells: int, diameter: float | None, notes: tuple[str, ...]) -> Segmentation:
        """Put the cells of the last answer together.

        Parameters
        ----------
        n_cells
            How many that answer has.
        diameter, notes
            As in `Segmentation`.

        Raises
        ------
        MessageError
            If there are fewer, or some share pixels.
        """
        if not 0 <= n_cells <= len(self._cells):
            raise MessageError(f"the service says that it found {n_cells} cells, but it sent {len(self._cells)}")
        cells = self._cells[len(self._cells) - n_cells :]
        labels = np.zeros(self._shape, np.uint32)
        for number, cell in enumerate(cells, start=1):
            window = _window(labels, cell)
            if window[cell.mask.crop].any():
                raise MessageError(f"the service sent cells that share pixels; number {number} is one")
            window[cell.mask.crop] = number
        return Segmentation(
            labels,
            np.array([cell.mask.box for cell in cells], np.float32).reshape(-1, 4),
            np.array([cell.score for cell in cells], np.float32),
            np.array([cell.mask.score for cell in cells], np.float32),
            diameter,
            notes,
        )


def _window(picture: NDArray[Any], cell: Cell) -> NDArray[Any]:
    """Return the part of a picture where a cell is."""
    (y, x), (height, width) = cell.mask.corner, cell.mask.crop.shape
    window = picture[max(y, 0) : y + height, max(x, 0) : x + width]
    if window.shape != cell.mask.crop.shape or not cell.mask.crop.any():
        raise MessageError(f"the service sent a cell without pixels or beyond the image of shape {picture.shape}")
    return window
