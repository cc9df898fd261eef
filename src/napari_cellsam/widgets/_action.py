"""The action: something a user can do, described once for buttons, keys, the command palette and the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cellsam.errors import CellsamError

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session

__all__ = ["ActionSpec", "at_cursor", "run_action"]


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
    """

    id: str
    title: str
    key: str
    tooltip: str
    run: Callable[[Session], None]


def at_cursor(do: Callable[[Session, float, float], None]) -> Callable[[Session], None]:
    """Return what is done at the pixel under the cursor."""

    def run(session: Session) -> None:
        y, x = session.to_yx(session.viewer.cursor.position)
        do(session, y, x)

    return run


def run_action(session: Session, action: ActionSpec) -> None:
    """Do an action; what is wrong is told to the user."""
    try:
        action.run(session)
    except CellsamError as error:
        session.say(str(error), "warning")
