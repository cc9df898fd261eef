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


# the manifest names each of them
toggle_click_mode = _command("toggle_click_mode")
segment_image = _command("segment_image")
segment_view = _command("segment_view")
segment_stack = _command("segment_stack")
take_up_cell = _command("take_up_cell")
redo_cell = _command("redo_cell")
delete_cell = _command("delete_cell")
accept_cell = _command("accept_cell")
restore_cell = _command("restore_cell")
undo = _command("undo")
redo = _command("redo")
use_new_labels = _command("use_new_labels")
cancel = _command("cancel")
