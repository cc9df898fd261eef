"""Prompting: clicks that become cells, and cells that are taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.types import LowResLogits, Mask, Prompt
from napari_cellsam.widgets._edits import Plane, edit_between, erase, place
from napari_cellsam.widgets._extent import Window, extent_of, window_around
from napari_cellsam.widgets._history import Action
from napari_cellsam.widgets._records import CellRecord, RecordChange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.widgets._session import Session

__all__ = ["ActiveCell", "Prompting"]

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class ActiveCell:
    """The cell that clicks refine.

    Attributes
    ----------
    label, plane
        Which.
    inside, outside
        Clicks so far, ``(y, x)``.
    box
        ``(y_min, x_min, y_max, x_max)`` that it is decoded with, or None.
    logits
        The decoder's answer to the last prompt.
    window, before
        Where its pixels are now, and what it was when it was taken up: its record and its pixels, or None for a new
        one.
    """

    label: int
    plane: Plane
    inside: tuple[tuple[float, float], ...] = ()
    outside: tuple[tuple[float, float], ...] = ()
    box: Box | None = None
    logits: LowResLogits | None = None
    window: Window | None = None
    before: _Snapshot | None = field(default=None)

    @property
    def prompt(self) -> Prompt:
        """What the model is asked."""
        return Prompt(inside=self.inside, outside=self.outside, box=self.box, mask_logits=self.logits)


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """A cell as it was."""

    record: CellRecord | None
    window: Window
    pixels: NDArray[np.bool_]


class Prompting:
    """Turns what the user points at into cells, one action each.

    ``changed`` is emitted when another cell becomes the active one, or none.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._active: ActiveCell | None = None

    @property
    def active(self) -> ActiveCell | None:
        """The cell that clicks refine."""
        return self._active

    def click(self, y: float, x: float, *, outside: bool = False) -> None:
        """Make a new cell at a place, or refine the active one."""
        session = self._session
        if not session.holds(y, x):
            return
        plane, here = session.plane, session.target.at(session.plane, round(y), round(x))
        active = self._active if self._active and self._active.plane == plane else None
        if outside:
            if active is None:
                session.say("Click into a cell first; then Shift or the right button shows what is not part of it.")
                return
            self._ask(replace(active, outside=(*active.outside, (y, x))), "click outside")
        elif active and here == active.label:
            self._ask(replace(active, inside=(*active.inside, (y, x))), "refine")
        elif here:
            session.say(f"This is cell {here}: J takes it up, K deletes it.")
        else:
            self._ask(ActiveCell(session.target.take_number(), plane, inside=((y, x),)), "click")

    def boxes(self, boxes: Sequence[Box]) -> None:
        """Make a cell of each box, all in one action."""
        session, plane = self._session, self._session.plane
        prompts = [Prompt(box=box) for box in boxes]
        if not prompts:
            return

        def done(masks: list[Mask]) -> None:
            self._place_all(plane, prompts, masks)

        session.decode(plane, prompts, done, topic=None)

    def take_up(self, y: float, x: float) -> None:
        """Make the cell at a place the active one, whatever made it."""
        session, plane = self._session, self._session.plane
        found = extent_of(session.target, plane, round(y), round(x))
        if found is None:
            session.say("There is no cell under the cursor to take up.")
            return
        label, window = found
        snapshot = self._snapshot(plane, label, window)
        self._set(ActiveCell(label, plane, box=_box(window), window=window, before=snapshot))
        session.say(f"Cell {label}: click inside it, Shift-click outside; Enter keeps it, Escape restores it.")

    def redo_with_model(self, y: float, x: float) -> None:
        """Let the model outline the cell at a place anew."""
        session, plane = self._session, self._session.plane
        found = extent_of(session.target, plane, round(y), round(x))
        if found is None:
            session.say("There is no cell under the cursor to outline anew.")
            return
        label, window = found
        snapshot = self._snapshot(plane, label, window)
        self._ask(ActiveCell(label, plane, box=_box(window), window=window, before=snapshot), "outline anew")

    def accept(self) -> None:
        """Keep the active cell as it is; the next click makes a new one."""
        self._set(None)

    def restore(self) -> None:
        """Give the active cell back what it was; one that is new goes."""
        active = self._active
        if active is None:
            return
        self._session.jobs.cancel(_topic(active))
        windows = [w for w in (active.window, active.before.window if active.before else None) if w is not None]
        self._set(None)
        if not windows:
            return
        window = window_around(self._session.target.shape, *windows)
        under = self._session.target.read(active.plane, window)
        after = erase(under, active.label)
        before = active.before
        if before is not None:
            part = tuple(
                slice(w.start - outer.start, w.stop - outer.start)
                for w, outer in zip(before.window, window, strict=True)
            )
            after[part] = place(after[part], before.pixels, active.label)
        self._apply("restore", active, window, under, after, None if before is None else before.record)

    def delete(self, y: float, x: float) -> None:
        """Delete the cell at a place."""
        session, plane = self._session, self._session.plane
        found = extent_of(session.target, plane, round(y), round(x))
        if found is None:
            session.say("There is no cell under the cursor to delete.")
            return
        label, window = found
        if self._active and self._active.label == label:
            self._set(None)
        under = session.target.read(plane, window)
        self._apply("delete", ActiveCell(label, plane), window, under, erase(under, label), None)

    def forget(self) -> None:
        """Take no cell for the active one any more, and drop answers that are on their way."""
        if self._active is not None:
            self._session.jobs.cancel(_topic(self._active))
        self._set(None)

    def _ask(self, cell: ActiveCell, title: str) -> None:
        """Decode a cell and write it; it is the active one from now on."""
        self._set(cell)

        def done(masks: list[Mask]) -> None:
            self._answered(cell, masks[0], title)

        self._session.decode(cell.plane, [cell.prompt], done, topic=_topic(cell))

    def _answered(self, cell: ActiveCell, mask: Mask, title: str) -> None:
        current = self._active is not None and self._active.label == cell.label
        if mask.area == 0:
            self._session.say("The model sees no cell there. Try another place, or a box around it.")
            if current and cell.window is None:
                self._set(None)
            return
        new = _window(mask)
        windows = [new] if cell.window is None else [new, cell.window]
        window = window_around(self._session.target.shape, *windows)
        under = self._session.target.read(cell.plane, window)
        inside = np.zeros(under.shape, bool)
        top, left = mask.corner[0] - window[0].start, mask.corner[1] - window[1].start
        inside[top : top + mask.crop.shape[0], left : left + mask.crop.shape[1]] = mask.crop
        after = place(erase(under, cell.label), inside, cell.label)
        old = self._session.cells.get(cell.plane, cell.label)
        record = CellRecord(
            cell.label,
            cell.plane,
            "prompted",
            None if old is None else old.detector_score,
            float(mask.score),
            (*(old.prompts if old else ()), Prompt(inside=cell.inside, outside=cell.outside, box=cell.box)),
        )
        self._apply(title, cell, window, under, after, record)
        if current:
            self._set(replace(cell, logits=mask.low_res, window=window))

    def _place_all(self, plane: Plane, prompts: Sequence[Prompt], masks: Sequence[Mask]) -> None:
        """Write the answers to a batch of prompts as one action."""
        target, group, n_cells = self._session.target, object(), 0
        for prompt, mask in zip(prompts, masks, strict=True):
            if mask.area == 0:
                continue
            under = target.read(plane, _window(mask))  # after the cells before, whose pixels it does not take
            label = target.take_number()
            edit = edit_between(plane, mask.corner, under, place(under, mask.crop, label))
            if edit is None:
                continue
            record = CellRecord(label, plane, "prompted", None, float(mask.score), (prompt,))
            self._session.apply(Action(f"{len(prompts)} boxes", (edit,), (RecordChange(None, record),), group))
            n_cells += 1
        self._session.say(f"{n_cells} of {len(prompts)} boxes became cells.")

    def _apply(
        self,
        title: str,
        cell: ActiveCell,
        window: Window,
        under: NDArray[Any],
        after: NDArray[Any],
        record: CellRecord | None,
    ) -> None:
        """Write a cell's pixels and record as one action."""
        edit = edit_between(cell.plane, (window[0].start, window[1].start), under, after)
        old = self._session.cells.get(cell.plane, cell.label)
        if not (after == cell.label).any():
            record = None
        change = () if old is None and record is None else (RecordChange(old, record),)
        if edit is not None or change:
            self._session.apply(Action(f"{title} {cell.label}", () if edit is None else (edit,), change))

    def _snapshot(self, plane: Plane, label: int, window: Window) -> _Snapshot:
        pixels = self._session.target.read(plane, window) == label
        return _Snapshot(self._session.cells.get(plane, label), window, pixels)

    def _set(self, cell: ActiveCell | None) -> None:
        self._active = cell
        self.changed.emit()


def _topic(cell: ActiveCell) -> str:
    return f"cell {cell.label}"


def _box(window: Window) -> Box:
    return window[0].start, window[1].start, window[0].stop - 1, window[1].stop - 1


def _window(mask: Mask) -> Window:
    (y, x), (height, width) = mask.corner, mask.crop.shape
    return slice(y, y + height), slice(x, x + width)
