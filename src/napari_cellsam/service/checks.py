"""The checks of what a request says about an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_cellsam.errors import LimitExceededError, MessageError
from napari_cellsam.geometry import check_prompt
from napari_cellsam.service import convert
from napari_cellsam.service.codec import MAX_FRAME_BYTES

if TYPE_CHECKING:
    from napari_cellsam.service.messages import ImageRef, PromptData
    from napari_cellsam.types import Image, Prompt

__all__ = ["check_logits", "check_ref", "prompts_of"]

_MOST_POINTS = 256  # in a prompt: all of them are looked at together, in one step that nothing can end
_LOGIT_BYTES = 4
_MASK_BYTES = 2**12  # of an answer beside its logits; a large cell has more


def check_ref(ref: ImageRef, image: Image | None, max_pixels: int) -> None:
    """Refuse the name of an image that cannot be one.

    Parameters
    ----------
    ref
        From anyone.
    image
        Of that name, or None if it is not here.
    max_pixels
        Most pixels that are taken.

    Raises
    ------
    MessageError
        If there is no image of that shape.
    LimitExceededError
        If it is too large.
    """
    n_pixels = math.prod(ref.shape)
    if min(ref.shape) < 1:
        raise MessageError(f"got an image of shape {ref.shape}, which has no pixels")
    if n_pixels > max_pixels:
        raise LimitExceededError(
            f"got an image of shape {ref.shape}, {n_pixels} pixels; this service takes {max_pixels}. Crop the image; "
            "who runs a server can raise its limit"
        )
    if image is not None and image.shape != ref.shape:
        raise MessageError(f"got the shape {ref.shape} for an image whose shape is {image.shape}")


def prompts_of(prompts: Sequence[PromptData], shape: tuple[int, int], max_prompts: int) -> list[Prompt]:
    """Return the prompts of a request.

    Parameters
    ----------
    prompts
        From anyone.
    shape
        ``(Y, X)`` of the image.
    max_prompts
        Most prompts that are taken.

    Raises
    ------
    LimitExceededError
        If there are too many.
    PromptError, MessageError
        If one of them cannot be a prompt for such an image.
    """
    if len(prompts) > max_prompts:
        raise LimitExceededError(
            f"got {len(prompts)} prompts in one request; this service takes {max_prompts}. Ask in parts"
        )
    values = [convert.prompt_of(prompt) for prompt in prompts]
    for prompt in values:
        _check_prompt(prompt, shape)
    return values


def check_logits(n_prompts: int, grid_side: int) -> None:
    """Refuse to answer more prompts with logits than fit into one answer.

    Parameters
    ----------
    n_prompts
        In one request.
    grid_side
        Pixels along the logits of each, as the model has them.

    Raises
    ------
    LimitExceededError
        If there are too many.
    """
    most = MAX_FRAME_BYTES // (_LOGIT_BYTES * grid_side**2 + _MASK_BYTES)
    if n_prompts > most:
        raise LimitExceededError(
            f"got {n_prompts} prompts in one request, to be answered with logits; {most} of this model's fit into one "
            "answer. Ask in parts, or without logits"
        )


def _check_prompt(prompt: Prompt, shape: tuple[int, int]) -> None:
    """Refuse a prompt of too many points, or of which any part is nowhere near the image."""
    n_points = len(prompt.inside_yx) + len(prompt.outside_yx)
    if n_points > _MOST_POINTS:
        raise LimitExceededError(
            f"got a prompt of {n_points} points; this service takes {_MOST_POINTS}. Give a few points of each cell"
        )
    check_prompt(prompt, shape)
