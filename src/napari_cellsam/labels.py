"""Label images: masks put together, pieces, holes, numbers and boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.types import Mask

__all__ = ["assemble", "boxes_of", "fill_holes", "largest_piece", "relabel_sequential", "survivors_of"]

Bools = NDArray[np.bool_]
Labels = NDArray[np.uint32]
Window = tuple[slice, slice]


def assemble(
    masks: Sequence[Mask], scores: Sequence[float], shape: tuple[int, int], *, min_area: int = 0
) -> tuple[Labels, list[int]]:
    """Put masks together into a label image.

    A pixel that several masks claim goes to the one with the highest probability there (masks without probabilities
    claim with their score; between equals the higher score, then the earlier mask wins). A mask that loses more than
    half of itself is a duplicate or a contradiction: it is dropped and what it had won goes back to the others. Then
    every cell keeps its largest piece, and its holes are filled where no other cell lies in them.

    Parameters
    ----------
    masks
        Crops; parts beyond the image are cut off.
    scores
        One per mask, 0 to 1, higher is better.
    shape
        ``(Y, X)`` of the label image.
    min_area
        Cells with fewer pixels are dropped.

    Returns
    -------
    labels : ndarray
        ``(Y, X)`` uint32; 0 is background, cells are 1..N without gaps, numbered in the order given.
    kept : list of int
        Index of the mask that became cell 1, 2, ... N.

    Raises
    ------
    OptionError
        If there is not one score per mask.
    """
    claims = _claims_of(masks, scores, shape)
    owner, survivors = _settle(claims, shape)
    return owner, _tidy(owner, claims, sorted(survivors), min_area)


def survivors_of(masks: Sequence[Mask], scores: Sequence[float], shape: tuple[int, int]) -> list[int]:
    """Return which masks `assemble` does not drop as duplicates or contradictions; the parameters are its own."""
    return sorted(_settle(_claims_of(masks, scores, shape), shape)[1])


@dataclass(frozen=True, eq=False)
class _Claim:
    """The part of a mask inside the image."""

    window: Window
    crop: Bools
    probability: NDArray[np.uint8] | None
    score: float
    area: int

    @classmethod
    def of(cls, mask: Mask, score: float, shape: tuple[int, int]) -> _Claim:
        """Cut a mask to the image."""
        (y, x), (height, width) = mask.corner, mask.crop.shape
        inner = (
            slice(max(0, -y), max(0, min(height, shape[0] - y))),
            slice(max(0, -x), max(0, min(width, shape[1] - x))),
        )
        crop = mask.crop[inner]
        window = slice(max(0, y), max(0, y) + crop.shape[0]), slice(max(0, x), max(0, x) + crop.shape[1])
        probability = None if mask.probability is None else mask.probability[inner]
        return cls(window, crop, probability, float(score), int(np.count_nonzero(crop)))

    def level(self) -> NDArray[np.uint8]:
        """Return how strongly each pixel is claimed, 1 to 255 inside the mask, 0 outside."""
        if self.probability is None:
            return np.asarray(self.crop * np.uint8(min(max(round(255 * self.score), 1), 255)), np.uint8)
        return np.asarray(self.crop * np.maximum(self.probability, np.uint8(1)), np.uint8)


def _claims_of(masks: Sequence[Mask], scores: Sequence[float], shape: tuple[int, int]) -> list[_Claim]:
    if len(masks) != len(scores):
        raise OptionError(f"got {len(masks)} masks and {len(scores)} scores; expected one score per mask")
    return [_Claim.of(mask, score, shape) for mask, score in zip(masks, scores, strict=True)]


def _settle(claims: Sequence[_Claim], shape: tuple[int, int]) -> tuple[Labels, list[int]]:
    """Give every pixel to the strongest of the claims that keep half of themselves; return those too."""
    order = sorted(range(len(claims)), key=lambda i: -claims[i].score)
    owner, entered = _contest(claims, order, shape)
    survivors = [i for i in entered if 2 * np.count_nonzero(_region(owner, claims[i], i)) >= claims[i].area]
    return (owner, survivors) if len(survivors) == len(entered) else _contest(claims, survivors, shape)


def _contest(claims: Sequence[_Claim], order: Iterable[int], shape: tuple[int, int]) -> tuple[Labels, list[int]]:
    """Give every pixel to the strongest claim.

    Claims come in falling order of score. One that would win less than half of its own mask against those before it
    does not enter; so of a heap of duplicates one always remains, however evenly they share the pixels.

    Returns
    -------
    owner : ndarray
        ``(Y, X)``, index of the winning claim plus 1.
    entered : list of int
        The claims that entered, in the order given.
    """
    owner = np.zeros(shape, np.uint32)
    strongest = np.zeros(shape, np.uint8)
    entered = []
    for i in order:
        claim = claims[i]
        level, reached = claim.level(), strongest[claim.window]
        wins = level > reached
        if claim.area == 0 or 2 * np.count_nonzero(wins) < claim.area:
            continue
        owner[claim.window][wins] = i + 1
        np.maximum(reached, level, out=reached)
        entered.append(i)
    return owner, entered


def _region(owner: Labels, claim: _Claim, index: int) -> Bools:
    """Return the pixels that a claim owns, as a crop in its window."""
    return np.asarray(owner[claim.window] == index + 1)


def _tidy(owner: Labels, claims: Sequence[_Claim], survivors: Sequence[int], min_area: int) -> list[int]:
    """Reduce cells to one piece, drop small ones, fill holes, number the rest from 1; return who is left."""
    kept: list[tuple[int, Bools]] = []
    for i in survivors:
        region = _region(owner, claims[i], i)
        piece = largest_piece(region)
        filled = fill_holes(piece)
        stays = np.count_nonzero(filled) >= max(min_area, 1)
        owner[claims[i].window][region & ~piece if stays else region] = 0
        if stays:
            kept.append((i, filled))
    # Only now are fragments and small cells out of the holes. Numbers never rise, so none is in use yet.
    for number, (i, filled) in enumerate(kept, start=1):
        window = owner[claims[i].window]
        window[(window == i + 1) | (filled & (window == 0))] = number
    return [i for i, _ in kept]


def largest_piece(mask: Bools) -> Bools:
    """Return the largest connected piece of a mask; pixels that meet at a corner are connected.

    Parameters
    ----------
    mask
        ``(h, w)``; between pieces of equal size, the first in reading order counts.
    """
    from scipy import ndimage

    pieces, n_pieces = ndimage.label(mask, np.ones((3, 3), bool))
    if n_pieces < 2:
        return mask.copy()
    return np.asarray(pieces == 1 + np.bincount(pieces.ravel())[1:].argmax())


def fill_holes(mask: Bools) -> Bools:
    """Return a mask with its holes: background that no path of edge-sharing pixels joins to the outside.

    Parameters
    ----------
    mask
        ``(h, w)``; what lies around it counts as outside.
    """
    from scipy import ndimage

    around = np.ones((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    np.logical_not(mask, out=around[1:-1, 1:-1])
    outside, n_regions = ndimage.label(around)
    if n_regions < 2:
        return mask.copy()
    return np.asarray(outside[1:-1, 1:-1] != outside[0, 0])


def relabel_sequential(labels: NDArray[np.integer]) -> Labels:
    """Return labels numbered 1..N without gaps, in the same order.

    Parameters
    ----------
    labels
        Any shape, integers from 0; 0 stays background.

    Raises
    ------
    ImageShapeError
        If the labels are not integers, or some are negative.
    """
    if labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
        raise ImageShapeError(f"got labels of type {labels.dtype}; expected integers from 0")
    highest = int(labels.max(initial=0))
    if highest > 4 * labels.size + 1024:  # a table of all numbers would be larger than the image
        values, flat = np.unique(labels, return_inverse=True)
        numbers = np.arange(len(values), dtype=np.uint32) + (values[:1] != 0).astype(np.uint32)
        return np.asarray(numbers[flat].reshape(labels.shape), np.uint32)
    used = np.zeros(highest + 1, bool)
    for row in labels.reshape(-1, labels.shape[-1]) if labels.ndim else [labels]:
        used[row] = True  # row by row: no copy of the image as indices
    used[0] = False
    return np.asarray(np.where(used, np.cumsum(used), 0).astype(np.uint32)[labels], np.uint32)


def boxes_of(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the box of every cell.

    Parameters
    ----------
    labels
        ``(Y, X)``; 0 is background, cells are 1..N without gaps.

    Returns
    -------
    ndarray
        ``(N, 4)``, ``(y_min, x_min, y_max, x_max)`` centres of the outermost pixels; row i is cell i + 1.

    Raises
    ------
    OptionError
        If a number below the highest is missing.
    """
    from scipy import ndimage

    windows = ndimage.find_objects(labels)
    missing = [number for number, window in enumerate(windows, start=1) if window is None]
    if missing:
        raise OptionError(f"cell {missing[0]} is missing from labels up to {len(windows)}; use relabel_sequential")
    boxes = [(y.start, x.start, y.stop - 1, x.stop - 1) for y, x in windows]
    return np.array(boxes, np.float32).reshape(-1, 4)
