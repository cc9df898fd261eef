"""The matching of true and predicted cells, one to one by intersection over union (IoU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ImageShapeError, OptionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Counts", "Matching", "Overlaps", "find_overlaps", "match_labels", "match_overlaps"]


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Which true and predicted cells share pixels.

    Attributes
    ----------
    truth_labels, predicted_labels
        ``(T,)`` and ``(P,)`` labels that occur, rising, without background.
    pairs
        ``(K, 2)`` indices into the two, one row per pair that shares a pixel.
    iou
        ``(K,)`` intersection over union, more than 0 up to 1.
    """

    truth_labels: NDArray[np.int64]
    predicted_labels: NDArray[np.int64]
    pairs: NDArray[np.int64]
    iou: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matching:
    """True and predicted cells matched one to one.

    Attributes
    ----------
    truth_labels, predicted_labels
        ``(M,)`` labels of the matched cells, pair by pair.
    iou
        ``(M,)`` intersection over union of each pair.
    counts
        True positives, false positives and false negatives.
    """

    truth_labels: NDArray[np.int64]
    predicted_labels: NDArray[np.int64]
    iou: NDArray[np.float64]
    counts: Counts


@dataclass(frozen=True)
class Counts:
    """Numbers of cells found, invented and missed."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def precision(self) -> float:
        """Share of the predicted cells that are true; without any, 1 if there are no true cells, else 0."""
        return self._share(self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the true cells that were found; without any, 1 if none was predicted, else 0."""
        return self._share(self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self._share(2 * self.true_positives + self.false_positives + self.false_negatives, 2)

    @property
    def accuracy(self) -> float:
        """TP / (TP + FP + FN), the segmentation accuracy whose mean over thresholds is mSA."""
        return self._share(self.true_positives + self.false_positives + self.false_negatives)

    def _share(self, total: int, weight: int = 1) -> float:
        """Return the weighted true positives over a total, with the value for an empty total."""
        if total == 0:
            return float(self.false_positives + self.false_negatives == 0)
        return weight * self.true_positives / total


def find_overlaps(truth: ArrayLike, predicted: ArrayLike) -> Overlaps:
    """Find the pairs of cells that share pixels, in one pass over two label images.

    Parameters
    ----------
    truth, predicted
        ``(Y, X)`` labels of the same shape (any number of axes works), integers from 0 (background) to 2**32 - 1.

    Raises
    ------
    ImageShapeError
        If the shapes differ, or the labels are not such integers.
    """
    true, found = _as_labels(truth, "true"), _as_labels(predicted, "predicted")
    if true.shape != found.shape:
        raise ImageShapeError(f"true labels have shape {true.shape}, predicted labels {found.shape}; expected the same")
    values, area = _value_counts((true.astype(np.uint64).ravel() << np.uint64(32)) | found.ravel().astype(np.uint64))
    rows, columns = (values >> np.uint64(32)).astype(np.int64), (values & np.uint64(0xFFFFFFFF)).astype(np.int64)
    true_labels, row = np.unique(rows, return_inverse=True)
    found_labels, column = np.unique(columns, return_inverse=True)
    true_area, found_area = np.bincount(row, area), np.bincount(column, area)
    shared = (rows > 0) & (columns > 0)
    row, column, area = row[shared], column[shared], area[shared]
    iou = area / (true_area[row] + found_area[column] - area)
    pairs = np.stack([row - (true_labels[:1] == 0).sum(), column - (found_labels[:1] == 0).sum()], axis=1)
    return Overlaps(true_labels[true_labels > 0], found_labels[found_labels > 0], pairs, iou)


def _as_labels(labels: ArrayLike, name: str) -> NDArray[Any]:
    """Return labels as an array of non-negative integers that fit in 32 bits."""
    array = np.asarray(labels)
    if array.dtype.kind not in "bui":
        raise ImageShapeError(f"{name} labels are of type {array.dtype}; expected integers")
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high >= 2**32:
        raise ImageShapeError(f"{name} labels go from {low} to {high}; expected 0 to {2**32 - 1}")
    return array


def _value_counts(values: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Count distinct values by runs: neighbours in a label image are mostly equal, so little is left to sort."""
    if not values.size:
        return values, np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    distinct, inverse = np.unique(values[starts], return_inverse=True)
    return distinct, np.bincount(inverse, np.diff(np.append(starts, values.size))).astype(np.int64)


def match_labels(truth: ArrayLike, predicted: ArrayLike, iou: float = 0.6) -> Matching:
    """Match the cells of two ``(Y, X)`` label images one to one at an IoU of at least ``iou`` (0 exclusive to 1)."""
    return match_overlaps(find_overlaps(truth, predicted), iou)


def match_overlaps(overlaps: Overlaps, iou: float = 0.6) -> Matching:
    """Match cells one to one at an IoU of at least ``iou`` (0 exclusive to 1)."""
    if not 0 < iou <= 1:
        raise OptionError(f"iou is {iou}; expected more than 0 and up to 1")
    good = overlaps.iou >= iou
    pairs, values = overlaps.pairs[good], overlaps.iou[good]
    if iou <= 0.5 and len(pairs):  # above one half no cell can have two partners
        chosen = _assign(pairs, values)
        pairs, values = pairs[chosen], values[chosen]
    n_truth, n_predicted = len(overlaps.truth_labels), len(overlaps.predicted_labels)
    counts = Counts(len(pairs), n_predicted - len(pairs), n_truth - len(pairs))
    return Matching(overlaps.truth_labels[pairs[:, 0]], overlaps.predicted_labels[pairs[:, 1]], values, counts)


def _assign(pairs: NDArray[np.int64], iou: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the rows of the best one-to-one matching: the most pairs, then the highest sum of IoU.

    The Hungarian method runs on each connected group of overlapping cells alone, which keeps the matrices tiny.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_truth, n_predicted = pairs.max(axis=0) + 1
    n = n_truth + n_predicted
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1] + n_truth)), shape=(n, n))
    group = connected_components(graph, directed=False)[1][pairs[:, 0]]
    order = np.argsort(group, kind="stable")
    chosen = []
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        truth, row = np.unique(pairs[rows, 0], return_inverse=True)
        predicted, column = np.unique(pairs[rows, 1], return_inverse=True)
        gain, origin = np.zeros((len(truth), len(predicted))), np.full((len(truth), len(predicted)), -1)
        # one more pair must outweigh any sum of IoU
        gain[row, column] = iou[rows] + min(gain.shape)
        origin[row, column] = rows
        picked = origin[linear_sum_assignment(gain, maximize=True)]
        chosen.append(picked[picked >= 0])
    return np.concatenate(chosen)
