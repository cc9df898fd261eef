"""Corrected pictures as messages carry them, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.errors import LimitExceededError, MessageError
from napari_cellsam.service.arrays import pack, pack_bits, unpack, unpack_bits
from napari_cellsam.service.convert import image_data, image_of
from napari_cellsam.service.messages import LessonData

if TYPE_CHECKING:
    from napari_cellsam.service.limits import Limits
    from napari_cellsam.service.messages import TrainModel
    from napari_cellsam.training.lessons import Lessons

__all__ = ["lesson_data", "lessons_of"]


def lesson_data(picture: RetrainingPicture) -> LessonData:
    """Return a corrected picture as a message carries it."""
    return LessonData(
        image=image_data(picture.image, compress=True),
        labels=pack(picture.labels, compress=True),
        verified=pack_bits(picture.verified),
        name=picture.name,
        group=picture.group,
        corner=picture.corner,
        whole=picture.whole,
    )


def lessons_of(request: TrainModel, limits: Limits) -> Lessons:
    """Return the pictures that a request carries.

    Parameters
    ----------
    request
        From anyone.
    limits
        All pictures together may take its ``lesson_bytes``.

    Raises
    ------
    LimitExceededError
        If there is more than allowed.
    MessageError, ImageShapeError, ChannelError
        If they are no corrected pictures.
    """
    from napari_cellsam.training.lessons import Lessons

    budget = _Budget(limits.lesson_bytes)
    train, val = (_pictures(lessons, limits, budget) for lessons in (request.train, request.val))
    return Lessons(train, val)


@dataclass
class _Budget:
    """Bytes that may still be unpacked."""

    n_bytes: int


def _pictures(lessons: Sequence[LessonData], limits: Limits, budget: _Budget) -> tuple[RetrainingPicture, ...]:
    return tuple(_picture(lesson, limits, budget) for lesson in lessons)


def _picture(lesson: LessonData, limits: Limits, budget: _Budget) -> RetrainingPicture:
    if budget.n_bytes <= 0:
        raise LimitExceededError(
            f"the corrected pictures take more than {limits.lesson_bytes / 2**30:.1f} GiB, the most that this service "
            "learns from. Train with fewer, or with `napari-cellsam finetune`, which has no such limit"
        )
    image = image_of(lesson.image, limits.max_pixels, budget.n_bytes)
    n_pixels = math.prod(image.shape)
    labels = unpack(lesson.labels, dtypes=("uint32",), ndim=2, max_bytes=4 * n_pixels, may_be_compressed=True)
    verified = unpack_bits(lesson.verified, max_pixels=n_pixels)
    if not labels.shape == verified.shape == image.shape:
        raise MessageError(
            f"{lesson.name[:80]!r}: got labels of shape {labels.shape} and a verified region of {verified.shape} for "
            f"an image of {image.shape}"
        )
    budget.n_bytes -= image.pixels.nbytes + labels.nbytes + verified.nbytes
    place = lesson.corner, lesson.whole
    return RetrainingPicture(image, np.asarray(labels), verified, lesson.name, lesson.group, *place)
