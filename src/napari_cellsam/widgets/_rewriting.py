"""The rewriting of cells: a crop of the labels as something else, as one step, with the records that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import Plane, edit_between
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.errors import OptionError
from napari_cellsam.widgets._extent import Window, extent_of, window_around

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session

__all__ = ["Corner", "Crop", "Rewriting", "Verb"]

Crop = Any  # NDArray[np.integer]; numpy's types of integers do not follow through the verbs
Corner = NDArray[np.int64]
Verb = Callable[[Crop, Corner], Crop]
"""Gets a crop and ``(y, x)`` of its first pixel, and returns what becomes of it."""

_MARGIN_PX = 4  # around a cell, for those that grow


class Rewriting:
    """Changes crops of the labels that a session writes into."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def cell(self, y: float, x: float, plane: Plane | None = None) -> tuple[int, Window]:
        """Return number and window of the cell at a place.

        Raises
        ------
        OptionError
            If there is none.
        """
        plane = self._session.plane if plane is None else plane
        found = extent_of(self._session.target, plane, round(y), round(x))
        if found is None:
            raise OptionError("There is no cell under the cursor.")
        return found

    def write(
        self,
        title: str,
        verb: Verb,
        windows: Sequence[Window],
        parents: Mapping[int, int] = MappingProxyType({}),
        *,
        plane: Plane | None = None,
        margin: int = _MARGIN_PX,
    ) -> None:
        """Change a crop as one step of the history.

        Parameters
        ----------
        title
            Of the step.
        verb
            What becomes of the crop.
        windows
            Where the cells are.
        parents
            By number: which cell's record it goes on with, where that is not its own.
        plane
            Of the cells; the one that is shown when None.
        margin
            Pixels around the windows that the crop has too.
        """
        session = self._session
        session.prompting.accept()  # its outline may be another one afterwards
        plane = session.plane if plane is None else plane
        around = [tuple(slice(s.start - margin, s.stop + margin) for s in window) for window in windows]
        window = window_around(session.target.shape, *around)  # type: ignore[arg-type] # two slices each
        corner = np.array([s.start for s in window])
        before = session.target.read(plane, window)
        after = verb(before, corner)
        edit = edit_between(plane, (window[0].start, window[1].start), before, after)
        if edit is None:
            session.say("There is nothing to correct.")
            return
        session.target.know_highest(int(after.max(initial=0)))
        changes = self._changes(plane, edit.labels(), set(np.unique(after).tolist()), parents)
        session.apply(Action(title, (edit,), changes))
        session.say(f"Done: {title}.")

    def _changes(
        self, plane: Plane, touched: set[int], left: set[int], parents: Mapping[int, int]
    ) -> tuple[RecordChange, ...]:
        """Return what becomes of the records of cells, of which some are left."""
        cells, changes = self._session.cells, []
        for label in sorted(touched):
            old = cells.get(plane, label)
            parent = cells.get(plane, parents.get(label, label)) or CellRecord(label, plane)
            origin = "edited" if parent.origin in ("automatic", "prompted") else parent.origin
            new = replace(parent, label=label, origin=origin) if label in left else None
            if old is not None or new is not None:
                changes.append(RecordChange(old, new))
        return tuple(changes)
