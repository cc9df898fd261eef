"""The keys of the actions, on the viewer and on the labels layers that are written into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtGui import QKeySequence

from napari_cellsam.widgets._actions import ACTIONS, ActionSpec, run_action
from napari_cellsam.widgets._layers import same_layer

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cellsam.widgets._session import Session

__all__ = ["Keys", "resolve_keys"]

_HISTORY = ("undo", "redo")


@dataclass(frozen=True, eq=False)
class _Binding:
    """A key of the viewer's, or a layer's, that is ours for a while."""

    owner: Any
    key: str
    ours: Callable[[Any], None]
    before: Any

    def release(self) -> None:
        """Give the key back, unless someone else has taken it meanwhile."""
        if self.owner.keymap.get(_code(self.key)) is self.ours:
            self.owner.bind_key(self.key, self.before, overwrite=True)


class Keys:
    """Binds the keys of the actions while it is open, and binds them anew when the user chooses others.

    The viewer's bindings serve wherever no layer has a use of its own for a key; those of a labels layer that is
    written into come before napari's own, but for those that end a polygon while it is drawn. ``changed`` is emitted
    when an action has got another key.

    Parameters
    ----------
    session
        Whose actions, viewer and preferences.
    actions
        What can be done.
    """

    changed = Signal()

    def __init__(self, session: Session, actions: Sequence[ActionSpec] = ACTIONS) -> None:
        self._session, self._actions = session, actions
        self._bindings: list[_Binding] = []
        self._layers: list[Labels] = []
        self._by_action: dict[str, str] = {}
        session.labels_used.connect(self._on_labels)
        session.store.changed.connect(self._on_preferences)
        session.viewer.layers.events.removed.connect(self._on_removed)
        self._choose()
        self._bind(session.viewer)
        if session.has_target:
            self._on_labels(session.target.layer)

    def text(self, action: ActionSpec) -> str:
        """Return the key of an action as it is written on this machine; empty for none."""
        key = self._by_action.get(action.id, "")
        return str(QKeySequence(_name(key)).toString(QKeySequence.SequenceFormat.NativeText)) if key else ""

    def close(self) -> None:
        """Give all keys back."""
        self._session.labels_used.disconnect(self._on_labels)
        self._session.store.changed.disconnect(self._on_preferences)
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        self._release()
        self._layers.clear()

    def _choose(self) -> None:
        """Find out which action has which key; what is refused is told."""
        chosen = self._session.preferences.keys
        self._by_action, told = resolve_keys(self._actions, chosen, self._by_action)
        for text in (*told, *self._shadowed()):
            self._session.say(text, "warning")

    def _shadowed(self) -> list[str]:
        """Return what the user should know of keys that do something else while an image is active."""
        from napari.layers import Image

        return [
            f"{action.title} has the key {key}, which napari uses in image layers; there it will not work."
            for action in self._actions
            if (key := self._by_action[action.id]) != action.key and key and _code(key) in Image.class_keymap
        ]

    def _bind(self, owner: Any) -> None:
        for action in self._actions:
            key = self._by_action[action.id]
            if key:
                ours = self._runner(action, key)
                self._bindings.append(_Binding(owner, key, ours, owner.keymap.get(_code(key))))
                owner.bind_key(key, ours, overwrite=True)

    def _release(self) -> None:
        for binding in reversed(self._bindings):
            binding.release()
        self._bindings.clear()

    def _on_labels(self, layer: Labels) -> None:
        if not any(same_layer(layer, bound) for bound in self._layers):
            self._layers.append(layer)
            self._bind(layer)

    def _on_preferences(self, preferences: object) -> None:  # noqa: ARG002 - the session has them
        before = dict(self._by_action)
        self._choose()
        if self._by_action != before:
            self._release()
            for owner in (self._session.viewer, *self._layers):
                self._bind(owner)
            self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        """Give a layer that was removed its keys back."""
        gone = [binding for binding in self._bindings if _is_layer(binding.owner, event.value)]
        for binding in reversed(gone):
            binding.release()
            self._bindings.remove(binding)
        self._layers = [layer for layer in self._layers if not same_layer(layer, event.value)]

    def _runner(self, action: ActionSpec, key: str) -> Callable[[Any], None]:
        session = self._session

        def run(owner: Any) -> None:
            naparis = None if action.id in _HISTORY else _polygons_own(owner, key)
            if naparis is not None:
                naparis(owner)
            elif action.id in _HISTORY and not self._is_ours_active():
                session.say(f"{action.title} is for cells; choose the image or the layer of the cells for it.")
            else:
                run_action(session, action)

        return run

    def _is_ours_active(self) -> bool:
        """Whether the active layer is a picture, or one that is written into: of others we undo nothing."""
        from napari.layers import Image

        active = self._session.viewer.layers.selection.active
        if active is None or isinstance(active, Image) or "napari-cellsam" in active.metadata:
            return True
        return any(same_layer(active, layer) for layer in self._layers)


def resolve_keys(
    actions: Sequence[ActionSpec], chosen: Mapping[str, str], before: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the key of each action, and what is refused: a key belongs to one action.

    An action keeps its key against one that comes to want it; the latter then keeps its own.

    Parameters
    ----------
    actions
        What can be done.
    chosen
        Keys by action, where the user has chosen one; empty for none.
    before
        Keys by action so far; empty at first.
    """
    wanted = {action.id: chosen.get(action.id, action.key) for action in actions}
    so_far = {action.id: before.get(action.id, action.key) for action in actions}
    titles = {action.id: action.title for action in actions}
    owners: dict[str, str] = {}
    keys, told = dict.fromkeys(titles, ""), []
    for name in sorted(titles, key=lambda name: wanted[name] != so_far[name]):  # those that stay come first
        for key in dict.fromkeys((wanted[name], so_far[name])):
            if key and _name(key) in owners:
                continue
            keys[name] = key
            if key:
                owners[_name(key)] = name
            break
        if keys[name] != wanted[name]:
            instead = f"keeps {keys[name]}" if keys[name] else "has no key"
            taken_by = titles[owners[_name(wanted[name])]]
            told.append(f"{wanted[name]} is the key of {taken_by} already; {titles[name]} {instead}.")
    return keys, told


def _polygons_own(owner: Any, key: str) -> Callable[[Any], None] | None:
    """Return what napari does on a key while a polygon is drawn into a labels layer; None if there is nothing."""
    if str(getattr(owner, "mode", "")) != "polygon":
        return None
    own: Callable[[Any], None] | None = owner.class_keymap.get(_code(key))
    return own


def _code(key: str) -> Any:
    """Return a key as napari's keymaps have it."""
    from napari.utils.key_bindings import coerce_keybinding

    return coerce_keybinding(key)


def _name(key: str) -> str:
    """Return what all ways to write a key have in common."""
    return str(_code(key))


def _is_layer(owner: Any, layer: Any) -> bool:
    return hasattr(owner, "unique_id") and same_layer(owner, layer)
