"""The section of the corrections: what can be done with the cell under the cursor, and with which key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.widgets._section import Section, line, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["CORRECTIONS", "CorrectSection"]

CORRECTIONS = (
    *("select_cell", "merge_cells", "split_cell", "grow_cell", "shrink_cell", "fill_holes"),
    *("smooth_cell", "keep_largest_piece", "renumber_cell", "swap_numbers"),
)
"""Actions on the cell under the cursor, for which a key is needed."""


class CorrectSection(Section):
    """Tells the keys of the corrections, and what waits for its second place.

    Parameters
    ----------
    session
        What is worked on.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        self._session, self._buttons = session, buttons
        self.keys, self.begun = line(), line()
        super().__init__("Correct cells", "Keys that change the cell under the cursor.", is_open=False)
        self.content.addWidget(self.keys)
        self.content.addWidget(self.begun)
        self.content.addLayout(row_of(buttons["select_in_region"], buttons["clear_region"]))
        self.refresh()

    def refresh(self) -> None:
        """Show the keys as they are now."""
        rows = [self._buttons.help(action_id) for action_id in CORRECTIONS]
        self.keys.setText("With the cursor on a cell:<br>" + "<br>".join(rows))
        begun = self._session.correcting.begun
        self.begun.setVisible(begun is not None)
        if begun is not None:
            self.begun.setText(f"{begun.kind.capitalize()}: cell {begun.label} waits for the second place.")
        for action_id in ("select_in_region", "clear_region"):
            self._buttons[action_id].setEnabled(self._session.has_target)
