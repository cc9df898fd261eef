"""The canvas on which outlines become labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellsam.data.synthetic.noise import smooth_noise
from napari_cellsam.data.synthetic.shapes import Shape

__all__ = ["Canvas", "Crowd", "populate"]

Field = NDArray[np.float32]
_FAR = -60.0


@dataclass(frozen=True)
class Crowd:
    """How cells stand together.

    Attributes
    ----------
    n_cells
        How many are wanted.
    touching
        Chance that a cell is put beside an earlier one, 0 to 1.
    overlap
        Fraction of a cell that may lie on others when it is put down, 0 to 1.
    tries
        How many places are tried per wanted cell; more of them make a denser crowd.
    """

    n_cells: int
    touching: float = 0.4
    overlap: float = 0.15
    tries: int = 2


class Canvas:
    """Labels with the distance to the two nearest outlines, drawn cell by cell, each in its own window.

    Parameters
    ----------
    shape
        ``(Y, X)`` in pixels.
    margin
        How far outside an outline its distance is known, in pixels.
    """

    def __init__(self, shape: tuple[int, int], margin: float = 4.0) -> None:
        self.shape = shape
        self.margin = self._reach = margin
        self.labels = np.zeros(shape, np.int32)
        self.shapes: list[Shape] = []
        self._best = np.full(shape, _FAR, np.float32)
        self._second = np.full(shape, _FAR, np.float32)
        self._y, self._x = (np.ascontiguousarray(g) for g in np.indices(shape, np.float32))

    def warp(self, strength: float, scale: float, rng: np.random.Generator) -> None:
        """Bend the outlines that are added from now on by about ``strength`` pixels over ``scale`` pixels."""
        for grid in (self._y, self._x):
            shift = np.float32(strength) * smooth_noise(self.shape, scale, rng)
            np.add(grid, shift, out=grid)
            # Bent outlines reach farther, and windows must hold them.
            self._reach = max(self._reach, self.margin + float(np.abs(shift).max()))

    def add(self, shape: Shape, max_overlap: float = 1.0) -> bool:
        """Draw a cell; return False and draw nothing where it would lie on others by more than ``max_overlap``."""
        (cy, cx), (ey, ex) = shape.centre, shape.extent
        y0, x0 = max(0, int(cy - ey - self._reach)), max(0, int(cx - ex - self._reach))
        y1 = min(self.shape[0], int(cy + ey + self._reach) + 2)
        x1 = min(self.shape[1], int(cx + ex + self._reach) + 2)
        if y1 <= y0 or x1 <= x0:
            return False
        if (
            max_overlap < 0.5
            and 0 <= cy < self.shape[0]
            and 0 <= cx < self.shape[1]
            and self._best[int(cy), int(cx)] > 0
        ):
            return False
        window = slice(y0, y1), slice(x0, x1)
        depth = shape.depth(self._y[window] - np.float32(cy), self._x[window] - np.float32(cx))
        best = self._best[window]
        inside = depth > 0
        n_inside = np.count_nonzero(inside)
        if max_overlap < 1 and np.count_nonzero(inside & (best > 0)) > max_overlap * n_inside:
            return False
        if n_inside == 0:
            return False
        self.shapes.append(shape)
        self.labels[window][inside & (depth > best)] = len(self.shapes)
        second = self._second[window]
        np.maximum(second, np.minimum(best, depth), out=second)
        np.maximum(best, depth, out=best)
        return True

    @property
    def overlap(self) -> Field:
        """``(Y, X)`` depth inside the second cell of a pixel, at least 0: where two cells lie on each other."""
        return np.maximum(self._second, 0)

    def finish(self, min_pixels: int = 12) -> Field:
        """Drop what is too small or cut off, number the cells without gaps, and return the distance to the border.

        Returns
        -------
        ndarray
            ``(Y, X)`` pixels: positive inside a cell, also towards a cell that it touches; negative outside.
        """
        self._keep_largest_pieces()
        counts = np.bincount(self.labels.ravel(), minlength=len(self.shapes) + 1)
        keep = counts >= min_pixels
        keep[0] = False
        numbers = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
        self.labels = numbers[self.labels]
        self.shapes = [shape for shape, kept in zip(self.shapes, keep[1:], strict=True) if kept]
        edge = np.minimum(self._best, 0.5 * (self._best - self._second))
        # Outside, the distance is to the nearest cell alone, or gaps between two cells would be deep.
        edge = np.where(self.labels > 0, edge, np.minimum(self._best, -0.25))
        # A window reaches beyond the margin at its corners; without this, it would be seen as a rectangle.
        edge[edge < -self.margin] = _FAR
        return np.asarray(edge, np.float32)

    def spread(self, values: ArrayLike) -> Field:
        """Return ``(Y, X)`` with every cell filled with its own value of ``(N,)``; 0 outside."""
        table = np.concatenate(([0], np.asarray(values))).astype(np.float32)
        return table[self.labels]

    def _keep_largest_pieces(self) -> None:
        """Leave every label in one piece."""
        from scipy import ndimage

        for number, window in enumerate(ndimage.find_objects(self.labels), start=1):
            if window is None:
                continue
            crop = self.labels[window]
            pieces, n_pieces = ndimage.label(crop == number)
            if n_pieces > 1:
                largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
                crop[(pieces > 0) & (pieces != largest)] = 0


def populate(canvas: Canvas, draw: Callable[[Shape | None], Shape], crowd: Crowd, rng: np.random.Generator) -> None:
    """Fill a canvas with cells.

    Parameters
    ----------
    canvas
        Where they go.
    draw
        Makes a cell beside the one it is given, or anywhere when given None.
    crowd
        How many, and how close.
    rng
        Source of chance.
    """
    before = len(canvas.shapes)
    for _ in range(crowd.tries * crowd.n_cells + 4):
        if len(canvas.shapes) - before >= crowd.n_cells:
            return
        anchor = None
        if canvas.shapes and rng.random() < crowd.touching:
            anchor = canvas.shapes[int(rng.integers(len(canvas.shapes)))]
        canvas.add(draw(anchor), crowd.overlap)
