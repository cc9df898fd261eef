"""The layer of the detector's boxes: drawn a few at a time, and read when the user edits it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.widgets._layers import same_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Shapes
    from numpy.typing import NDArray

    from napari_cellsam.widgets._candidates import BoxYX
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["BoxEdits", "BoxLayer"]

_MARK = "napari-cellsam"
_NEW = -1  # number of a box that the user draws
_AT_ONCE = 40  # boxes drawn in a tick; napari takes some 15 ms for them
_TICK_MS = 30
_LATER_MS = 10
_MOVED_PX = 0.25
_LINE_SHARE = 0.06
_SMALLEST_PX = 2.0


@dataclass(frozen=True)
class BoxEdits:
    """What the user did to boxes: moved ones by number, drawn ones, and the numbers of deleted ones."""

    moved: dict[int, BoxYX]
    drawn: tuple[BoxYX, ...]
    deleted: tuple[int, ...]


class BoxLayer:
    """A shapes layer of ours with numbered boxes.

    ``edited`` is emitted with a `BoxEdits`; ``drawn`` when boxes were drawn or taken away; ``removed`` when the user
    removes the layer.

    Parameters
    ----------
    viewer
        Where the layer is.
    """

    edited = Signal(object)
    drawn = Signal()
    removed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._wanted: dict[int, tuple[BoxYX, float]] = {}
        self._drawn: dict[int, BoxYX] = {}
        self._writing = self._pressed = False
        self._drawing = _timer(_TICK_MS, self._draw_some)
        self._reading = _timer(_LATER_MS, self._read)  # napari tells of a shape while it still draws it
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Shapes | None:
        """The layer; None while there is none."""
        return self._layer

    @property
    def n_drawn(self) -> int:
        """Number of boxes in the layer."""
        return len(self._drawn)

    @property
    def drawing(self) -> bool:
        """Whether boxes are still to be drawn."""
        return bool(self._drawing.isActive())

    def open(self, source: ImageSource) -> None:
        """Add the layer for an image, and leave the choice of the layer to the user."""
        if self._layer is not None and self._layer.metadata[_MARK]["boxes_of"] == str(source.layer.unique_id):
            return
        self.remove()
        active = self._viewer.layers.selection.active
        self._layer = self._viewer.add_shapes(
            ndim=2,
            name=f"{source.layer.name} boxes",
            metadata={_MARK: {"boxes_of": str(source.layer.unique_id)}},
            features={"number": np.zeros(0, int)},
            **source.plane_placement,
        )
        self._layer.current_edge_color = "white"
        self._layer.current_face_color = "transparent"
        self._layer.feature_defaults = {"number": _NEW}
        self._layer.events.data.connect(self._on_data)
        self._layer.mouse_drag_callbacks.append(self._on_drag)
        self._viewer.layers.selection.active = active

    def remove(self) -> None:
        """Remove the layer."""
        layer = self._let_go()
        if layer is not None and any(same_layer(layer, there) for there in self._viewer.layers):
            self._viewer.layers.remove(layer)

    def show(self, boxes: Mapping[int, tuple[BoxYX, float]]) -> None:
        """Draw these boxes from now on, and no others.

        Parameters
        ----------
        boxes
            Box and score by number.
        """
        self._wanted = dict(boxes)
        if self._layer is not None and not self._drawing.isActive():
            self._drawing.start()

    def close(self) -> None:
        """Let go of the layer, which stays."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._let_go()
        for timer in (self._drawing, self._reading):
            timer.deleteLater()

    def _let_go(self) -> Shapes | None:
        for timer in (self._drawing, self._reading):
            timer.stop()
        layer, self._layer = self._layer, None
        if layer is not None:
            layer.events.data.disconnect(self._on_data)
            if self._on_drag in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.remove(self._on_drag)
        self._drawn, self._wanted, self._pressed = {}, {}, False
        return layer

    # --- drawing

    def _draw_some(self) -> None:
        """Remove what is not wanted, and draw a few of what is."""
        if self._layer is None or self._pressed or self._reading.isActive():
            self._drawing.start()  # the user has a box in hand
            return
        self._writing, n_before = True, len(self._drawn)
        try:
            self._drop()
            missing = [number for number in self._wanted if number not in self._drawn]
            if missing:
                self._add(missing[:_AT_ONCE])
        finally:
            self._writing = False
        if len(missing) > _AT_ONCE:
            self._drawing.start()
        if len(self._drawn) != n_before:
            self.drawn.emit()

    def _drop(self) -> None:
        """Remove the boxes that are not wanted, or not there."""
        layer = _needed(self._layer)
        numbers = _numbers(layer)
        stale = {
            place
            for place, number in enumerate(numbers)
            if number not in self._wanted
            or number in numbers[:place]
            or _differ(self._drawn.get(number), self._wanted[number][0])
        }
        if not stale:
            return
        for place in stale:
            self._drawn.pop(numbers[place], None)
        chosen = [n for place, n in enumerate(numbers) if place in layer.selected_data and place not in stale]
        layer.selected_data = stale
        layer.remove_selected()
        layer.selected_data = {place for place, number in enumerate(_numbers(layer)) if number in chosen}
        layer.feature_defaults = {"number": _NEW}

    def _add(self, numbers: list[int]) -> None:
        layer = _needed(self._layer)
        kept = _numbers(layer)
        corners = [_corners(self._wanted[number][0]) for number in numbers]
        colours = np.array([_colour(self._wanted[number][1]) for number in numbers])
        widths = [_width(self._wanted[number][0]) for number in numbers]
        layer.add(corners, shape_type="rectangle", edge_color=colours, face_color="transparent", edge_width=widths)
        layer.features = {"number": np.array([*kept, *numbers])}
        layer.feature_defaults = {"number": _NEW}
        self._drawn |= {number: self._wanted[number][0] for number in numbers}

    # --- reading

    def _on_data(self, event: Any) -> None:  # noqa: ARG002 - napari's signature
        if not self._writing:
            self._reading.start()

    def _on_drag(self, layer: Any, event: Any) -> Iterator[None]:  # noqa: ARG002
        self._pressed = True
        yield
        while event.type == "mouse_move":
            yield
        self._pressed = False

    def _read(self) -> None:
        """Tell what the user did."""
        if self._layer is None:
            return
        if self._pressed:
            self._reading.start()
            return
        seen: dict[int, BoxYX] = {}
        drawn: list[BoxYX] = []
        for number, corners in zip(_numbers(self._layer), self._layer.data, strict=False):
            box = _box(corners)
            if number in self._drawn and number not in seen:
                seen[number] = box
            elif min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST_PX:
                drawn.append(box)
        moved = {number: box for number, box in seen.items() if _differ(self._drawn[number], box)}
        deleted = tuple(number for number in self._drawn if number not in seen)
        self._drawn = seen
        if moved or drawn or deleted:
            self.edited.emit(BoxEdits(moved, tuple(drawn), deleted))

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and same_layer(event.value, self._layer):
            self._let_go()
            self.removed.emit()


def _timer(interval_ms: int, run: Any) -> QTimer:
    timer = QTimer()
    timer.setSingleShot(True)
    timer.setInterval(interval_ms)
    timer.timeout.connect(run)
    return timer


def _needed(layer: Shapes | None) -> Shapes:
    assert layer is not None  # noqa: S101 - checked by the callers
    return layer


def _numbers(layer: Layer) -> list[int]:
    return [int(number) for number in layer.features["number"]]


def _corners(box: BoxYX) -> NDArray[np.float64]:
    """Return the corners of the rectangle around the pixels of a box."""
    y0, x0, y1, x1 = box[0] - 0.5, box[1] - 0.5, box[2] + 0.5, box[3] + 0.5
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])


def _width(box: BoxYX) -> float:
    """Return the width of a box's line, in pixels, so that it is seen when cells are."""
    return max(_LINE_SHARE * min(box[2] - box[0], box[3] - box[1]), 0.5)


def _box(corners: NDArray[np.float64]) -> BoxYX:
    """Return the box of a shape, turned or not."""
    (y0, x0), (y1, x1) = corners[:, -2:].min(0), corners[:, -2:].max(0)
    return float(y0) + 0.5, float(x0) + 0.5, float(y1) - 0.5, float(x1) - 0.5


def _differ(one: BoxYX | None, other: BoxYX) -> bool:
    return one is None or max(abs(a - b) for a, b in zip(one, other, strict=True)) > _MOVED_PX


def _colour(score: float) -> tuple[float, float, float, float]:
    """Return red for no score, green for the highest."""
    return 1.0 - score, score, 0.25, 1.0
