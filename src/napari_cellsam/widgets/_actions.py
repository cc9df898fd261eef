"""The actions: everything a user can do, once, for buttons, keys, the command palette and the docs."""

from __future__ import annotations

from napari_cellsam.widgets._action import ActionSpec, run_action
from napari_cellsam.widgets._cell_actions import CELL_ACTIONS
from napari_cellsam.widgets._find_actions import FIND_ACTIONS
from napari_cellsam.widgets._review_actions import REVIEW_ACTIONS
from napari_cellsam.widgets._training_actions import TRAINING_ACTIONS

__all__ = ["ACTIONS", "ActionSpec", "find_action", "run_action"]

ACTIONS = (*FIND_ACTIONS, *CELL_ACTIONS, *REVIEW_ACTIONS, *TRAINING_ACTIONS)
"""All of them, in the order in which they are shown."""


def find_action(action_id: str) -> ActionSpec:
    """Return the action of an id."""
    return next(action for action in ACTIONS if action.id == action_id)
