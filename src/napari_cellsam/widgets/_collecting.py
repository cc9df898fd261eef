"""Collecting: corrected images become a data set to retrain on, and say what in them is certain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from psygnal import Signal

from napari_cellsam.data.retraining.index import INDEX_NAME
from napari_cellsam.data.retraining.pictures import Corrected, RetrainingPicture
from napari_cellsam.data.retraining.regions import without_doubtful
from napari_cellsam.data.retraining.retraining_set import AddResult, RetrainingSet
from napari_cellsam.editing.edits import Plane
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import DatasetError, OptionError
from napari_cellsam.settings import journals_dir
from napari_cellsam.widgets._looking import NoImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.service.transport import Call
    from napari_cellsam.types import Image
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._session import Session

    _Added: TypeAlias = tuple[list[AddResult], tuple[int, int]]

__all__ = ["Collecting", "read_pictures"]

_TOPIC, _LOOK = "collect", "look at the training set"


@dataclass(frozen=True, eq=False)
class _Part:
    """A plane of which something is certain."""

    plane: Plane
    read: Callable[[], Image]
    labels: NDArray[Any]
    verified: NDArray[np.bool_]
    cells: tuple[CellRecord, ...]


class Collecting:
    """Adds the image that is worked on to a data set, in another thread: each plane of which something is certain.

    ``changed`` is emitted when an image was added, or another data set was chosen.

    Parameters
    ----------
    session
        Whose image.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._folder: Path | None = None
        self.n_added = 0
        """Pictures in the data set, as far as it was looked at."""
        self.n_held_out = 0
        """How many of them judge what is learned from the others."""

    @property
    def folder(self) -> Path:
        """The data set; made when something is added to it first."""
        return self._folder or journals_dir().parent / "training set"

    @property
    def running(self) -> bool:
        """Whether something is being added."""
        return self._session.jobs.running(_TOPIC)

    def use(self, folder: Path) -> None:
        """Add to another data set from now on."""
        self._folder = folder
        self._set_counts((0, 0))
        self.look()

    def look(self) -> None:
        """Count the pictures of the data set, in another thread."""
        folder = self.folder
        self._session.jobs.submit(
            lambda call, report: _counts(folder),  # noqa: ARG005 - as long as a small file takes to read
            on_done=self._set_counts,
            on_error=self._session.failed,
            topic=_LOOK,
        )

    @property
    def certain(self) -> list[Plane]:
        """The planes of which something is certain: a person touched a cell, or said that it is complete."""
        session = self._session
        if not session.has_target or session.source is None:
            return []
        touched = {record.plane for record in session.cells if not record.is_replaceable}
        return [plane for plane in session.source.planes() if plane in touched or session.verified.any(plane)]

    def add(self, then: Callable[[], None] | None = None) -> None:
        """Add every plane that a person touched, or said to be complete.

        Parameters
        ----------
        then
            What is done once they are added.

        Raises
        ------
        NoImageError
            If there is none.
        OptionError
            If pictures are being added already.
        """
        session = self._session
        if self.running:
            raise OptionError("The image is being added to the training set already.")
        if not session.has_target or session.source is None:
            raise NoImageError("There are no cells to learn from yet: let the model find some, or click on them.")
        source, data, folder = session.source, session.settled.layer.data, self.folder
        by_plane: dict[Plane, list[CellRecord]] = {}
        for record in session.cells:
            by_plane.setdefault(record.plane, []).append(record)
        parts = [
            _Part(
                plane,
                source.reader(plane),
                np.array(data[plane] if plane else data),  # as it is now, as the records and regions are
                session.verified.of(plane),
                tuple(by_plane.get(plane, ())),
            )
            for plane in self.certain
        ]
        if not parts:
            raise NoImageError(
                "Nothing here is certain yet: correct or approve cells, or mark what is complete (Review cells)."
            )
        name = source.file_name

        def work(call: Call, report: Report) -> _Added:  # noqa: ARG001 - it is not to be cut off
            return [_open(folder).add(_corrected(part, name)) for part in parts], _counts(folder)

        def done(added: _Added) -> None:
            self._done(*added)
            if then is not None:
                then()

        session.jobs.submit(work, on_done=done, on_error=session.failed, topic=_TOPIC, whole=True)
        self.changed.emit()

    def close(self) -> None:
        """Let go; what is being added is added."""

    def _done(self, results: list[AddResult], counts: tuple[int, int]) -> None:
        self.n_added, self.n_held_out = counts
        outcomes = [result.outcome for result in results]
        told = ", ".join(f"{outcomes.count(o)} {o}" for o in dict.fromkeys(outcomes))
        split = "held back to test what is learned" if results[0].split == "val" else "to learn from"
        notes = " ".join(dict.fromkeys(note for result in results for note in result.notes))
        in_all = "1 picture" if self.n_added == 1 else f"{self.n_added} pictures"
        self._session.say(f"Training set: {told}, {split}; {in_all} in all. {notes}".strip())
        self.changed.emit()

    def _set_counts(self, counts: tuple[int, int]) -> None:
        self.n_added, self.n_held_out = counts
        self.changed.emit()


def read_pictures(folder: Path) -> tuple[list[RetrainingPicture], list[RetrainingPicture]]:
    """Return the pictures of a data set to learn from, and those to be judged on; takes its time.

    Raises
    ------
    DatasetError
        If there are none, or they cannot be read.
    """
    if not _is_there(folder):
        raise DatasetError(
            "There is nothing to learn from yet: correct or approve cells, or mark what is complete (Review cells), "
            "and add the image to the training set."
        )
    dataset = RetrainingSet.open(folder)
    return list(dataset.pictures("train")), list(dataset.pictures("val"))


def _is_there(folder: Path) -> bool:
    return (folder / INDEX_NAME).exists()


def _counts(folder: Path) -> tuple[int, int]:
    """Return how many pictures a data set has, and how many of them judge; none where there is no data set yet."""
    if not _is_there(folder):
        return 0, 0
    dataset = RetrainingSet.open(folder)
    splits = [dataset.split_of(entry) for entry in dataset.entries]
    return len(splits), splits.count("val")


def _open(folder: Path) -> RetrainingSet:
    """Return a data set; it is made if the folder is not there yet, or holds nothing."""
    return RetrainingSet.open(folder) if _is_there(folder) else RetrainingSet.create(folder)


def _corrected(part: _Part, name: str) -> Corrected:
    """Return a plane as the data set takes it."""
    own = f"{name} {' '.join(map(str, part.plane))}".strip()
    verified = without_doubtful(part.verified, part.labels, part.cells)
    return Corrected(part.read(), part.labels, verified, part.cells, name=own, group=name)
