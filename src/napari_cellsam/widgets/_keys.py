"""The keys of the actions, on the viewer and on our labels layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_cellsam.widgets._actions import ACTIONS, ActionSpec, run_action

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cellsam.widgets._session import Session

__all__ = ["bind_labels", "bind_viewer", "key_of", "unbind_viewer"]


def key_of(session: Session, action: ActionSpec) -> str:
    """Return the key of an action: the user's, or the default one; empty for none."""
    key: str = session.preferences.keys.get(action.id, action.key)
    return key


def bind_viewer(session: Session) -> None:
    """Bind the actions' keys on the viewer, where no layer has a use of its own for them."""
    for key, run in _bound(session):
        session.viewer.bind_key(key, run, overwrite=True)


def unbind_viewer(session: Session) -> None:
    """Give the viewer's keys back."""
    for key, _ in _bound(session):
        session.viewer.bind_key(key, None, overwrite=True)


def bind_labels(session: Session, layer: Labels) -> None:
    """Bind the keys on a labels layer, so that they come before napari's own."""
    for key, run in _bound(session):
        layer.bind_key(key, run, overwrite=True)


def _bound(session: Session) -> list[tuple[str, Callable[[Any], None]]]:
    """Return keys and what they do."""
    return [(key, _runner(session, action)) for action in ACTIONS if (key := key_of(session, action))]


def _runner(session: Session, action: ActionSpec) -> Callable[[Any], None]:
    def run(_: Any) -> None:
        run_action(session, action)

    return run
