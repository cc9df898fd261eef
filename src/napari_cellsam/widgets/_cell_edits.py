"""The edits of one cell: its pixels and its record, written as one action."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import Plane, edit_between, erase, place
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.types import Mask, Prompt
from napari_cellsam.widgets._active_cell import ActiveCell, Below, box_of, inside_of, window_of
from napari_cellsam.widgets._extent import Window, window_around

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.widgets._session import Session

__all__ = ["delete_cell", "restore_cell", "write_cell"]


def write_cell(session: Session, cell: ActiveCell, mask: Mask, title: str) -> ActiveCell | None:
    """Give a cell the pixels of a mask, as far as they lie on background or are its own.

    Parameters
    ----------
    session
        Whose labels.
    cell
        What was asked.
    mask
        The answer.
    title
        Of the step; the cell's number is added.

    Returns
    -------
    ActiveCell or None
        The cell as it is now; None if other cells fill its place, and nothing was written.
    """
    new, takes = window_of(mask), dict(cell.takes)
    window = _window(session, cell, new, *takes.values())
    under = session.target.read(cell.plane, window)
    bare = _bare(cell, under, window)
    after = place(bare, inside_of(mask, window), cell.label, replaceable=list(takes))
    if not (after == cell.label).any():
        return None
    old = session.cells.get(cell.plane, cell.label)
    prompts = (*(old.prompts if old else ()), _without_logits(cell))
    score = None if old is None else old.detector_score
    record = CellRecord(cell.label, cell.plane, "prompted", score, float(mask.score), prompts)
    before = cell.before and cell.before.extended(window, under == cell.label, session.target.shape)
    _apply(session, f"{title} {cell.label}", _Change(cell.plane, window, under, after), cell.label, record)
    below = Below(window, np.where(after == cell.label, bare, 0)) if takes else None
    return replace(cell, logits=mask.low_res, window=new, before=before, below=below)


def _window(session: Session, cell: ActiveCell, *more: Window) -> Window:
    """Return the window that holds all that a cell has, and more."""
    own = [cell.window, cell.below.window if cell.below else None]
    return window_around(session.target.shape, *more, *(window for window in own if window is not None))


def _bare(cell: ActiveCell, under: NDArray[Any], window: Window) -> NDArray[Any]:
    """Return a crop without a cell, what it took from others given back."""
    return erase(under, cell.label) if cell.below is None else cell.below.given_back(under, window, cell.label)


def _without_logits(cell: ActiveCell) -> Prompt:
    """Return what pointed at a cell; for a mask that was corrected from outside alone, its box stands."""
    box = box_of(cell.window) if cell.window and cell.box is None and not cell.inside else cell.box
    return Prompt(inside=cell.inside, outside=cell.outside, box=box)


def restore_cell(session: Session, cell: ActiveCell) -> None:
    """Give a cell the pixels and the record that it had when it was taken up; one that is new goes."""
    before = cell.before
    if cell.window is None and before is None:
        return
    window = _window(session, cell, *([before.window] if before else []))
    under = session.target.read(cell.plane, window)
    after = _bare(cell, under, window)
    record = None
    if before is not None:
        corner = before.window[0].start, before.window[1].start
        after = place(after, inside_of(Mask(before.pixels, corner, 1.0), window), cell.label)
        record = before.record
    _apply(session, f"restore {cell.label}", _Change(cell.plane, window, under, after), cell.label, record)


def delete_cell(session: Session, plane: Plane, label: int, window: Window) -> None:
    """Erase a cell, whose pixels lie in a window."""
    under = session.target.read(plane, window)
    _apply(session, f"delete {label}", _Change(plane, window, under, erase(under, label)), label, None)


class _Change(NamedTuple):
    """A crop of a plane before and after."""

    plane: Plane
    window: Window
    under: NDArray[Any]
    after: NDArray[Any]


def _apply(session: Session, title: str, change: _Change, label: int, record: CellRecord | None) -> None:
    """Write a cell's pixels and record as one action; other cells whose pixels change were edited by that."""
    plane, window, under, after = change
    edit = edit_between(plane, (window[0].start, window[1].start), under, after)
    records = {} if edit is None else {other: session.cells.get(plane, other) for other in edit.labels() if other}
    news = {other: (old or CellRecord(other, plane)).edited for other, old in records.items()}
    records[label] = session.cells.get(plane, label)
    news |= {} if record is None else {label: record}
    left = set(np.unique(after).tolist())
    changes = tuple(
        RecordChange(old, new)
        for other, old in sorted(records.items())
        if (new := news.get(other) if other in left else None) is not old
    )
    if edit is not None or changes:
        session.apply(Action(title, () if edit is None else (edit,), changes))
