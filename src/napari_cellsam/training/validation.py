"""Figures of a model on labelled pictures: by source, by score cut, and after one click per cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.data.dataset import DatasetEntry
from napari_cellsam.data.read import read_image
from napari_cellsam.errors import DatasetError
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.labels import relabel_sequential
from napari_cellsam.metrics.matching import Counts, find_overlaps, match_overlaps
from napari_cellsam.models.network.compact import CellScore
from napari_cellsam.types import Prompt, SegmentOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.engine import Model
    from napari_cellsam.types import Image

__all__ = ["best_cut", "calibration", "click_centres", "counts_by_source", "one_click_ious", "scored_cells"]

_IOU = 0.6  # DeepCell's, as in the CellSAM paper


def counts_by_source(
    model: Model, entries: Iterable[DatasetEntry], cuts: Sequence[float | None] = (None,), iou: float = _IOU
) -> dict[float | None, dict[str, Counts]]:
    """Count found, invented and missed cells of each source.

    Parameters
    ----------
    model
        A loaded model.
    entries
        Labelled pictures.
    cuts
        Scores from which a cell counts; None is the model's own.
    iou
        IoU from which a cell counts as found.

    Returns
    -------
    dict
        Counts by cut and source, pooled over a source's pictures.
    """
    result: dict[float | None, dict[str, Counts]] = {cut: defaultdict(lambda: Counts(0, 0, 0)) for cut in cuts}
    for entry, image, labels in _read(entries):
        for cut in cuts:
            options = SegmentOptions() if cut is None else SegmentOptions(box_score=cut, score_rule="fixed")
            found = model.segment(image, options)
            counts = match_overlaps(find_overlaps(labels, found.labels), iou).counts
            result[cut][entry.source] = result[cut][entry.source] + counts
    return {cut: dict(by_source) for cut, by_source in result.items()}


def best_cut(counts: dict[float | None, dict[str, Counts]]) -> float:
    """Return the cut with the highest F1, meaned over sources."""
    means = {cut: np.mean([c.f1 for c in by_source.values()]) for cut, by_source in counts.items() if cut is not None}
    return max(means, key=lambda cut: float(means[cut]))


def calibration(
    scores: NDArray[np.floating], predicted: NDArray[np.floating], right: NDArray[np.bool_], floor: float
) -> CellScore:
    """Fit scores of cells, by logistic regression, so that they are the share of cells that are right.

    Parameters
    ----------
    scores, predicted
        ``(N,)`` detector's scores and predicted IoU, 0 to 1.
    right
        ``(N,)``, of which some are and some are not.
    floor
        Lowest detector's score that is among them.

    Raises
    ------
    DatasetError
        If all or none are right.
    """
    from scipy.optimize import minimize
    from scipy.special import logit

    if right.all() or not right.any():
        raise DatasetError(f"got {len(right)} scores, all of them right or all wrong; expected some of both")
    shares = np.stack((scores, predicted), 1).astype(float).clip(1e-3, 1 - 1e-3)
    known, sign = np.column_stack((logit(shares), np.ones(len(right)))), np.where(right, -1.0, 1.0)

    def cost(weights: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, sign * (known @ weights)).mean())

    detector, outline, shift = minimize(cost, np.array([1.0, 0.0, 0.0])).x.tolist()
    return CellScore(detector, outline, shift, floor)


def scored_cells(
    model: Model, entries: Iterable[DatasetEntry], lowest: float = 0.2
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return how sure a model is of the cells that it finds in labelled pictures, and how good they are.

    Parameters
    ----------
    model, entries
        As in `counts_by_source`.
    lowest
        Score from which cells are kept: low, so that doubtful ones are seen too.

    Returns
    -------
    tuple of NDArray
        ``(N,)`` each: score as the model gives it (the detector's, unless its `CellScore` joins it with the predicted
        IoU), predicted IoU, and best IoU with a true cell.
    """
    options = SegmentOptions(box_score=lowest, score_rule="fixed", min_predicted_iou=0.0)
    parts = []
    for _, image, labels in _read(entries):
        found = model.segment(image, options)
        overlaps = find_overlaps(labels, found.labels)
        best = np.zeros(found.n_cells)
        np.maximum.at(best, overlaps.predicted_labels[overlaps.pairs[:, 1]] - 1, overlaps.iou)
        parts.append((found.scores, found.predicted_iou, best))
    scores, predicted, ious = (np.concatenate(part) for part in zip(*parts, strict=True))
    return scores, predicted, ious


def one_click_ious(model: Model, entries: Iterable[DatasetEntry]) -> dict[str, NDArray[np.float64]]:
    """Return the IoU of every cell's mask after one click at its centre, by source."""
    result: dict[str, list[float]] = defaultdict(list)
    for entry, image, labels in _read(entries):
        numbers, centres = click_centres(labels)
        masks = model.segment_prompts(image, [Prompt(inside=[centre]) for centre in centres])
        for number, mask in zip(numbers, masks, strict=True):
            true = labels == number
            answer = mask.full(image.shape)
            result[entry.source].append(float((true & answer).sum() / max((true | answer).sum(), 1)))
    return {source: np.array(values) for source, values in result.items()}


def click_centres(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the cells' numbers ``(N,)`` and their innermost points ``(N, 2)``, where a person would click."""
    from scipy.ndimage import distance_transform_edt, find_objects

    numbers = np.unique(labels[labels > 0])
    dense = relabel_sequential(labels)  # numbers may be anything up to 2**32
    centres = []
    for index, box in enumerate(find_objects(dense.astype(np.int32))):
        depth = distance_transform_edt(np.pad(dense[box] == index + 1, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        centres.append((box[0].start + y, box[1].start + x))
    return numbers.astype(np.int64), np.array(centres, np.float32).reshape(-1, 2)


def _read(entries: Iterable[DatasetEntry]) -> Iterator[tuple[DatasetEntry, Image, NDArray[np.integer]]]:
    for entry in entries:
        yield entry, read_image(entry.image), read_labels(entry.mask)
