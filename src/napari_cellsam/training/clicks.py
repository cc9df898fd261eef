"""Clicks at the centres of verified cells, by which a model is judged and fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.training.validation import click_centres
from napari_cellsam.types import Prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.engine import Model
    from napari_cellsam.models.steps import Steps
    from napari_cellsam.types import Image, Mask, SegmentOptions

__all__ = ["click_steps"]

_MOST_CLICKS = 200  # per picture; of more cells some are drawn


def click_steps(
    model: Model, image: Image, known: NDArray[np.int32], options: SegmentOptions | None = None
) -> Steps[list[tuple[int, Mask]]]:
    """Click once at the centre of each known cell, in steps.

    Parameters
    ----------
    model
        A loaded model.
    image
        The picture.
    known
        ``(Y, X)`` of `known_labels`.
    options
        As for `Model.segment_prompts`.

    Returns
    -------
    list of tuple
        Number of a cell, and what the model outlined; of 200 cells of a picture at most.
    """
    numbers, centres = click_centres(np.maximum(known, 0))
    if len(numbers) > _MOST_CLICKS:
        drawn = np.random.default_rng(0).choice(len(numbers), _MOST_CLICKS, replace=False)
        numbers, centres = numbers[drawn], centres[drawn]
    if len(numbers) == 0:
        return []
    prompts = [Prompt(inside=[centre]) for centre in centres]
    [masks] = yield from model.prompt_steps(image, [model.ask(prompts, options)])
    return list(zip(numbers.tolist(), masks, strict=True))
