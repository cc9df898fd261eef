"""A second look at a picture, turned by half: what both looks see is surer, and outlined better.

This is test-time augmentation in its plainest form: answers are averaged (cf. Shanmugam et al., ICCV 2021). Outlines of
which the first look is sure would hardly change, and are left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.models.backend import Decoded, box_prompts
from napari_cellsam.models.mask_windows import lay_over
from napari_cellsam.models.steps import Aside

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.models.backend import Backend
    from napari_cellsam.models.memory_limits import DecodeWork
    from napari_cellsam.models.steps import Steps
    from napari_cellsam.types import SegmentOptions

__all__ = ["Looks", "Seen", "averaged", "joined", "turned_boxes"]

_SAME_BOX = 0.5  # IoU
_SURE = 0.95  # score; such outlines hardly change with a second one


@dataclass(frozen=True, eq=False)
class Seen:
    """What looks at a picture have found.

    Attributes
    ----------
    boxes, scores
        ``(N, 4)`` x0, y0, x1, y1 and ``(N,)``, best first.
    is_full
        Whether one of the looks has as many boxes to be outlined as the detector has queries: there may be more.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    is_full: bool


class Looks:
    """One look at a picture or two, which answer as one.

    Parameters
    ----------
    backend
        The model.
    size
        ``(height, width)`` of the picture.
    features
        Of the picture.
    turned
        Of the picture turned by half; None for one look.
    """

    def __init__(self, backend: Backend, size: tuple[int, int], features: Any, turned: Any = None) -> None:
        self._backend, self._size, self._features, self._turned = backend, size, features, turned

    def detect_steps(self, options: SegmentOptions) -> Steps[Seen]:
        """Return what both looks have found."""
        yield None
        first = self._backend.detect(self._features)
        is_full = self._fills(first[1], options)
        if self._turned is None:
            return Seen(*first, is_full)
        yield None
        boxes, scores = self._backend.detect(self._turned)
        is_full = is_full or self._fills(scores, options)
        return Seen(*joined(first, (turned_boxes(boxes, self._size), scores)), is_full)

    def outline_steps(
        self, decode: DecodeWork, boxes: NDArray[np.float32], scores: NDArray[np.float32], options: SegmentOptions
    ) -> Steps[list[Decoded]]:
        """Return one mask per box; those that the first look is sure of are not outlined again."""
        threshold = options.mask_threshold
        answers: list[Decoded] = yield from decode.steps(self._features, box_prompts(boxes), threshold=threshold)
        if self._turned is None:
            return answers
        first_scores = (
            self._backend.cell_score(score, answer.predicted_iou, options)
            for score, answer in zip(scores.tolist(), answers, strict=True)
        )
        again = [i for i, score in enumerate(first_scores) if score is None or score < _SURE]
        prompts = box_prompts(turned_boxes(boxes[again], self._size))
        others: list[Decoded] = yield from decode.steps(self._turned, prompts, threshold=threshold)

        def average() -> None:
            for i, other in zip(again, others, strict=True):
                answers[i] = averaged(answers[i], other, self._size)

        yield Aside(average)
        return answers

    def _fills(self, scores: NDArray[np.float32], options: SegmentOptions) -> bool:
        """Return whether one look's boxes take all queries."""
        n_outlined = (scores > self._backend.outlined_from(scores, options)).sum()
        return bool(n_outlined >= self._backend.n_queries)


def turned_boxes(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return boxes in a picture turned by half.

    Parameters
    ----------
    boxes
        ``(N, 4)`` x0, y0, x1, y1: centres of the outermost pixels.
    size
        ``(height, width)`` of the picture.
    """
    last = np.array([size[1] - 1, size[0] - 1], np.float32)
    return np.concatenate((last - boxes[:, 2:], last - boxes[:, :2]), 1)


def joined(
    first: tuple[NDArray[np.float32], NDArray[np.float32]], second: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Join the boxes of two looks.

    Parameters
    ----------
    first, second
        Boxes ``(N, 4)`` of one picture, with their scores ``(N,)``.

    Returns
    -------
    tuple
        Boxes and scores, best first. Boxes that both looks have (IoU from one half on, surest first) are averaged, and
        so are their scores; a box that only one look has keeps half of its score.
    """
    (boxes, scores), (others, their_scores) = first, second
    iou = _iou(boxes, others)
    alone, theirs_alone = np.ones(len(boxes), bool), np.ones(len(others), bool)
    pairs = np.argwhere(iou >= _SAME_BOX)
    surest = np.argsort(-(scores[pairs[:, 0]] + their_scores[pairs[:, 1]]), kind="stable")
    both = []
    for i, j in pairs[surest].tolist():
        if alone[i] and theirs_alone[j]:
            alone[i] = theirs_alone[j] = False
            both.append((i, j))
    mine, theirs = np.array(both, int).reshape(-1, 2).T
    all_boxes = np.concatenate(((boxes[mine] + others[theirs]) / 2, boxes[alone], others[theirs_alone]))
    all_scores = np.concatenate((scores[mine] + their_scores[theirs], scores[alone], their_scores[theirs_alone])) / 2
    order = np.argsort(-all_scores, kind="stable")
    return all_boxes[order].astype(np.float32), all_scores[order].astype(np.float32)


def averaged(answer: Decoded, turned: Decoded, size: tuple[int, int]) -> Decoded:
    """Return the mean of an answer and of that to the same prompt in the turned picture.

    Parameters
    ----------
    answer, turned
        What the network answered.
    size
        ``(height, width)`` of the picture.
    """
    height, width = size
    window = np.array([width, height, width, height], np.float32) - turned.window[[2, 3, 0, 1]]
    logits = lay_over(turned.logits[::-1, ::-1], window, answer.window, answer.logits.shape)
    mean_iou = (answer.predicted_iou + turned.predicted_iou) / 2
    return replace(answer, logits=np.asarray((answer.logits + logits) / 2, np.float32), predicted_iou=mean_iou)


def _iou(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU ``(N, M)`` of boxes, whose corners are centres of their outermost pixels."""
    shared = np.ones((len(boxes), len(others)), np.float32)
    for low, high in ((0, 2), (1, 3)):
        side = np.minimum(boxes[:, None, high], others[None, :, high])
        side -= np.maximum(boxes[:, None, low], others[None, :, low])
        side += 1
        shared *= np.clip(side, 0, None, out=side)
    areas, their_areas = (np.clip(b[:, 2:] - b[:, :2] + 1, 1e-6, None).prod(-1) for b in (boxes, others))
    return np.asarray(shared / (areas[:, None] + their_areas[None] - shared), np.float32)
