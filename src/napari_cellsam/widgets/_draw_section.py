"""The section in which prompts are drawn: boxes, polygons and scribbles, or those of a layer of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.widgets._section import Section, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["DrawSection"]


class DrawSection(Section):
    """Has the buttons that turn what is drawn into cells.

    Parameters
    ----------
    session
        What is worked on.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        self._session, self._buttons = session, buttons
        super().__init__("Draw cells", "Boxes, outlines and scribbles that become cells.", is_open=False)
        self.content.addWidget(buttons["draw_boxes"])
        self.content.addLayout(row_of(buttons["draw_polygons"], buttons["scribble"]))
        self.content.addWidget(buttons["use_prompts"])
        self.refresh()

    def refresh(self) -> None:
        """Show what can be drawn now."""
        there = self._session.source is not None
        for action_id in ("draw_boxes", "draw_polygons", "scribble", "use_prompts"):
            self._buttons[action_id].setEnabled(there)
