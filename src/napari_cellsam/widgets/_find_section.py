"""The section in which cells are found: by clicks, in the image, in the view, in a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.widgets._choice import Choice
from napari_cellsam.widgets._section import Section, form_of, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._preferences import Rule
    from napari_cellsam.widgets._session import Session

__all__ = ["FindSection"]

_RULES: dict[Rule, str] = {
    "fill": "Fill the gaps",
    "replace": "Replace automatic",
    "new": "New layer",
}
_SEARCHES = (
    *("toggle_click_mode", "toggle_hover", "segment_image", "segment_view"),
    *("segment_region", "segment_shape", "segment_stack"),
)


class FindSection(Section):
    """Has the buttons that find cells, and what happens to those that are there.

    Parameters
    ----------
    session
        What is worked on.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        self._session, self._buttons = session, buttons
        self.rule = Choice(
            "What an automatic run does to cells that are there: keep all and fill the gaps, replace those that nobody "
            "touched, or leave their layer as it is and add another one.",
            _RULES.items(),
        )
        super().__init__("Find cells", "Outline cells one by one, or all at once.")
        for action_id in ("toggle_click_mode", "toggle_hover"):
            buttons[action_id].setCheckable(True)
        for action_id in _SEARCHES:
            self.content.addWidget(buttons[action_id])
        self.rule.activated.connect(self._on_rule)
        self.content.addLayout(form_of(("Existing cells", self.rule)))
        self.content.addLayout(row_of(buttons["undo"], buttons["redo"]))
        self.refresh()

    def refresh(self) -> None:
        """Show what can be done now."""
        session, buttons = self._session, self._buttons
        source = session.source
        for action_id in _SEARCHES:
            buttons[action_id].setEnabled(source is not None)
        buttons["toggle_click_mode"].setChecked(session.clicking)
        buttons["toggle_hover"].setChecked(session.hover.on)
        buttons["segment_stack"].setVisible(source is not None and len(source.shape) > 2)
        self.rule.show_value(session.rule)
        history = session.history if session.has_target else None
        titles = (None, None) if history is None else (history.undo_title, history.redo_title)
        for action_id, title in zip(("undo", "redo"), titles, strict=True):
            buttons[action_id].setEnabled(title is not None)
            buttons.set_tooltip(action_id, f"Now: {title or 'nothing'}.")

    def _on_rule(self) -> None:
        self._session.rule = self.rule.value
        self._session.prefer(rule=self.rule.value)
