"""The rewriting of cells: a crop of the labels as something else, as one step, with the records that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import CropEdit, Plane, edit_between
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.errors import OptionError
from napari_cellsam.widgets._active_cell import topic_of
from napari_cellsam.widgets._extent import Window, extent_of, window_around

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session

__all__ = ["Corner", "Crop", "Rewriting", "Then", "Verb"]

Crop = Any  # NDArray[np.integer]; numpy's types of integers do not follow through the verbs
Corner = NDArray[np.int64]
Verb = Callable[[Crop, Corner], Crop]
"""Gets a crop and ``(y, x)`` of its first pixel, and returns what becomes of it."""

Then = Callable[[CellRecord], CellRecord]
"""Returns the record of a cell after it was changed."""

_MARGIN_PX = 4  # around a cell, for those that grow


def _edited(record: CellRecord) -> CellRecord:
    return record.edited


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
        plane = self._session.plane if plane is None else plane
        window = self._around(windows, margin)
        self._apply(title, plane, [(window, verb)], parents)

    def write_each(
        self,
        title: str,
        verb: Callable[[Crop, int, Corner], Crop],
        cells: Mapping[int, Window],
        *,
        plane: Plane | None = None,
        then: Then = _edited,
    ) -> None:
        """Change several cells as one step; those that are apart are read apart.

        Parameters
        ----------
        title
            Of the step.
        verb
            What becomes of a crop and a cell in it, and ``(y, x)`` of the crop's first pixel.
        cells
            Where the cells are, and are to be.
        plane
            Of the cells; the one that is shown when None.
        then
            What becomes of their records.
        """

        def of(labels: list[int]) -> Verb:
            return lambda crop, corner: reduce(lambda now, label: verb(now, label, corner), labels, crop)

        plane = self._session.plane if plane is None else plane
        groups = _apart({label: self._around([window], _MARGIN_PX) for label, window in cells.items()})
        self._apply(title, plane, [(window, of(labels)) for window, labels in groups], {}, then)

    def _around(self, windows: Sequence[Window], margin: int) -> Window:
        """Return the window that holds others and some pixels around them."""
        wide = [tuple(slice(s.start - margin, s.stop + margin) for s in window) for window in windows]
        return window_around(self._session.target.shape, *wide)  # type: ignore[arg-type] # two slices each

    def _apply(
        self,
        title: str,
        plane: Plane,
        parts: Sequence[tuple[Window, Verb]],
        parents: Mapping[int, int],
        then: Then = _edited,
    ) -> None:
        """Change parts of a plane that do not overlap, as one step."""
        session = self._session
        session.prompting.accept()  # its outline may be another one afterwards
        edits: list[CropEdit] = []
        changes: list[RecordChange] = []
        for window, verb in parts:
            corner = np.array([s.start for s in window])
            before = session.target.read(plane, window)
            after = verb(before, corner)
            edit = edit_between(plane, (window[0].start, window[1].start), before, after)
            if edit is not None:
                session.target.know_highest(int(after.max(initial=0)))
                edits.append(edit)
                left = set(np.unique(after).tolist())
                left |= self._beyond(plane, window, before, edit.labels() - left)
                changes += self._changes(plane, edit.labels(), left, parents, then)
        if not edits:
            session.say("There is nothing to correct.")
            return
        for label in {label for edit in edits for label in edit.labels()}:
            session.jobs.cancel(topic_of(label))  # an answer on its way is about the cell as it was
        session.apply(Action(title, tuple(edits), tuple(changes)))
        session.say(f"Done: {title}.")

    def _beyond(self, plane: Plane, window: Window, crop: Crop, labels: set[int]) -> set[int]:
        """Return which of the cells of a crop go on beyond it."""
        border = np.zeros(crop.shape, bool)
        border[[0, -1]] = border[:, [0, -1]] = True
        found = set()
        for label, at in zip(*np.unique(np.where(border, crop, 0), return_index=True), strict=True):
            y, x = divmod(int(at), crop.shape[1])
            extent = extent_of(self._session.target, plane, y + window[0].start, x + window[1].start)
            if extent is None or extent[0] not in labels:
                continue
            own = self._session.target.read(plane, extent[1]) == label
            own[
                tuple(
                    slice(max(w.start - e.start, 0), w.stop - e.start) for w, e in zip(window, extent[1], strict=True)
                )
            ] = False
            found |= {extent[0]} if own.any() else set()
        return found

    def _changes(
        self, plane: Plane, touched: set[int], left: set[int], parents: Mapping[int, int], then: Then
    ) -> tuple[RecordChange, ...]:
        """Return what becomes of the records of cells, of which some are left."""
        cells, changes = self._session.cells, []
        for label in sorted(touched):
            old = cells.get(plane, label)
            parent = cells.get(plane, parents.get(label, label)) or CellRecord(label, plane)
            new = then(replace(parent, label=label)) if label in left else None
            if old is not None or new is not None:
                changes.append(RecordChange(old, new))
        return tuple(changes)


def _apart(windows: Mapping[int, Window]) -> list[tuple[Window, list[int]]]:
    """Return windows that do not overlap, and whose were joined to each."""
    groups: list[tuple[Window, list[int]]] = []
    for label, window in windows.items():
        labels, around = [label], window
        while touching := [group for group in groups if _overlap(group[0], around)]:
            groups = [group for group in groups if group not in touching]
            for other, members in touching:
                labels = members + labels
                around = _joined(around, other)
        groups.append((around, labels))
    return groups


def _overlap(one: Window, other: Window) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def _joined(one: Window, other: Window) -> Window:
    rows, columns = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return rows, columns
