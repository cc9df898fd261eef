"""The sessions of all viewers of this process, one each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_cellsam.widgets._session import Session

__all__ = ["session_of"]

_sessions: dict[int, Session] = {}


def session_of(viewer: ViewerModel) -> Session:
    """Return the session of a viewer; it begins with the first call, and ends with the viewer's window."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # napari hands a proxy to plugins
    key = id(viewer)
    if key not in _sessions:
        _sessions[key] = _begin(viewer)
        _sessions[key].closed.connect(lambda: _sessions.pop(key, None))
    return _sessions[key]


def _begin(viewer: Any) -> Session:
    from napari_cellsam.widgets._connection import Connection
    from napari_cellsam.widgets._jobs import Jobs
    from napari_cellsam.widgets._preferences import PreferenceStore
    from napari_cellsam.widgets._session import Session

    store = PreferenceStore()
    return Session(viewer, Jobs(), Connection(Jobs(), store), store)
