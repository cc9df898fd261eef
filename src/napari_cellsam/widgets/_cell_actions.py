"""The actions on the cell under the cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_cellsam.widgets._action import ActionSpec, at_cursor

if TYPE_CHECKING:
    from napari_cellsam.widgets._correcting import Correcting
    from napari_cellsam.widgets._session import Session

__all__ = ["CELL_ACTIONS"]


def _correct(verb: Callable[[Correcting, float, float], None]) -> Callable[[Session], None]:
    """Return a correction at the cursor."""
    return at_cursor(lambda session, y, x: verb(session.correcting, y, x))


def _escape(session: Session) -> None:
    """Let be what was begun or selected, or give the active cell back what it was, or else stop what runs."""
    if session.correcting.let_be():
        session.say("Nothing was changed.")
    elif session.selection.clear():
        session.say("No cell is selected.")
    elif session.region.drawing:
        session.region.stop()
    elif session.shapes.drawing:
        session.shapes.stop()
    elif session.prompting.active is not None:
        session.prompting.restore()
    else:
        session.cancel()


CELL_ACTIONS = (
    ActionSpec(
        "take_up_cell",
        "Take up cell",
        "J",
        "Refine the cell under the cursor with further clicks, whatever made it.",
        at_cursor(lambda session, y, x: session.prompting.take_up(y, x)),
    ),
    ActionSpec(
        "redo_cell",
        "Outline cell anew",
        "U",
        "Let the model outline the cell under the cursor anew.",
        _correct(lambda correcting, y, x: correcting.redo(y, x)),
    ),
    ActionSpec(
        "delete_cell",
        "Delete cell",
        "K",
        "Delete the cell under the cursor.",
        _correct(lambda correcting, y, x: correcting.delete(y, x)),
    ),
    ActionSpec(
        "accept_cell",
        "Accept cell",
        "Enter",
        "Keep the active cell as it is; the next click makes a new one.",
        lambda session: session.prompting.accept(),
    ),
    ActionSpec(
        "restore_cell",
        "Restore cell",
        "Escape",
        "Give the active cell back what it was; without one, stop what runs.",
        _escape,
    ),
    ActionSpec(
        "select_cell",
        "Select cell",
        "Shift-C",
        "Select the cell under the cursor, or no more; a correction over one of those selected acts on all of them.",
        at_cursor(lambda session, y, x: session.selection.toggle(y, x)),
    ),
    ActionSpec(
        "select_in_region",
        "Select in a region",
        "",
        "Draw around cells in one stroke; those inside are selected.",
        lambda session: session.region.draw(then=session.selection.select_in),
    ),
    ActionSpec(
        "merge_cells",
        "Merge cells",
        "T",
        "Press it over one cell, then over another one: both become one. Of selected cells, all do at once.",
        _correct(lambda correcting, y, x: correcting.merge(y, x)),
    ),
    ActionSpec(
        "split_cell",
        "Split cell",
        "I",
        "Press it in one part of a cell, then in the other; or press it once and drag a line across the cell.",
        _correct(lambda correcting, y, x: correcting.split(y, x)),
    ),
    ActionSpec(
        "grow_cell",
        "Grow cell",
        "Shift-G",
        "Grow the cell under the cursor by a pixel.",
        _correct(lambda correcting, y, x: correcting.grow(y, x)),
    ),
    ActionSpec(
        "shrink_cell",
        "Shrink cell",
        "Shift-S",
        "Shrink the cell under the cursor by a pixel.",
        _correct(lambda correcting, y, x: correcting.shrink(y, x)),
    ),
    ActionSpec(
        "fill_holes",
        "Fill holes",
        "Shift-F",
        "Fill the holes of the cell under the cursor.",
        _correct(lambda correcting, y, x: correcting.fill_holes(y, x)),
    ),
    ActionSpec(
        "smooth_cell",
        "Smooth cell",
        "Shift-M",
        "Smooth the outline of the cell under the cursor.",
        _correct(lambda correcting, y, x: correcting.smooth(y, x)),
    ),
    ActionSpec(
        "keep_largest_piece",
        "Keep largest piece",
        "Shift-K",
        "Drop all but the largest piece of the cell under the cursor.",
        _correct(lambda correcting, y, x: correcting.keep_largest(y, x)),
    ),
    ActionSpec(
        "renumber_cell",
        "New number",
        "Shift-D",
        "Give the cell under the cursor a number that no other one has.",
        _correct(lambda correcting, y, x: correcting.renumber(y, x)),
    ),
    ActionSpec(
        "swap_numbers",
        "Swap numbers",
        "Shift-W",
        "Press it over one cell, then over another one: they swap their numbers.",
        _correct(lambda correcting, y, x: correcting.swap(y, x)),
    ),
    ActionSpec(
        "clear_region",
        "Clear a region",
        "",
        "Draw around something in one stroke; what lies inside is taken away.",
        lambda session: session.region.draw(then=session.correcting.clear),
    ),
    ActionSpec("undo", "Undo", "Control-Z", "Take the newest step back.", lambda session: session.undo()),
    ActionSpec("redo", "Redo", "Control-Shift-Z", "Do the step again that was undone.", lambda session: session.redo()),
)
