"""The evaluation of predicted label images against true ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_cellsam.errors import OptionError
from napari_cellsam.metrics.matching import Counts, find_overlaps, match_overlaps
from napari_cellsam.metrics.precision import IOU_THRESHOLDS, Judged, judge, pool_precision

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Evaluation", "LabelPair", "Scores", "evaluate"]


class LabelPair(NamedTuple):
    """One image to evaluate: ``(Y, X)`` integer labels, and detector scores where there are any.

    ``scores`` is one number per label, as a mapping from label to score or as a sequence in which item i belongs to
    label i + 1.
    """

    truth: ArrayLike
    predicted: ArrayLike
    scores: Mapping[int, float] | ArrayLike | None = None
    name: str = ""


@dataclass(frozen=True)
class Scores:
    """The figures of one image, or of many pooled.

    Attributes
    ----------
    name
        The image, or ``"pooled"``.
    iou
        The threshold of ``counts``.
    counts
        Cells found, invented and missed at that threshold.
    by_threshold
        The same at each of `IOU_THRESHOLDS`.
    ap50, mean_ap
        Average precision at IoU 0.5, and its mean over `IOU_THRESHOLDS`; None without scores or true cells.
    """

    name: str
    iou: float
    counts: Counts
    by_threshold: tuple[Counts, ...]
    ap50: float | None = None
    mean_ap: float | None = None

    @property
    def mean_f1(self) -> float:
        """Mean F1 over `IOU_THRESHOLDS`."""
        return sum(c.f1 for c in self.by_threshold) / len(self.by_threshold)

    @property
    def mean_accuracy(self) -> float:
        """Mean segmentation accuracy (mSA) over `IOU_THRESHOLDS`."""
        return sum(c.accuracy for c in self.by_threshold) / len(self.by_threshold)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain numbers, ready for JSON."""
        return {
            "name": self.name,
            "iou": self.iou,
            "true_positives": self.counts.true_positives,
            "false_positives": self.counts.false_positives,
            "false_negatives": self.counts.false_negatives,
            "f1": self.counts.f1,
            "precision": self.counts.precision,
            "recall": self.counts.recall,
            "mean_f1": self.mean_f1,
            "mean_accuracy": self.mean_accuracy,
            "ap50": self.ap50,
            "map": self.mean_ap,
        }


@dataclass(frozen=True)
class Evaluation:
    """The figures of each image, and of all cells of all images together (`pooled`)."""

    images: tuple[Scores, ...]
    pooled: Scores

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain numbers, ready for JSON."""
        return {"images": [scores.as_dict() for scores in self.images], "pooled": self.pooled.as_dict()}


def evaluate(pairs: Iterable[LabelPair | tuple[Any, ...]], iou: float = 0.6) -> Evaluation:
    """Compare predicted with true label images, each alone and all cells pooled.

    Parameters
    ----------
    pairs
        One `LabelPair` per image, or the same as a plain tuple; read one at a time.
    iou
        Threshold of F1, precision and recall, 0 exclusive to 1.

    Raises
    ------
    ImageShapeError
        If labels are not integers, or the two of a pair differ in shape.
    OptionError
        If the threshold is out of range, scores are missing, or there is no pair at all.
    """
    images: list[Scores] = []
    judged: list[Judged] = []
    for item in pairs:
        pair = LabelPair(*item)
        overlaps = find_overlaps(pair.truth, pair.predicted)
        counts = match_overlaps(overlaps, iou).counts
        by_threshold = tuple(match_overlaps(overlaps, t).counts for t in IOU_THRESHOLDS)
        ap50 = mean_ap = None
        if pair.scores is not None:
            judged.append(judge(overlaps, pair.scores))
            ap50, mean_ap = pool_precision(judged[-1:])
        images.append(Scores(pair.name, iou, counts, by_threshold, ap50, mean_ap))
    if not images:
        raise OptionError("got no pair of label images to compare")
    pooled_counts = sum((s.counts for s in images), Counts())
    pooled_by = tuple(sum(counts, Counts()) for counts in zip(*(s.by_threshold for s in images), strict=True))
    complete = len(judged) == len(images)
    ap50, mean_ap = pool_precision(judged) if complete else (None, None)
    return Evaluation(tuple(images), Scores("pooled", iou, pooled_counts, pooled_by, ap50, mean_ap))
