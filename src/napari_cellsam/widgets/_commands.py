"""The commands of the manifest: each action, for napari's palette and menus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_cellsam.widgets._actions import ACTIONS, find_action, run_action
from napari_cellsam.widgets._sessions import session_of

if TYPE_CHECKING:
    import napari.viewer

__all__ = [action.id for action in ACTIONS]

_PLUGIN, _DOCK = "napari-cellsam", "Segment cells"


def _command(action_id: str) -> Callable[[napari.viewer.Viewer], None]:
    """Return the function of an action; it opens the dock, where the answer is told."""

    def run(viewer: napari.viewer.Viewer) -> None:
        viewer.window.add_plugin_dock_widget(_PLUGIN, _DOCK)
        run_action(session_of(viewer), find_action(action_id))

    run.__name__ = run.__qualname__ = action_id
    run.__doc__ = find_action(action_id).tooltip
    return run


globals().update({action.id: _command(action.id) for action in ACTIONS})  # the manifest names each of them
