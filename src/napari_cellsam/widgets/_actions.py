"""The actions: everything a user can do, once, for buttons, keys, the command palette and the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cellsam.errors import CellsamError

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session

__all__ = ["ACTIONS", "ActionSpec", "find_action", "run_action"]


@dataclass(frozen=True)
class ActionSpec:
    """Something a user can do.

    Attributes
    ----------
    id
        Of the command, behind ``napari-cellsam.``.
    title
        On its button, and in the command palette.
    key
        By default, as napari writes it; empty for none.
    tooltip
        What it does, in a sentence.
    run
        Does it.
    on_labels
        Whether the key is bound on our labels layers alone: napari, or another layer, uses it elsewhere.
    """

    id: str
    title: str
    key: str
    tooltip: str
    run: Callable[[Session], None]
    on_labels: bool = False


def _at_cursor(do: Callable[[Session, float, float], None]) -> Callable[[Session], None]:
    """Return an action on what is under the cursor."""

    def run(session: Session) -> None:
        y, x = session.to_yx(session.viewer.cursor.position)
        do(session, y, x)

    return run


def _escape(session: Session) -> None:
    """Give the active cell back what it was, or else stop what runs."""
    if session.prompting.active is not None:
        session.prompting.restore()
    else:
        session.cancel()


ACTIONS = (
    ActionSpec(
        "toggle_click_mode",
        "Click mode",
        "H",
        "While it is on, a click on the background outlines the cell there.",
        lambda session: session.set_clicking(not session.clicking),
    ),
    ActionSpec(
        "segment_image",
        "Segment the image",
        "G",
        "Find every cell of the plane that is shown. Cells that are there stay.",
        lambda session: session.automatic.run(rule=session.rule),
    ),
    ActionSpec(
        "segment_view",
        "Segment the view",
        "W",
        "Find every cell of what the window shows.",
        lambda session: session.automatic.run(region=session.view(), rule=session.rule),
    ),
    ActionSpec(
        "segment_stack",
        "Segment all planes",
        "",
        "Find every cell of every plane of the stack, each plane by itself.",
        lambda session: session.automatic.run(planes=session.planes(), rule=session.rule),
    ),
    ActionSpec(
        "take_up_cell",
        "Take up cell",
        "J",
        "Refine the cell under the cursor with further clicks, whatever made it.",
        _at_cursor(lambda session, y, x: session.prompting.take_up(y, x)),
    ),
    ActionSpec(
        "redo_cell",
        "Outline cell anew",
        "U",
        "Let the model outline the cell under the cursor anew.",
        _at_cursor(lambda session, y, x: session.prompting.redo_with_model(y, x)),
    ),
    ActionSpec(
        "delete_cell",
        "Delete cell",
        "K",
        "Delete the cell under the cursor.",
        _at_cursor(lambda session, y, x: session.prompting.delete(y, x)),
    ),
    ActionSpec(
        "accept_cell",
        "Accept cell",
        "Enter",
        "Keep the active cell as it is; the next click makes a new one.",
        lambda session: session.prompting.accept(),
        on_labels=True,
    ),
    ActionSpec(
        "restore_cell",
        "Restore cell",
        "Escape",
        "Give the active cell back what it was; without one, stop what runs.",
        _escape,
        on_labels=True,
    ),
    ActionSpec("undo", "Undo", "Control-Z", "Take the newest step back.", lambda session: session.undo()),
    ActionSpec("redo", "Redo", "Control-Shift-Z", "Do the step again that was undone.", lambda session: session.redo()),
    ActionSpec(
        "use_new_labels",
        "New labels layer",
        "",
        "Write into a new, empty labels layer from now on.",
        lambda session: session.use_new_labels(),
    ),
    ActionSpec(
        "cancel", "Cancel", "", "Stop what runs; the cells that were found stay.", lambda session: session.cancel()
    ),
)


def find_action(action_id: str) -> ActionSpec:
    """Return the action of an id."""
    return next(action for action in ACTIONS if action.id == action_id)


def run_action(session: Session, action: ActionSpec) -> None:
    """Do an action; what is wrong is told to the user."""
    try:
        action.run(session)
    except CellsamError as error:
        session.say(str(error), "warning")
