"""The layer that prompts are drawn in: tells which shapes are finished, and lets go of those that have become cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.widgets._layers import same_layer
from napari_cellsam.widgets._line_width import line_width
from napari_cellsam.widgets._mouse import keys_held

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes
    from numpy.typing import NDArray

    from napari_cellsam.widgets._source import ImageSource

__all__ = ["DrawingLayer", "Shape"]

_MARK = "napari-cellsam"
_COLOUR, _FACE = "#06d6a0", "#06d6a022"
_OUTSIDE_BUTTON = 2


@dataclass(frozen=True, eq=False)
class Shape:
    """A shape that is finished.

    Attributes
    ----------
    number
        Its own, for as long as it is there.
    kind
        As napari calls it.
    corners_yx
        ``(N, 2)`` corners ``(y, x)``, in pixels of the picture.
    outside
        Whether it was begun with Shift or the right button.
    """

    number: int
    kind: str
    corners_yx: NDArray[np.float64]
    outside: bool


class DrawingLayer:
    """A shapes layer of ours.

    napari tells of a shape that is begun (``"adding"``) and of its end (``"added"``); in between nothing is read, and
    nothing removed, as that would end the drawing. A shape is given up when the tool or the layer is changed meanwhile.
    ``finished`` is emitted when shapes are there to be read; ``left`` when the layer has no drawing tool any more, or
    is not the active one; ``gone`` when the user removed it.

    Parameters
    ----------
    viewer
        Where the layer is.
    """

    finished = Signal()
    left = Signal()
    gone = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._image_id: object = None
        self._begun = self._quiet = self._given_up = False
        self._n_before = 0  # shapes, when the one that is being drawn was begun
        self._outside: bool | None = None  # of the shape that is being drawn
        self._next = 0
        self._flags: dict[int, bool] = {}
        self._done: set[int] = set()
        self._later = QTimer()  # napari tells of a shape while it still draws it
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self._read)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)

    @property
    def there(self) -> bool:
        """Whether the layer is there."""
        return self._layer is not None

    @property
    def active(self) -> bool:
        """Whether it is the active layer."""
        active = self._viewer.layers.selection.active
        return self._layer is not None and active is not None and same_layer(active, self._layer)

    def belongs_to(self, source: ImageSource) -> bool:
        """Return whether it is the layer for an image."""
        return self._layer is not None and self._image_id == source.layer.unique_id

    def open(self, source: ImageSource, mode: str) -> None:
        """Make the layer for an image the active one, with a drawing tool.

        Parameters
        ----------
        source
            The image.
        mode
            Of the layer, as napari calls it.
        """
        if not self.belongs_to(source):
            self.remove()
            self._add(source)
        layer = self._layer
        if layer is not None:
            if not self.active:
                self._viewer.layers.selection.active = layer
            layer.visible = True
            layer.mode = mode
            layer.current_edge_width = line_width(self._viewer, source)

    def shapes(self) -> list[Shape]:
        """Return the shapes that are finished."""
        layer = self._layer
        if layer is None or self._begun:
            return []
        self._number(layer)
        return [
            Shape(number, str(kind), np.asarray(corners, np.float64)[:, -2:], self._flags.get(number, False))
            for number, kind, corners in zip(_numbers(layer), layer.shape_type, layer.data, strict=True)
        ]

    def drop(self, numbers: Collection[int]) -> None:
        """Let shapes vanish, as soon as none is being drawn."""
        self._done.update(numbers)
        self._sweep()

    def remove(self) -> None:
        """Remove the layer."""
        layer = self._let_go()
        if layer is not None and any(same_layer(layer, there) for there in self._viewer.layers):
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Remove the layer, and listen no more."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self.remove()
        self._later.deleteLater()

    def _add(self, source: ImageSource) -> None:
        self._layer = layer = self._viewer.add_shapes(
            ndim=2,
            name=f"{source.layer.name} prompts",
            metadata={_MARK: {"prompts_of": str(source.layer.unique_id)}},
            features={"number": np.zeros(0, int)},
            **source.plane_placement,
        )
        self._image_id = source.layer.unique_id
        layer.feature_defaults = {"number": -1}
        layer.current_edge_color, layer.current_face_color = _COLOUR, _FACE
        layer.events.data.connect(self._on_data)
        layer.events.mode.connect(self._on_mode)
        layer.mouse_drag_callbacks.append(self._on_drag)

    def _let_go(self) -> Shapes | None:
        layer, self._layer = self._layer, None
        self._later.stop()
        self._begun, self._given_up, self._outside = False, False, None
        self._flags.clear()
        self._done.clear()
        if layer is not None:
            layer.events.data.disconnect(self._on_data)
            layer.events.mode.disconnect(self._on_mode)
            if self._on_drag in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.remove(self._on_drag)
        return layer

    def _number(self, layer: Shapes) -> None:
        """Give a number to shapes that have none of their own; napari gives new ones that of a selected shape."""
        numbers = _numbers(layer)
        fresh = {n for n, number in enumerate(numbers) if number not in self._flags or number in numbers[:n]}
        if not fresh:
            return
        for place in sorted(fresh):
            numbers[place] = self._next
            self._flags[self._next] = bool(self._outside)
            self._next += 1
        self._outside = None
        layer.features = {"number": np.array(numbers)}
        layer.feature_defaults = {"number": -1}

    def _sweep(self) -> None:
        """Remove the shapes that are done with."""
        layer = self._layer
        if layer is None or self._begun or not self._done:
            return
        stale = {place for place, number in enumerate(_numbers(layer)) if number in self._done}
        for number in self._done:
            self._flags.pop(number, None)
        self._done.clear()
        if stale:
            self._quiet = True
            try:
                layer.selected_data = stale
                layer.remove_selected()
                layer.feature_defaults = {"number": -1}
            finally:
                self._quiet = False

    # --- listening

    def _on_data(self, event: Any) -> None:
        if self._quiet:
            return
        action = str(event.action)
        if action.endswith("adding"):
            self._begun, self._n_before = True, len(event.value)
        elif action.endswith("added"):
            self._begun = False
            self._later.start()

    def _on_drag(self, layer: Any, event: Any) -> Iterator[None]:
        """Note at the first press of a line whether it means what is outside."""
        if str(layer.mode) == "add_path" and self._outside is None:
            shift = "Shift" in keys_held(event)
            self._outside = shift or event.button == _OUTSIDE_BUTTON
        yield

    def _on_mode(self, event: Any = None) -> None:  # noqa: ARG002 - napari's signature
        self._outside = None
        self._given_up |= self._begun  # what is half drawn is turned by napari into something that nobody meant
        if self._layer is not None and not str(self._layer.mode).startswith("add_"):
            self.left.emit()

    def _on_active(self, event: Any = None) -> None:  # noqa: ARG002
        if self._layer is not None and not self.active:
            if self._begun:
                self._layer.mode = "pan_zoom"  # or it would wait for ever
            self.left.emit()

    def _read(self) -> None:
        if self._given_up and self._layer is not None:
            self._number(self._layer)
            self._done.update(_numbers(self._layer)[self._n_before :])
            self._given_up = False
        self._sweep()
        if self._layer is not None and not self._begun and len(self._layer.data):
            self.finished.emit()

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and same_layer(event.value, self._layer):
            self._let_go()
            self.gone.emit()


def _numbers(layer: Shapes) -> list[int]:
    """Return the numbers of shapes; one that is given up while it is drawn leaves its row in the table."""
    return [int(number) for number in layer.features["number"][: len(layer.data)]]
