"""The journal: everything that was done to a label image, in a file that survives whatever happens to the program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.edits import CropEdit, Plane
from napari_cellsam.editing.journal_format import Opening, Step, frames_in
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.editing.verified import Mark
from napari_cellsam.errors import ImageTooLargeError, JournalError

if TYPE_CHECKING:
    from napari_cellsam.editing.actions import Action

__all__ = ["SUFFIX", "JournalSummary", "Replayed", "read_steps", "replay", "summarize"]

SUFFIX = ".cellsam"
"""Of a journal's file name."""


@dataclass(frozen=True)
class JournalSummary:
    """What a journal holds.

    Attributes
    ----------
    opening
        What it is of.
    n_steps
        Steps that are whole.
    is_begun
        Whether all that was there before is in it: a journal that was cut off before says little of its image.
    n_bytes
        Length of the part that is whole; a longer file was cut off while it was written.
    checksum
        Of the last whole frame.
    last
        When the last step was taken, seconds since 1970; when the journal was begun if there is none.
    """

    opening: Opening
    n_steps: int
    is_begun: bool
    n_bytes: int
    checksum: int
    last: float


@dataclass(frozen=True, eq=False)
class Replayed:
    """What a journal's steps come to.

    Attributes
    ----------
    labels
        ``(..., Y, X)`` numbers of cells; 0 is background.
    verified
        Of the same shape; 1 where every cell is outlined, 0 where that is not known.
    cells
        The records by plane and number.
    steps
        Kind of each step, and what was done, for a history that goes on.
    summary
        What the journal holds.
    """

    labels: NDArray[np.unsignedinteger]
    verified: NDArray[np.uint8]
    cells: dict[tuple[Plane, int], CellRecord]
    summary: JournalSummary
    steps: list[tuple[str, Action]] = field(default_factory=list)


def summarize(path: Path) -> JournalSummary | None:
    """Return what a journal holds, as far as it is whole; None if it was cut off before anything was written into it.

    Raises
    ------
    JournalError
        If the file is no journal, or cannot be read.
    """
    opening, n_steps, is_begun, end, checksum, last = None, 0, True, 0, 0, 0.0
    for content, end, checksum in _frames(path):  # noqa: B007 - the last ones count
        if isinstance(content, Opening):
            opening, last = content, content.begun
        else:
            n_steps, last = n_steps + 1, content.time
            is_begun = content.kind != "base" or not content.edits  # what comes last of it has no pixels
    if opening is None:
        return None
    return JournalSummary(opening, n_steps, is_begun, end, checksum, last)


def read_steps(path: Path) -> Iterator[Step]:
    """Yield the steps of a journal that are whole, oldest first.

    Raises
    ------
    JournalError
        If the file is no journal, or cannot be read.
    """
    for content, _, _ in _frames(path):
        if isinstance(content, Step):
            yield content


def replay(path: Path, n_steps: int | None = None) -> Replayed:
    """Do all that a journal says to an empty label image.

    Parameters
    ----------
    path
        The journal.
    n_steps
        How many of its steps; all if None.

    Raises
    ------
    JournalError
        If the file is no journal, cannot be read, or has a step that does not fit the image.
    ImageTooLargeError
        If the label image does not fit into memory.
    """
    summary = summarize(path)
    if summary is None:
        raise JournalError(f"the journal {path} was cut off before anything was written into it")
    labels = _empty(summary.opening)
    verified = np.zeros(labels.shape, np.uint8)
    cells: dict[tuple[Plane, int], CellRecord] = {}
    groups: dict[int, object] = {}
    done: list[tuple[str, Action]] = []
    for number, step in enumerate(read_steps(path)):
        if n_steps is not None and number >= n_steps:
            break
        action = step.action(None if step.group is None else groups.setdefault(step.group, object()))
        _write(labels, action.edits)
        _mark(verified, action.marks)
        _note(cells, action.changes)
        done.append((step.kind, action))
    return Replayed(labels, verified, cells, summary, done)


def _frames(path: Path) -> Iterator[tuple[Opening | Step, int, int]]:
    """Yield the frames of a file; the first is the opening, and no other one is."""
    try:
        with path.open("rb") as file:
            for number, (content, end, checksum) in enumerate(frames_in(file)):
                if isinstance(content, Opening) != (number == 0):
                    raise JournalError(f"the journal {path} does not begin with what it is of, or begins twice")
                yield content, end, checksum
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be read: {error.strerror or error}") from error


def _empty(opening: Opening) -> NDArray[np.unsignedinteger]:
    """Return the label image before the first step."""
    try:
        dtype = np.dtype(opening.dtype)
    except TypeError as error:
        raise JournalError(f"the journal is of labels of the unknown type {opening.dtype!r}") from error
    if dtype.kind not in "iu" or len(opening.shape) < 2 or min(opening.shape) < 1:
        raise JournalError(f"the journal is of labels of shape {opening.shape} and type {dtype}, which cannot be")
    try:
        return np.zeros(opening.shape, dtype)
    except (MemoryError, ValueError) as error:
        raise ImageTooLargeError(f"labels of shape {opening.shape} do not fit into memory") from error


def _write(labels: NDArray[np.unsignedinteger], edits: Sequence[CropEdit]) -> None:
    """Change pixels."""
    for edit in edits:
        try:
            if min(edit.rows.min(initial=0), edit.columns.min(initial=0)) < 0:
                raise IndexError("a pixel before the first one")
            labels[edit.indices] = edit.after
        except (IndexError, OverflowError) as error:
            raise JournalError(f"a step of the journal does not fit labels of shape {labels.shape}: {error}") from error


def _mark(verified: NDArray[np.uint8], marks: Sequence[Mark]) -> None:
    """Change what is verified."""
    for mark in marks:
        try:
            mark.write(verified[mark.plane])
        except IndexError as error:
            shape = verified.shape
            raise JournalError(f"a step of the journal does not fit labels of shape {shape}: {error}") from error


def _note(cells: dict[tuple[Plane, int], CellRecord], changes: Sequence[RecordChange]) -> None:
    """Change records."""
    for change in changes:
        if change.after is None:
            cells.pop(change.key, None)
        else:
            cells[change.key] = change.after
