"""The average precision of scored cells, as COCO defines it for one class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.errors import OptionError
from napari_cellsam.metrics.matching import Overlaps

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["IOU_THRESHOLDS", "Judged", "average_precision", "judge", "pool_precision"]

IOU_THRESHOLDS = tuple(k / 20 for k in range(10, 20))
"""The thresholds of the means: 0.50, 0.55 .. 0.95."""


def average_precision(scores: ArrayLike, correct: ArrayLike, n_truth: int) -> float | None:
    """Average precision over recalls 0, 0.01 .. 1 of detections that are right or wrong.

    Parameters
    ----------
    scores
        ``(N,)`` detector scores; equal scores keep their order.
    correct
        ``(N,)`` bool, whether the detection found a cell that no better one had found.
    n_truth
        Number of cells there were to find.

    Returns
    -------
    float or None
        0 to 1; None if there was nothing to find.
    """
    if n_truth == 0:
        return None
    hits = np.asarray(correct, bool)[np.argsort(-np.asarray(scores, np.float64), kind="stable")]
    found = np.cumsum(hits)
    precision = np.maximum.accumulate((found / np.arange(1, len(hits) + 1))[::-1])[::-1]
    # compared as whole numbers of hundredths, so that a recall of exactly 0.29 counts as reaching 0.29
    first = np.searchsorted(found * 100, np.arange(101) * n_truth)
    return float(np.append(precision, 0.0)[np.minimum(first, len(hits))].mean())


@dataclass(frozen=True, eq=False)
class Judged:
    """The detections of one image, each right or wrong at each threshold.

    Attributes
    ----------
    scores
        ``(P,)`` detector scores.
    correct
        ``(10, P)``, whether each was right at each of `IOU_THRESHOLDS`.
    n_truth
        Number of cells there were to find.
    """

    scores: NDArray[np.float64]
    correct: NDArray[np.bool_]
    n_truth: int


def judge(overlaps: Overlaps, scores: Mapping[int, float] | ArrayLike) -> Judged:
    """Judge every predicted cell at every threshold, by falling score.

    Parameters
    ----------
    overlaps
        Which cells share pixels.
    scores
        One number per label: a mapping from label to score, or a sequence in which item i belongs to label i + 1.

    Raises
    ------
    OptionError
        If a label has no score, or a score is not a number.
    """
    by_cell = _score_of(overlaps.predicted_labels, scores)
    rank = np.lexsort((-overlaps.iou, overlaps.pairs[:, 1], -by_cell[overlaps.pairs[:, 1]]))
    correct = np.zeros((len(IOU_THRESHOLDS), len(by_cell)), bool)
    for hit, threshold in zip(correct, IOU_THRESHOLDS, strict=True):
        taken: set[int] = set()
        for truth, predicted in overlaps.pairs[rank[overlaps.iou[rank] >= threshold]].tolist():
            if not hit[predicted] and truth not in taken:
                hit[predicted] = True
                taken.add(truth)
    return Judged(by_cell, correct, len(overlaps.truth_labels))


def _score_of(labels: NDArray[np.int64], scores: Mapping[int, float] | ArrayLike) -> NDArray[np.float64]:
    """Return the score of each label."""
    if isinstance(scores, Mapping):
        missing = [label for label in labels.tolist() if label not in scores]
        if missing:
            raise OptionError(f"label {missing[0]} has no score; {len(missing)} of {len(labels)} labels have none")
        found = np.array([scores[label] for label in labels.tolist()], np.float64)
    else:
        array = np.asarray(scores, np.float64)
        if array.ndim != 1 or labels.max(initial=0) > len(array):
            raise OptionError(f"got scores of shape {array.shape} for labels up to {labels.max(initial=0)}")
        found = array[labels - 1]
    if np.isnan(found).any():
        raise OptionError(f"label {labels[np.isnan(found)][0]} has a score that is not a number")
    return found


def pool_precision(judged: list[Judged]) -> tuple[float | None, float | None]:
    """Return AP50 and mAP over the detections of one or more images; None without cells to find."""
    n_truth = sum(d.n_truth for d in judged)
    if n_truth == 0:
        return None, None
    scores = np.concatenate([d.scores for d in judged])
    correct = np.concatenate([d.correct for d in judged], axis=1)
    values = [average_precision(scores, hit, n_truth) or 0.0 for hit in correct]
    return values[0], sum(values) / len(values)
