"""Clicks in the picture, told from drags and from napari's own tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_cellsam.widgets._camera import camera_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["Click", "Mouse", "keys_held"]

_MOST_MOVED_PX = 3  # on the screen, between pressing and releasing
_BUTTONS = {1: "left", 2: "right"}


@dataclass(frozen=True)
class Click:
    """A button that was pressed and released in one place.

    Attributes
    ----------
    position
        In the world's coordinates, one per axis of the viewer.
    outside
        Whether the place is not part of the cell: the right button, or the left one with Shift.
    more
        Whether it belongs to the active cell, whatever is there: the left button with Control.
    """

    position: tuple[float, ...]
    outside: bool
    more: bool = False


class Mouse:
    """Listens to a viewer's mouse.

    ``clicked`` is emitted with a `Click`; ``moved`` with the position of the cursor; ``stroked`` with the positions
    along which it was dragged with the left button down.

    Parameters
    ----------
    viewer
        Whose mouse.
    wanted
        Whether clicks are meant for us now.
    strokes_wanted
        Whether drags are too; the picture does not move with them then.
    """

    clicked = Signal(object)
    moved = Signal(object)
    stroked = Signal(object)

    def __init__(
        self, viewer: ViewerModel, wanted: Callable[[], bool], strokes_wanted: Callable[[], bool] = lambda: False
    ) -> None:
        self._viewer, self._wanted, self._strokes_wanted = viewer, wanted, strokes_wanted
        viewer.mouse_drag_callbacks.append(self._on_drag)
        viewer.mouse_move_callbacks.append(self._on_move)

    def close(self) -> None:
        """Listen no more."""
        for callbacks, ours in (
            (self._viewer.mouse_drag_callbacks, self._on_drag),
            (self._viewer.mouse_move_callbacks, self._on_move),
        ):
            if ours in callbacks:
                callbacks.remove(ours)

    def _on_drag(self, viewer: Any, event: Any) -> Iterator[None]:  # noqa: ARG002 - napari's signature
        if event.button not in _BUTTONS or not self._is_free():
            return
        start = tuple(event.pos)
        position = tuple(map(float, event.position))
        held = keys_held(event)
        outside = _BUTTONS[event.button] == "right" or "Shift" in held
        stroke = [position] if self._strokes_wanted() and event.button == 1 else None
        moved, over = False, False
        with _held(self._viewer) if stroke else nullcontext():
            while not over:
                yield
                over = event.type != "mouse_move"  # the end counts too: moves just before it are left out
                moved = moved or max(abs(a - b) for a, b in zip(event.pos, start, strict=True)) > _MOST_MOVED_PX
                if moved and stroke is None:
                    return
                if stroke is not None and tuple(map(float, event.position)) != stroke[-1]:
                    stroke.append(tuple(map(float, event.position)))
        if moved and stroke is not None:
            self.stroked.emit(stroke)
        else:
            self.clicked.emit(Click(position, outside, more=not outside and "Control" in held))

    def _on_move(self, viewer: Any, event: Any) -> None:  # noqa: ARG002
        if self._is_free():
            self.moved.emit(tuple(map(float, event.position)))

    def _is_free(self) -> bool:
        """Whether no tool of napari's wants the mouse."""
        layer = self._viewer.layers.selection.active
        return self._wanted() and (layer is None or str(layer.mode) == "pan_zoom")


def keys_held(event: Any) -> set[str]:
    """Return the names of the modifiers that are held during an event of the mouse, such as ``"Shift"``."""
    return {key.name for key in event.modifiers}  # vispy's keys, which are equal to their names but no text


@contextmanager
def _held(viewer: Any) -> Iterator[None]:
    """Let the picture stay where it is while the mouse is dragged."""
    camera = camera_of(viewer)
    before = camera.mouse_pan
    camera.mouse_pan = False
    try:
        yield
    finally:
        camera.mouse_pan = before
