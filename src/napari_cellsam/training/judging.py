"""The judging of models on held-out verified cells, before one takes another's place."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.metrics.matching import match_labels
from napari_cellsam.models.steps import Aside, Found, Steps, run_steps
from napari_cellsam.training.clicks import click_steps
from napari_cellsam.training.lessons import known_labels
from napari_cellsam.types.finetuning import Figures, PictureFigures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.data.retraining.pictures import RetrainingPicture
    from napari_cellsam.engine import Model
    from napari_cellsam.models.whole_image import SegmentSummary
    from napari_cellsam.types import Image

__all__ = ["evaluate_pair", "figures_of", "judge_steps"]

_IOU = 0.6  # DeepCell's, as in the CellSAM paper


def evaluate_pair(old: Model, new: Model, pictures: Sequence[RetrainingPicture]) -> tuple[Figures, Figures]:
    """Judge two models on the same verified cells.

    Parameters
    ----------
    old, new
        Loaded models.
    pictures
        That neither has learned from.

    Returns
    -------
    tuple of Figures
        Before and after.
    """
    before, after = (run_steps(judge_steps(model, pictures)) for model in (old, new))
    return before, after


def judge_steps(model: Model, pictures: Sequence[RetrainingPicture], *, clicks: bool = True) -> Steps[Figures]:
    """Judge a model, in steps.

    Parameters
    ----------
    model
        A loaded model; without a detector it is judged by clicks alone.
    pictures
        With their verified regions. Only cells in these count: what the model finds elsewhere is neither right nor
        wrong.
    clicks
        Whether every cell is also clicked at, once.
    """
    judged = []
    for picture in pictures:
        known = known_labels(picture)
        found: NDArray[np.int32] | None = None
        if model.backend.can_detect:
            found = yield from _found(model, picture.image)
        ious: tuple[float, ...] = ()
        if clicks:
            ious = yield from _click_ious(model, picture.image, known)
        judged.append(figures_of(picture.name, known, found, ious))
        model.forget()
    return Figures(tuple(judged))


def figures_of(
    name: str, known: NDArray[np.int32], found: NDArray[np.integer] | None, click_ious: tuple[float, ...] = ()
) -> PictureFigures:
    """Return the figures of a picture.

    Parameters
    ----------
    name
        Of the picture.
    known
        ``(Y, X)`` of `known_labels`.
    found
        ``(Y, X)`` cells of the model; None if it cannot find any by itself. Their pixels in the unknown do not count,
        and one of which half or more lies there does not count at all.
    click_ious
        As in `PictureFigures`.
    """
    n_cells = int(known.max(initial=0))
    if found is None:
        return PictureFigures(name, n_cells, click_ious=click_ious)
    area = np.bincount(found.ravel())
    hidden = np.bincount(found[known < 0], minlength=len(area))
    counted = np.where((hidden * 2 < area)[found] & (known >= 0), found, 0)
    counts = match_labels(np.maximum(known, 0), counted, _IOU).counts
    return PictureFigures(
        name, n_cells, counts.true_positives, counts.false_positives, counts.false_negatives, click_ious
    )


def _found(model: Model, image: Image) -> Generator[Any, Any, NDArray[np.int32]]:
    """Return the model's labels ``(Y, X)``; its cells are for nobody else to see."""
    labels = np.zeros(image.shape, np.int32)
    steps: Steps[SegmentSummary] = model.segment_steps(image)
    answer, n_cells = None, 0
    try:
        while True:
            step = steps.send(answer)
            answer = None
            if isinstance(step, Found):
                for cell in step.cells:
                    n_cells += 1
                    (y, x), (height, width) = cell.mask.corner, cell.mask.crop.shape
                    labels[y : y + height, x : x + width][cell.mask.crop] = n_cells
            answer = yield (step if isinstance(step, Aside) else None)
    except StopIteration:
        return labels
    finally:
        steps.close()


def _click_ious(model: Model, image: Image, known: NDArray[np.int32]) -> Generator[Any, Any, tuple[float, ...]]:
    """Return the IoU of each known cell's mask after one click at its centre, where the truth is known."""
    clicked = yield from click_steps(model, image, known)
    areas = np.bincount(known[known > 0], minlength=1)
    ious = []
    for number, mask in clicked:
        (y, x), (height, width) = mask.corner, mask.crop.shape
        under = known[y : y + height, x : x + width][mask.crop]
        both = int((under == number).sum())
        ious.append(both / (int(areas[number]) + int((under >= 0).sum()) - both))
    return tuple(ious)
