"""The section of all actions that no other section of the dock has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.widgets._actions import ACTIONS
from napari_cellsam.widgets._cell_section import AT_CURSOR
from napari_cellsam.widgets._correct_section import CORRECTIONS
from napari_cellsam.widgets._section import Section

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons

__all__ = ["MoreSection"]

_ELSEWHERE = (*AT_CURSOR, *CORRECTIONS, "toggle_boxes", "toggle_model_view", "export_cells")
"""Those that other sections have as a key under the cursor, or as a box to tick."""


class MoreSection(Section):
    """Has a button for each action that has none yet.

    Parameters
    ----------
    buttons
        Of the actions; those that exist are in other sections.
    """

    def __init__(self, buttons: ActionButtons) -> None:
        super().__init__("More", "Everything else that can be done.", is_open=False)
        for action in ACTIONS:
            if action.id not in buttons and action.id not in _ELSEWHERE:
                self.content.addWidget(buttons[action.id])
