"""The buttons of the actions, each with its key beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QSizePolicy

from napari_cellsam.widgets._actions import ActionSpec, find_action, run_action

if TYPE_CHECKING:
    from napari_cellsam.widgets._keys import Keys
    from napari_cellsam.widgets._session import Session

__all__ = ["ActionButtons"]


class ActionButtons:
    """Makes the buttons of a dock's sections, one an action, and keeps what is written on them.

    Parameters
    ----------
    session
        What the actions are done to.
    keys
        Which keys they have.
    """

    def __init__(self, session: Session, keys: Keys) -> None:
        self._session, self._keys = session, keys
        self._buttons: dict[str, QPushButton] = {}
        keys.changed.connect(self._write)

    def __contains__(self, action_id: str) -> bool:
        return action_id in self._buttons

    def __getitem__(self, action_id: str) -> QPushButton:
        """Return the button of an action; it is made when it is asked for first."""
        if action_id not in self._buttons:
            self._buttons[action_id] = self._make(find_action(action_id))
        return self._buttons[action_id]

    def help(self, action_id: str) -> str:
        """Return an action and its key, for a text."""
        action = find_action(action_id)
        return f"<b>{self._keys.text(action) or 'no key'}</b> {action.title}"

    def key(self, action_id: str) -> str:
        """Return the key of an action, as it is written on this machine; empty for none."""
        return self._keys.text(find_action(action_id))

    def set_tooltip(self, action_id: str, more: str) -> None:
        """Say more than the action itself says."""
        self[action_id].setToolTip(f"{find_action(action_id).tooltip} {more}".strip())

    def _make(self, action: ActionSpec) -> QPushButton:
        button = QPushButton(self._text(action))
        button.setToolTip(action.tooltip)
        button.setObjectName(action.id)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        button.clicked.connect(lambda: run_action(self._session, action))
        return button

    def _text(self, action: ActionSpec) -> str:
        key = self._keys.text(action)
        return f"{action.title}  [{key}]" if key else action.title

    def _write(self) -> None:
        for action_id, button in self._buttons.items():
            button.setText(self._text(find_action(action_id)))
