"""Frames: rectangles around cells in a layer of ours, which is never the active one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.widgets._layers import same_layer

if TYPE_CHECKING:
    from napari.layers import Shapes

    from napari_cellsam.widgets._extent import Window
    from napari_cellsam.widgets._session import Session

__all__ = ["Frames"]

_MARGIN_PX = 2.0


class Frames:
    """Draws rectangles around windows of the plane that is shown.

    Parameters
    ----------
    session
        What is worked on.
    name
        Of the layer.
    colour
        Of the rectangles.
    mark
        Under which the layer's metadata say that it is ours.
    """

    def __init__(self, session: Session, name: str, colour: str, mark: str) -> None:
        self._session, self._name, self._colour, self._mark = session, name, colour, mark
        self._layer: Shapes | None = None
        session.viewer.layers.events.removed.connect(self._on_removed)

    def show(self, windows: Sequence[Window]) -> None:
        """Draw these frames and no others."""
        source = self._session.source
        if source is None or not windows:
            self.hide()
            return
        frames = [_frame(window) for window in windows]
        if self._layer is not None:
            self._layer.data = frames
            return
        layers = self._session.viewer.layers
        chosen, active = list(layers.selection), layers.selection.active
        self._layer = self._session.viewer.add_shapes(
            frames,
            shape_type="rectangle",
            name=self._name,
            edge_color=self._colour,
            face_color="transparent",
            edge_width=1.5,
            metadata={"napari-cellsam": {self._mark: True}},
            **source.plane_placement,
        )
        layers.selection.clear()
        layers.selection.update(chosen)
        layers.selection.active = active

    def hide(self) -> None:
        """Take the layer away."""
        layer, self._layer = self._layer, None
        if layer is not None and any(same_layer(layer, there) for there in self._session.viewer.layers):
            self._session.viewer.layers.remove(layer)

    def close(self) -> None:
        """Take the layer away, and listen no more."""
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        self.hide()

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and same_layer(event.value, self._layer):
            self._layer = None


def _frame(window: Window) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the corners of a rectangle that leaves a cell some room."""
    low = np.array([part.start for part in window]) - 0.5 - _MARGIN_PX
    high = np.array([part.stop for part in window]) - 0.5 + _MARGIN_PX
    return np.array([low, [low[0], high[1]], high, [high[0], low[1]]])
