"""The work on prompts: which part of an image each needs, and what is decoded there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.models.backend import Decoded, PicturePrompt
from napari_cellsam.models.framing import frame_for, zoom_for
from napari_cellsam.models.memory_limits import DecodeWork, one_step
from napari_cellsam.models.pasting import paste
from napari_cellsam.models.steps import for_each
from napari_cellsam.types import AbsentImage, Image, Mask, Prompt, SegmentOptions

if TYPE_CHECKING:
    from napari_cellsam.geometry import Frame
    from napari_cellsam.models.backend import Backend
    from napari_cellsam.models.cell_sizes import CellSizes
    from napari_cellsam.models.feature_store import Arrays
    from napari_cellsam.models.frame_features import FrameFeatures
    from napari_cellsam.models.steps import Steps

__all__ = ["Prefetch", "PromptAsk", "PromptWork"]

AnyImage = Image | AbsentImage


@dataclass(frozen=True, eq=False)
class PromptAsk:
    """Prompts that are asked together.

    Attributes
    ----------
    prompts
        Any number.
    options
        ``diameter``, ``scaling``, ``clahe`` and ``mask_threshold`` count; nothing is left open.
    logits
        Whether masks carry their low-resolution logits.
    """

    prompts: Sequence[Prompt]
    options: SegmentOptions
    logits: bool = False


@dataclass(frozen=True)
class Prefetch:
    """What was encoded for prompts to come.

    Attributes
    ----------
    n_encoded, n_cached
        Parts that were encoded now, and that were there already.
    diameter
        By which the image is scaled, in pixels, or None.
    """

    n_encoded: int
    n_cached: int
    diameter: float | None


class PromptWork:
    """Answers prompts with a model."""

    def __init__(self, backend: Backend, features: FrameFeatures, sizes: CellSizes) -> None:
        self._backend, self._features, self._sizes = backend, features, sizes
        self._decode = DecodeWork(backend)

    def steps(self, image: AnyImage, asks: Sequence[PromptAsk]) -> Steps[list[list[Mask]]]:
        """Answer several requests about one image; those that look at one part of it are decoded together.

        Returns
        -------
        list of list of Mask
            One list per request, one mask per prompt: each as if it had been asked alone.
        """
        groups: dict[tuple[Frame, bool, bool, float], list[tuple[int, int]]] = {}
        for i, ask in enumerate(asks):
            frames = yield from self._frames(image, ask)
            for j, frame in enumerate(frames):
                kind = frame, bool(ask.options.clahe), ask.logits, ask.options.mask_threshold
                groups.setdefault(kind, []).append((i, j))
        answers: list[list[Mask | None]] = [[None] * len(ask.prompts) for ask in asks]
        for (frame, clahe, logits, threshold), members in groups.items():
            with one_step("encode the part of the image around a prompt"):
                features: Any = yield from self._features.steps(image, frame, clahe=clahe, detecting=False, keep=True)
            prompts = [asks[i].prompts[j] for i, j in members]
            asked: list[PicturePrompt] = yield from for_each(prompts, partial(_to_picture, frame=frame))
            decoded: list[Decoded] = yield from self._decode.steps(features, asked, whole=logits, threshold=threshold)
            pasting = partial(paste, frame=frame, shape=image.shape, threshold=threshold, keep_logits=logits)
            masks: list[Mask] = yield from for_each(decoded, pasting)
            for (i, j), mask in zip(members, masks, strict=True):
                answers[i][j] = mask
        return [[mask for mask in found if mask is not None] for found in answers]

    def prefetch_steps(
        self, image: AnyImage, options: SegmentOptions, around_yx: tuple[float, float] | None
    ) -> Steps[Prefetch]:
        """Encode what a click needs."""
        diameter = (yield from self._sizes.steps(image, options)) if self._backend.can_detect else None
        at = around_yx or ((image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
        [frame] = yield from self._frames(image, PromptAsk([Prompt(inside=[at])], options))
        clahe = bool(options.clahe)
        cached: bool = yield from self._features.has_steps(image, frame, clahe=clahe)
        with one_step("encode the part of the image around a prompt"):
            yield from self._features.steps(image, frame, clahe=clahe, detecting=False, keep=True)
        return Prefetch(int(not cached), int(cached), diameter)

    def entry_steps(self, image: AnyImage, ask: PromptAsk) -> Steps[dict[str, Arrays]]:
        """Return all that another machine with the same weights needs to answer prompts, as a store keeps it."""
        frames = yield from self._frames(image, ask)
        clahe = bool(ask.options.clahe)
        size = self._sizes.packed(image, clahe=clahe)
        entries = dict([size] if size else [])
        for frame in dict.fromkeys(frames):
            with one_step("encode the part of the image around a prompt"):
                features: Any = yield from self._features.steps(image, frame, clahe=clahe, detecting=False, keep=True)
            key, arrays = self._features.packed(image, frame, features, clahe=clahe)
            entries[key] = arrays
        return entries

    def _frames(self, image: AnyImage, ask: PromptAsk) -> Steps[list[Frame]]:
        """Return the frame in which each prompt is decoded."""
        if not ask.prompts:
            return []
        zoom = yield from self._zoom(image, ask)
        place = partial(frame_for, self._backend, image.shape, options=ask.options, zoom=zoom)
        return (yield from for_each(ask.prompts, place))

    def _zoom(self, image: AnyImage, ask: PromptAsk) -> Steps[float]:
        """Return the zoom for prompts: from their boxes where all have one, else from the image's cells."""
        boxes = [p.box_yxyx for p in ask.prompts if p.box_yxyx is not None]
        if ask.options.diameter == "auto" and (len(boxes) == len(ask.prompts) or not self._backend.can_detect):
            if not boxes:
                return self._backend.native_zoom
            sides = np.array([(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in boxes])
            return zoom_for(self._backend, float(np.sqrt(np.median(sides))))
        diameter = yield from self._sizes.steps(image, ask.options)
        return zoom_for(self._backend, diameter)


def _to_picture(prompt: Prompt, frame: Frame) -> PicturePrompt:
    """Return a prompt in the coordinates of a frame's picture."""
    box, previous = prompt.box_yxyx, prompt.mask_logits
    return PicturePrompt(
        frame.points_to_picture(prompt.inside_yx),
        frame.points_to_picture(prompt.outside_yx),
        None if box is None else frame.boxes_to_picture(box[None])[0],
        None if previous is None else previous.values,
        None if previous is None else frame.edges_to_picture(np.array([previous.window], np.float32))[0],
    )
