"""How tight outlines are drawn: people differ by a pixel all round, which a few corrected cells tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.training.clicks import click_steps
from napari_cellsam.training.lessons import known_labels
from napari_cellsam.types import SegmentOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.data.retraining.pictures import RetrainingPicture
    from napari_cellsam.engine import Model
    from napari_cellsam.models.steps import Steps

__all__ = ["best_shift", "tightness_steps"]

_SHIFTS = np.linspace(-2, 2, 17)  # probabilities of 0.12 to 0.88
_OUTLINED = 0.5  # IoU at the best shift: below, something else is wrong than the tightness
_FEWEST = 5  # cells


def tightness_steps(model: Model, pictures: Sequence[RetrainingPicture]) -> Steps[float]:
    """Find how much tighter than a model people draw the outlines of cells, in steps.

    Every verified cell is clicked at its centre, and its outline cut off at several probabilities.

    Parameters
    ----------
    model
        A loaded model.
    pictures
        With their verified regions.

    Returns
    -------
    float
        As of `best_shift`, between -2 and 2.
    """
    rows: list[NDArray[np.float64]] = []
    probabilities = 1 / (1 + np.exp(-_SHIFTS))
    widest = SegmentOptions(mask_threshold=float(probabilities[0]))
    for picture in pictures:
        known = known_labels(picture)
        areas = np.bincount(known[known > 0], minlength=1)
        clicked = yield from click_steps(model, picture.image, known, widest)
        for number, mask in clicked:
            if mask.probability is None:
                continue
            (y, x), (height, width) = mask.corner, mask.crop.shape
            under = known[y : y + height, x : x + width]
            taken = (mask.probability[..., None] > 255 * probabilities) & (under >= 0)[..., None]
            both = (taken & (under == number)[..., None]).sum((0, 1))
            rows.append(both / (areas[number] + taken.sum((0, 1)) - both))
        model.forget()
    return best_shift(np.array(rows).reshape(-1, len(_SHIFTS)))


def best_shift(ious: NDArray[np.float64]) -> float:
    """Return the logit that pixels of a cell should have at least for outlines to be as people drew them.

    By the rule of one standard error (Hastie et al., The Elements of Statistical Learning, 7.10): the least shift of
    which nobody can tell that it is worse than the best one.

    Parameters
    ----------
    ious
        ``(N, 17)`` of each cell's outline, where pixels need a logit of -2 to 2.

    Returns
    -------
    float
        0 where there are fewer than five cells.
    """
    rows = ious[ious.max(1, initial=0) >= _OUTLINED]
    if len(rows) < _FEWEST:
        return 0.0
    losses = rows[:, [rows.mean(0).argmax()]] - rows
    errors = losses.std(0, ddof=1) / np.sqrt(len(losses))
    as_good = _SHIFTS[losses.mean(0) <= errors]
    return float(as_good[np.abs(as_good).argmin()])
