"""The history: what the user did, one step per action, to be undone and done again."""

from __future__ import annotations

from collections import deque

from psygnal import Signal

from napari_cellsam.editing.actions import Action
from napari_cellsam.errors import OptionError

__all__ = ["History"]


class History:
    """Actions that can be undone, and those that can be done again.

    There is no limit to their number, only to their memory: the oldest go first. ``changed`` is emitted whenever what
    can be undone or redone changes.

    Parameters
    ----------
    budget_bytes
        Memory for all of them; the newest one is always kept.
    """

    changed = Signal()

    def __init__(self, budget_bytes: int = 256 * 2**20) -> None:
        if budget_bytes < 1:
            raise OptionError(f"got {budget_bytes} bytes for the history; expected at least 1")
        self._budget = budget_bytes
        self._done: deque[Action] = deque()
        self._undone: list[Action] = []
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self._done)

    @property
    def undo_title(self) -> str | None:
        """What `undo` would take back; None if there is nothing."""
        return self._done[-1].title if self._done else None

    @property
    def redo_title(self) -> str | None:
        """What `redo` would do again; None if there is nothing."""
        return self._undone[-1].title if self._undone else None

    @property
    def undo_group(self) -> object | None:
        """Group of what `undo` would take back."""
        return self._done[-1].group if self._done else None

    @property
    def redo_group(self) -> object | None:
        """Group of what `redo` would do again."""
        return self._undone[-1].group if self._undone else None

    @property
    def n_bytes(self) -> int:
        """Memory that the actions hold."""
        return self._n_bytes

    def push(self, action: Action) -> None:
        """Take in an action that was done; what was undone before it can no longer be redone.

        An action joins the earlier one of its group, also when others were done in between; unless that one was undone.
        """
        self._drop_undone()
        at = self._find(action.group)
        if at is None:
            self._done.append(action)
            self._n_bytes += action.n_bytes
        else:
            self._done[at] = self._done[at].then(action)
            self._n_bytes += action.n_bytes - Action(action.title).n_bytes  # counts what is new, not all of it again
        while self._n_bytes > self._budget and len(self._done) > 1:
            self._n_bytes -= self._done.popleft().n_bytes
        self.changed.emit()

    def undo(self) -> Action | None:
        """Return what takes the newest action back, to be applied; None if there is nothing to undo."""
        if not self._done:
            return None
        action = self._done.pop()
        self._undone.append(action)
        self.changed.emit()
        return action.inverse()

    def redo(self) -> Action | None:
        """Return the action that was undone last, to be applied; None if there is nothing to redo."""
        if not self._undone:
            return None
        action = self._undone.pop()
        self._done.append(action)
        self.changed.emit()
        return action

    def clear(self) -> None:
        """Forget everything."""
        self._done.clear()
        self._undone.clear()
        self._n_bytes = 0
        self.changed.emit()

    def _find(self, group: object | None) -> int | None:
        """Return where the action of a group is."""
        if group is None:
            return None
        return next((i for i in range(len(self._done) - 1, -1, -1) if self._done[i].group is group), None)

    def _drop_undone(self) -> None:
        self._n_bytes -= sum(action.n_bytes for action in self._undone)
        self._undone.clear()
