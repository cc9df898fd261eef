"""Prompting: clicks that become cells, and cells that are taken up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cellsam.editing.edits import Plane
from napari_cellsam.types import LowResLogits, Mask, Prompt
from napari_cellsam.widgets._active_cell import ActiveCell, Box, Places, Snapshot, box_of, topic_of
from napari_cellsam.widgets._asking import Asking
from napari_cellsam.widgets._cell_edits import delete_cell, restore_cell, write_cell
from napari_cellsam.widgets._extent import extent_of
from napari_cellsam.widgets._prompt_batch import PromptBatch
from napari_cellsam.widgets._shape_prompts import DrawnPrompt

if TYPE_CHECKING:
    from napari_cellsam.errors import CellsamError
    from napari_cellsam.widgets._session import Session

__all__ = ["ActiveCell", "Prompting", "Seen"]

Seen = Callable[[Plane, float, float], "Mask | None"]
"""Returns the model's answer to a click at a place, if it is known already."""


class Prompting:
    """Turns what the user points at into cells, one action each.

    ``changed`` is emitted when another cell becomes the active one, or none.

    Attributes
    ----------
    seen
        Knows the answers that the user sees before the click; None without a preview.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asking = Asking(session)
        self._active: ActiveCell | None = None
        self._settled: ActiveCell | None = None  # the active one as it was last answered, or taken up
        self.seen: Seen | None = None

    @property
    def active(self) -> ActiveCell | None:
        """The cell that clicks refine."""
        return self._active

    # --- one cell

    def click(self, y: float, x: float, *, outside: bool = False, more: bool = False) -> None:
        """Make a new cell at a place, or refine the active one.

        Parameters
        ----------
        y, x
            The place, in the picture or not.
        outside
            Whether it is not part of the active cell.
        more
            Whether it is part of the active cell, wherever it lies; of another cell there, the active one may then take
            pixels.
        """
        if not self._session.holds(y, x):
            return
        place = ((float(y), float(x)),)
        if more:
            self._more(place)
        else:
            self._point((), place, "click outside") if outside else self._point(place, (), "click")

    def scribble(self, places: Places, *, outside: bool = False) -> None:
        """Make a new cell where a line is, or refine the active one if the line begins in it.

        Parameters
        ----------
        places
            Along the line, ``(y, x)``, in the picture. Those on other cells are left out.
        outside
            Whether they are not part of the active cell, wherever they begin.
        """
        if places:
            self._point((), places, "scribble outside") if outside else self._point(places, (), "scribble")

    def take_up(self, y: float, x: float) -> None:
        """Make the cell at a place the active one, whatever made it."""
        if self._take_up(self._session.plane, y, x, "to take up"):
            label = self._active.label if self._active else 0
            self._session.say(
                f"Cell {label}: click inside it, Control-click what it lacks, Shift-click what is too much; "
                "Enter keeps it, Escape restores it."
            )

    def redo_with_model(self, y: float, x: float) -> None:
        """Let the model outline the cell at a place anew."""
        if self._take_up(self._session.plane, y, x, "to outline anew") and self._active and self._active.window:
            self._ask(replace(self._active, box=box_of(self._active.window), logits=None), "outline anew")

    def accept(self) -> None:
        """Keep the active cell as it is; the next click makes a new one."""
        self._set(None)

    def restore(self) -> None:
        """Give the active cell back what it was; one that is new goes."""
        active = self._active
        if active is not None:
            self._session.jobs.cancel(active.topic)
            self._set(None)
            restore_cell(self._session, active)

    def delete(self, y: float, x: float) -> None:
        """Delete the cell at a place."""
        session, plane = self._session, self._session.plane
        found = extent_of(session.target, plane, round(y), round(x))
        if found is None:
            session.say("There is no cell under the cursor to delete.")
            return
        label, window = found
        session.jobs.cancel(topic_of(label))  # or an answer on its way would bring it back
        if self._active and self._active.label == label:
            self._set(None)
        elif self._active:
            self._settled = self._settled and self._settled.without(label)
            self._set(self._active.without(label))
        delete_cell(session, plane, label, window)

    # --- many cells

    def boxes(self, boxes: Sequence[Box]) -> None:
        """Make a cell of each box, all in one action."""
        title = "1 box" if len(boxes) == 1 else f"{len(boxes)} boxes"
        self.prompts([DrawnPrompt(Prompt(box=box)) for box in boxes], title)

    def prompts(
        self,
        prompts: Sequence[Prompt | DrawnPrompt],
        title: str,
        ended: Callable[[bool], None] | None = None,
        *,
        plane: Plane | None = None,
    ) -> PromptBatch:
        """Make a cell of each prompt, all in one action.

        Parameters
        ----------
        prompts
            What is asked; where one was drawn as a polygon, the cell stays in it.
        title
            Of the action, with the number of prompts: ``"3 boxes"``.
        ended
            Called when all is written or was taken back (True), or when it failed (False).
        plane
            Where in the stack; the one that is shown when None.

        Returns
        -------
        PromptBatch
            What is under way.
        """
        drawn = [DrawnPrompt(each) if isinstance(each, Prompt) else each for each in prompts]
        batch = PromptBatch(self._session, self._session.plane if plane is None else plane, drawn, title, ended)
        if drawn:
            batch.ask()
        return batch

    def forget(self) -> None:
        """Take no cell for the active one any more, and drop answers that are on their way."""
        self._session.jobs.take_all_back()
        self._set(None)

    # --- how it is done

    def _point(self, inside: Places, outside: Places, title: str) -> None:
        """Take in places in or out of a cell."""
        session, plane = self._session, self._session.plane
        active = self._active if self._active and self._active.plane == plane else None
        if outside:
            if active is None:
                session.say("Click into a cell first; then Shift or the right button shows what is not part of it.")
                return
            self._ask(replace(active, outside=(*active.outside, *outside)), title)
            return
        here = self._at(plane, inside[0])
        if active and here == active.label:
            own = tuple(place for place in inside if self._at(plane, place) in (0, here))
            self._ask(replace(active, inside=(*active.inside, *own)), "refine")
        elif here:
            session.say(f"This is cell {here}: J takes it up, K deletes it.")
        else:
            bare = tuple(place for place in inside if self._at(plane, place) == 0)
            self._begin(ActiveCell(session.target.take_number(), plane, inside=bare), title)

    def _more(self, place: Places) -> None:
        """Take in a place that the active cell has to have."""
        session, plane, active = self._session, self._session.plane, self._active
        if active is None or active.plane != plane:
            session.say("Click into a cell first; then Control shows what belongs to it as well.")
            return
        takes = dict(active.takes)
        found = extent_of(session.target, plane, round(place[0][0]), round(place[0][1]))
        if found is not None and found[0] != active.label:
            takes[found[0]] = found[1]
        self._ask(replace(active, inside=(*active.inside, *place), takes=tuple(takes.items())), "refine")

    def _begin(self, cell: ActiveCell, title: str) -> None:
        """Make a new cell; what the user sees already is taken as it is."""
        known = self.seen(cell.plane, *cell.inside[0]) if self.seen is not None and title == "click" else None
        if known is None:
            self._ask(cell, title)
            return
        self._settled = None
        self._set(cell)
        self._answered(cell, known, title)

    def _ask(self, cell: ActiveCell, title: str) -> None:
        """Decode a cell and write it; it is the active one from now on."""
        if self._settled is not None and self._settled.label != cell.label:
            self._settled = None
        self._set(cell)

        def done(masks: list[Mask]) -> None:
            self._answered(cell, masks[0], title)

        def failed(error: CellsamError) -> None:
            self._step_back(cell)
            self._session.failed(error)

        def taken_back() -> bool:
            self._step_back(cell)
            return False

        self._asking.decode(cell.plane, [cell.prompt], done, failed=failed, on_taken_back=taken_back, topic=cell.topic)

    def _answered(self, cell: ActiveCell, mask: Mask, title: str) -> None:
        """Write the model's answer; by now other cells may lie there."""
        if mask.area == 0:
            self._session.say("The model sees no cell there. Try another place, or a box around it.")
            self._step_back(cell)
            return
        if cell.window is not None and not (self._session.target.read(cell.plane, cell.window) == cell.label).any():
            self._session.say(f"Cell {cell.label} is not there any more.")
            self._step_back(cell)
            return
        there = self._at(cell.plane, cell.inside[0]) if cell.window is None else 0
        if there:
            self._overtaken(cell, there)
            return
        written = write_cell(self._session, cell, mask, title)
        if written is None:
            self._session.say("Other cells fill this place; delete them first.")
            self._step_back(cell)
        elif self._active is cell:
            self._settled = written
            self._set(written)

    def _overtaken(self, cell: ActiveCell, there: int) -> None:
        """Take up the cell that came up where a new one was asked for: two clicks, or a click into a running search."""
        self._session.say(f"Cell {there} came up there meanwhile; a click into it refines it.")
        if self._active is cell:
            self._set(None)
            self._take_up(cell.plane, *cell.inside[0], "")

    def _step_back(self, cell: ActiveCell) -> None:
        """Forget a prompt that came to nothing, unless another one was given since."""
        if self._active is cell:
            self._set(self._settled)

    def _take_up(self, plane: Plane, y: float, x: float, wanted: str) -> bool:
        """Make the cell at a place the active one; return whether there is one."""
        session = self._session
        found = extent_of(session.target, plane, round(y), round(x))
        if found is None:
            session.say(f"There is no cell under the cursor {wanted}.")
            return False
        label, window = found
        session.jobs.cancel(topic_of(label))  # what was asked of it before was about the cell as it was
        pixels = session.target.read(plane, window) == label
        before = Snapshot(session.cells.get(plane, label), window, pixels)
        top, left = (part.start for part in window)
        drawn = LowResLogits.of_outline(pixels, (top, left))
        self._settled = ActiveCell(label, plane, logits=drawn, window=window, before=before)
        self._set(self._settled)
        return True

    def _at(self, plane: Plane, place: tuple[float, float]) -> int:
        """Return the cell at a place."""
        return self._session.target.at(plane, round(place[0]), round(place[1]))

    def _set(self, cell: ActiveCell | None) -> None:
        self._active = cell
        self.changed.emit()
