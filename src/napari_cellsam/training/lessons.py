"""The pictures of a fine-tuning: what is learned from, what judges, and what is known of each."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.dataset import DatasetEntry, list_entries
from napari_cellsam.data.read import read_image
from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.errors import DatasetError
from napari_cellsam.export.label_tiff import read_labels

__all__ = ["Lessons", "known_labels", "n_known_cells", "picture_hash", "read_lessons", "with_judges"]

_HELD_OUT = 0.2  # share of the cells of each picture, where no picture judges
_LEAST_CELLS = 2


@dataclass(frozen=True, eq=False)
class Lessons:
    """The pictures of a fine-tuning.

    Attributes
    ----------
    train
        To learn from.
    val
        To judge on; when empty, parts of the others are held out.
    replay
        Others, seen now and then so that they are not forgotten; synthetic pictures when empty.
    """

    train: tuple[RetrainingPicture, ...]
    val: tuple[RetrainingPicture, ...] = ()
    replay: tuple[RetrainingPicture, ...] = ()


def read_lessons(folder: Path, replay: Path | None = None) -> Lessons:
    """Read a data set for retraining.

    Parameters
    ----------
    folder
        As `RetrainingSet.open` takes it.
    replay
        Folder of labelled pictures that `list_entries` understands, in which every cell is outlined; its pictures of
        the split ``"train"`` are used.

    Raises
    ------
    DatasetError
        If one of them cannot be used.
    ImageError
        If a picture of ``replay`` cannot be read, or its labels are of another shape.
    """
    dataset = RetrainingSet.open(folder)
    others = [_whole(entry) for entry in list_entries(replay, "train")] if replay else []
    return Lessons(tuple(dataset.pictures("train")), tuple(dataset.pictures("val")), tuple(others))


def _whole(entry: DatasetEntry) -> RetrainingPicture:
    labels = read_labels(entry.mask).astype(np.uint32)
    return RetrainingPicture(
        read_image(entry.image), labels, np.ones(labels.shape, bool), entry.image.name, entry.group
    )


def known_labels(picture: RetrainingPicture) -> NDArray[np.int32]:
    """Return what is known of a picture: ``(Y, X)`` cells from 1 without gaps, 0 background, -1 unknown.

    A cell that is not wholly verified may go on where nobody looked: all of it is unknown.
    """
    numbers, flat = np.unique(picture.labels, return_inverse=True)
    rows = flat.reshape(picture.labels.shape)  # 0 is background where there is any
    doubtful = np.zeros(len(numbers), bool)
    doubtful[np.unique(rows[~picture.verified])] = True
    doubtful &= numbers > 0
    kept = (numbers > 0) & ~doubtful
    new = np.where(kept, kept.cumsum(), np.where(doubtful, -1, 0)).astype(np.int32)
    labels = new[rows]
    labels[~picture.verified] = -1
    return labels


def n_known_cells(pictures: Sequence[RetrainingPicture]) -> int:
    """Return how many cells are wholly verified."""
    return sum(int(known_labels(picture).max(initial=0)) for picture in pictures)


def picture_hash(picture: RetrainingPicture) -> str:
    """Return a name of all that can be learned from a picture: its pixels, labels and verified region."""
    digest = hashlib.sha256(picture.image.image_id.encode())
    for array in (picture.labels.astype("<u4"), np.packbits(picture.verified)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def with_judges(lessons: Lessons) -> Lessons:
    """Return lessons with something to judge on, and refuse those that teach nothing.

    Where no picture judges, the cells at one end of each picture are taken out of what is learned and held out: a fifth
    of them. That is less fair than a picture of its own, but new cells all the same. Pictures of one group and shape
    have one such end: they may be planes of a stack or frames of a movie, which show the same cells.

    Raises
    ------
    DatasetError
        If there is not a single verified cell to learn from.
    """
    if n_known_cells(lessons.train) == 0:
        raise DatasetError(
            f"there is no cell to learn from in {len(lessons.train)} pictures for training: a cell counts if all of it "
            "lies in the verified region. Verify some cells, or add pictures of the split 'train'"
        )
    if n_known_cells(lessons.val):
        return lessons
    parts = _divided(lessons.train)
    judges = tuple(judge for _, judge in parts if judge is not None)
    if not judges:
        raise DatasetError(
            "there are too few cells to hold some out and judge the new model on them; correct at least five cells"
        )
    return replace(lessons, train=tuple(part for part, _ in parts), val=judges)


def _line(starts: Sequence[int], side: int) -> int:
    """Return from where on cells are held out.

    At a fixed place where that holds out about a fifth, so that it stays there when more cells are corrected, and a
    model that is made from this one is not judged on what its parent has learned.
    """
    fixed = round((1 - _HELD_OUT) * side)
    share = sum(start >= fixed for start in starts) / len(starts)
    return fixed if _HELD_OUT / 2 <= share <= 2 * _HELD_OUT else starts[int(len(starts) * (1 - _HELD_OUT))]


def _divided(
    pictures: Sequence[RetrainingPicture],
) -> list[tuple[RetrainingPicture, RetrainingPicture | None]]:
    """Return what is learned of each picture, and what is held out: all beyond a line of its group."""
    groups: dict[Hashable, list[RetrainingPicture]] = {}
    for picture in pictures:
        groups.setdefault((picture.group, picture.whole_shape), []).append(picture)
    lines = {key: _held_out(group) for key, group in groups.items()}
    return [_parts(picture, lines[picture.group, picture.whole_shape]) for picture in pictures]


@dataclass(frozen=True)
class _Line:
    """A line across images: what lies at and behind a row (axis 0) or column (axis 1) of the whole image."""

    axis: int
    place: int

    def beyond(self, picture: RetrainingPicture) -> NDArray[np.bool_]:
        """Return the pixels ``(Y, X)`` of a part of an image that lie beyond."""
        places = picture.corner[self.axis] + np.arange(picture.labels.shape[self.axis])
        return np.broadcast_to(np.expand_dims(places >= self.place, 1 - self.axis), picture.labels.shape)


def _held_out(pictures: Sequence[RetrainingPicture]) -> _Line | None:
    """Return beyond which line parts of images of one shape are held out: one across the longer side.

    The line is across the shorter one where that does not part the cells; None if neither does.
    """
    from scipy import ndimage

    starts = [
        [part.start + first for part, first in zip(box, picture.corner, strict=True)]
        for picture in pictures
        for box in ndimage.find_objects(np.maximum(known_labels(picture), 0))
    ]
    if len(starts) < _LEAST_CELLS:
        return None
    shape = pictures[0].whole_shape
    for axis in sorted((0, 1), key=lambda axis: -shape[axis]):
        line = _Line(axis, _line(sorted(start[axis] for start in starts), shape[axis]))
        parts = [_parts(picture, line) for picture in pictures]
        if n_known_cells([learned for learned, _ in parts]) and any(judge for _, judge in parts):
            return line
    return None


def _parts(picture: RetrainingPicture, line: _Line | None) -> tuple[RetrainingPicture, RetrainingPicture | None]:
    """Return what is learned of a picture, and what is held out of it if there is a cell."""
    if line is None:
        return picture, None
    beyond = line.beyond(picture)
    learned = replace(picture, verified=picture.verified & ~beyond)
    judge = replace(picture, verified=picture.verified & beyond, name=f"{picture.name} (held out)")
    return learned, judge if n_known_cells([judge]) else None
