"""Collecting: corrected images become a data set to retrain on, and say what in them is certain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.data.retraining.pictures import Corrected
from napari_cellsam.data.retraining.retraining_set import AddResult, RetrainingSet
from napari_cellsam.editing.edits import Plane
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.settings import journals_dir
from napari_cellsam.widgets._looking import NoImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.service.transport import Call
    from napari_cellsam.types import Image
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._session import Session

__all__ = ["Collecting"]

_TOPIC = "collect"


@dataclass(frozen=True, eq=False)
class _Part:
    """A plane of which something is certain."""

    plane: Plane
    read: Callable[[], Image]
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
        self._folder, self.n_added = folder, 0
        self.changed.emit()

    def add(self) -> None:
        """Add every plane that a person touched, or said to be complete.

        Raises
        ------
        NoImageError
            If there is none.
        """
        session = self._session
        if not session.has_target or session.source is None:
            raise NoImageError("There are no cells to learn from yet: let the model find some, or click on them.")
        source, data, folder = session.source, session.target.layer.data, self.folder
        by_plane: dict[Plane, list[CellRecord]] = {}
        for record in session.cells:
            by_plane.setdefault(record.plane, []).append(record)
        certain = {record.plane for record in session.cells if not record.is_replaceable}
        wanted = [plane for plane in source.planes() if plane in certain or session.verified.any(plane)]
        parts = [
            _Part(plane, source.reader(plane), session.verified.of(plane), tuple(by_plane.get(plane, ())))
            for plane in wanted
        ]
        if not parts:
            raise NoImageError(
                "Nothing here is certain yet: correct or approve cells, or mark what is complete (Review cells)."
            )
        name = source.file_name

        def work(call: Call, report: Report) -> list[AddResult]:  # noqa: ARG001 - it is not to be cut off
            return [_open(folder).add(_corrected(part, data, name)) for part in parts]

        session.jobs.submit(work, on_done=self._done, on_error=session.failed, topic=_TOPIC)
        self.changed.emit()

    def close(self) -> None:
        """Let go; what is being added is added."""

    def _done(self, results: list[AddResult]) -> None:
        self.n_added = len(RetrainingSet.open(self.folder).entries)
        outcomes = [result.outcome for result in results]
        told = ", ".join(f"{outcomes.count(o)} {o}" for o in dict.fromkeys(outcomes))
        split = "held back to test what is learned" if results[0].split == "val" else "to learn from"
        notes = " ".join(dict.fromkeys(note for result in results for note in result.notes))
        self._session.say(f"Training set: {told}, {split}; {self.n_added} pictures in all. {notes}".strip())
        self.changed.emit()


def _open(folder: Path) -> RetrainingSet:
    """Return a data set; it is made if the folder is not there yet, or empty."""
    there = folder.is_dir() and any(folder.iterdir())
    return RetrainingSet.open(folder) if there else RetrainingSet.create(folder)


def _corrected(part: _Part, data: Any, name: str) -> Corrected:
    """Return a plane as the data set takes it."""
    labels = np.array(data[part.plane] if part.plane else data)
    own = f"{name} {' '.join(map(str, part.plane))}".strip()
    return Corrected(part.read(), labels, part.verified, part.cells, name=own, group=name)
