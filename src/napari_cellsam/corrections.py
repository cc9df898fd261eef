"""The corrections: what a person does to cells that a model got wrong, as functions of a crop of a label image.

Each takes a ``(h, w)`` crop of integers (0 is background) and returns a new one. The crop must hold the whole cell;
grown and smoothed cells need background around them in the crop to go to. No correction takes a pixel of a cell that it
was not asked to change, and one that can do nothing returns an equal crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellsam.errors import OptionError
from napari_cellsam.labels import fill_holes, largest_piece

__all__ = [
    "clear_region",
    "fill",
    "grow",
    "keep_largest",
    "merge",
    "renumber",
    "shrink",
    "smooth",
    "split_at_line",
    "split_at_points",
    "swap",
]

Labels = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

_EDGES = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
_CORNERS = np.ones((3, 3), bool)


def merge(crop: Labels, labels: Sequence[int]) -> Labels:
    """Return the crop with some cells made one, which has the number of the first.

    Background that lies between them and is a pixel or two wide becomes part of it.

    Parameters
    ----------
    crop
        ``(h, w)``.
    labels
        Numbers of the cells, at least two different ones.

    Raises
    ------
    OptionError
        If there are not two different cells, or one is not in the crop.
    """
    from scipy import ndimage

    if len(set(labels)) < 2:
        raise OptionError(f"got cells {list(labels)} to merge; choose two different ones")
    for label in labels:
        _pixels(crop, label)
    together = np.isin(crop, labels)
    closed = ndimage.binary_closing(np.pad(together, 2), _CORNERS)[2:-2, 2:-2]
    return _put(crop, together | (closed & (crop == 0)), labels[0])


def split_at_line(crop: Labels, label: int, line_yx: ArrayLike, new_labels: Sequence[int]) -> Labels:
    """Return the crop with a cell cut along a line.

    The largest piece keeps the number, as does what was apart before. Pixels on the line, and at corners alone, go to
    the nearest piece.

    Parameters
    ----------
    crop
        ``(h, w)``.
    label
        The cell.
    line_yx
        ``(N, 2)`` points of a polyline, in pixels of the crop; it must cross the cell.
    new_labels
        Numbers for the other pieces, largest first; when there are more pieces, the smallest stay with the nearest
        numbered one.

    Raises
    ------
    OptionError
        If the line has less than two points, or does not part the cell.
    """
    from scipy import ndimage

    line = np.asarray(line_yx, float)
    if line.ndim != 2 or line.shape[1] != 2 or len(line) < 2 or not np.isfinite(line).all():
        raise OptionError(f"got a line of shape {line.shape}; expected two or more points (y, x)")
    inside = _pixels(crop, label)
    whole, together = ndimage.label(inside)[0], ndimage.label(inside, _CORNERS)[0]
    pieces, n_pieces = ndimage.label(inside & ~_drawn(line, crop.shape))  # edges: a slanted line has no gaps then
    sizes, origins = np.bincount(pieces.ravel()), np.zeros(n_pieces + 1, int)
    origins[pieces] = np.where(pieces, whole, 0)
    parted = np.flatnonzero(np.bincount(origins[1:]) > 1)  # a cell may have had several pieces before
    if len(parted) == 0:
        raise OptionError(f"the line does not part cell {label}; draw it from one side of the cell to the other")
    apart = inside & ~np.isin(together, together[np.isin(whole, parted)])
    numbers = np.zeros(n_pieces + 1, crop.dtype)
    largest_first = sorted(np.flatnonzero(np.isin(origins, parted)), key=lambda piece: -sizes[piece])
    for piece, number in zip(largest_first, (label, *new_labels), strict=False):
        numbers[piece] = number
    return _nearest(crop, inside, np.where(apart, crop, numbers[pieces]))


def split_at_points(
    crop: Labels,
    label: int,
    points_yx: ArrayLike,
    new_labels: Sequence[int],
    landscape: NDArray[np.floating[Any]] | None = None,
) -> Labels:
    """Return the crop with a cell parted by a watershed from one point in each part.

    Parameters
    ----------
    crop
        ``(h, w)``.
    label
        The cell; the first point's part keeps its number.
    points_yx
        ``(N, 2)``, N at least 2: one point in each part, in pixels of the crop.
    new_labels
        Numbers of the other parts, ``N - 1`` of them.
    landscape
        ``(h, w)``, high in the middle of parts and low between them, such as the decoder's probabilities; the distance
        from the outline if None.

    Raises
    ------
    OptionError
        If points are missing, lie outside the cell or on one pixel, or numbers are missing.
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    inside = _pixels(crop, label)
    points = np.round(np.asarray(points_yx, float)).astype(int).reshape(-1, 2)
    if len(points) < 2 or len(new_labels) != len(points) - 1:
        raise OptionError(
            f"got {len(points)} points and {len(new_labels)} new numbers; expected at least 2 points, and one less"
        )
    markers = np.zeros(crop.shape, np.int32)
    for number, (y, x) in enumerate(points, start=1):
        if not (0 <= y < crop.shape[0] and 0 <= x < crop.shape[1] and inside[y, x]) or markers[y, x]:
            raise OptionError(f"point {number} does not lie in cell {label}, or lies on another one; place it inside")
        markers[y, x] = number
    if landscape is None:
        landscape = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    parts = watershed(-np.asarray(landscape, float), markers, mask=inside)  # type: ignore[no-untyped-call]
    return _nearest(crop, inside, np.array([0, label, *new_labels], crop.dtype)[parts])


def grow(crop: Labels, label: int, pixels: int = 1) -> Labels:
    """Return the crop with a cell grown into the background around it."""
    from scipy import ndimage

    inside = _pixels(crop, label)
    grown = ndimage.binary_dilation(inside, _EDGES, iterations=_count(pixels))
    return _put(crop, inside | (grown & (crop == 0)), label)


def shrink(crop: Labels, label: int, pixels: int = 1) -> Labels:
    """Return the crop with a cell shrunk all around.

    Raises
    ------
    OptionError
        If nothing would be left of it.
    """
    from scipy import ndimage

    inside = np.pad(_pixels(crop, label), 1)  # beyond the crop is background
    shrunk = ndimage.binary_erosion(inside, _EDGES, iterations=_count(pixels))[1:-1, 1:-1]
    if not shrunk.any():
        raise OptionError(f"nothing would be left of cell {label}; delete it if that is meant")
    return _put(crop, shrunk, label)


def fill(crop: Labels, label: int) -> Labels:
    """Return the crop with the background inside a cell made part of it; other cells in it stay."""
    return _put(crop, fill_holes(_pixels(crop, label)) & ((crop == 0) | (crop == label)), label)


def smooth(crop: Labels, label: int, radius_px: int = 2) -> Labels:
    """Return the crop with a cell's outline smoothed.

    A pixel belongs to the cell if most of those within the radius do (a median filter of the mask); it is not taken
    from others.

    Raises
    ------
    OptionError
        If nothing would be left of it.
    """
    from scipy import ndimage

    radius = _count(radius_px)
    inside = _pixels(crop, label)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = (y * y + x * x <= radius * (radius + 1)).astype(float)
    share = ndimage.convolve(inside.astype(float), disc / disc.sum(), mode="constant")
    smoothed = (share > 0.5) & ((crop == 0) | inside)
    if not smoothed.any():
        raise OptionError(f"nothing would be left of cell {label}: it is thinner than {2 * radius + 1} pixels")
    return _put(crop, smoothed, label)


def keep_largest(crop: Labels, label: int) -> Labels:
    """Return the crop with only the largest piece of a cell."""
    return _put(crop, largest_piece(_pixels(crop, label)), label)


def renumber(crop: Labels, label: int, new_label: int) -> Labels:
    """Return the crop with another number for a cell.

    Raises
    ------
    OptionError
        If a cell in the crop has the number already.
    """
    inside = _pixels(crop, label)
    if new_label != label and (crop == new_label).any():
        raise OptionError(f"there is a cell {new_label} already; merge them if that is meant")
    return _put(crop, inside, new_label, old=label)


def swap(crop: Labels, one: int, other: int) -> Labels:
    """Return the crop with the numbers of two cells exchanged."""
    first, second = _pixels(crop, one), _pixels(crop, other)
    result = crop.copy()
    result[first], result[second] = other, one
    return result


def clear_region(crop: Labels, region: Bools, *, whole_cells: bool = False) -> Labels:
    """Return the crop with nothing in a region.

    Parameters
    ----------
    crop
        ``(h, w)``.
    region
        ``(h, w)``, where to clear.
    whole_cells
        Whether cells that the region touches go as a whole; otherwise only their part in it.
    """
    gone = np.isin(crop, np.unique(crop[region])) if whole_cells else region
    return np.where(gone, 0, crop).astype(crop.dtype)


def _pixels(crop: Labels, label: int) -> Bools:
    """Return the pixels of a cell, which must be there."""
    inside = crop == label
    if label < 1 or not inside.any():
        raise OptionError(f"there is no cell {label} here")
    return np.asarray(inside)


def _put(crop: Labels, inside: Bools, label: int, *, old: int | None = None) -> Labels:
    """Return the crop with exactly these pixels for a cell."""
    result = np.where(crop == (label if old is None else old), 0, crop).astype(crop.dtype)
    result[inside] = label
    return result


def _nearest(crop: Labels, inside: Bools, numbers: Labels) -> Labels:
    """Return the crop with each pixel of a cell given the number that is nearest to it."""
    from scipy import ndimage

    rows, columns = ndimage.distance_transform_edt(numbers == 0, return_distances=False, return_indices=True)
    result = crop.copy()
    result[inside] = numbers[rows, columns][inside]
    return result


def _drawn(line: NDArray[np.float64], shape: tuple[int, ...]) -> Bools:
    """Return the pixels of a polyline; parts beyond the crop are left out."""
    from skimage.draw import line as pixels_of

    drawn = np.zeros(shape, bool)
    points = np.round(line).astype(int)
    for (y0, x0), (y1, x1) in pairwise(points):
        rows, columns = pixels_of(y0, x0, y1, x1)  # type: ignore[no-untyped-call]
        there = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        drawn[rows[there], columns[there]] = True
    return drawn


def _count(pixels: int) -> int:
    if pixels < 1:
        raise OptionError(f"got {pixels} pixels; expected 1 or more")
    return int(pixels)
