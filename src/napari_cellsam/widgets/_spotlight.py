"""The spotlight: a frame around one cell, to which camera and sliders move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.widgets._camera import camera_of
from napari_cellsam.widgets._layers import same_layer

if TYPE_CHECKING:
    from napari.layers import Shapes

    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.widgets._session import Session

__all__ = ["Spotlight"]

_MARGIN_PX = 2.0
_COLOUR = "#ffd166"


class Spotlight:
    """Shows where a cell is, in a layer of ours that is never the active one."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer: Shapes | None = None
        session.viewer.layers.events.removed.connect(self._on_removed)

    def show(self, plane: Plane, window: tuple[int, int, int, int]) -> None:
        """Frame a window ``(y0, x0, y1, x1)`` of a plane, and move there."""
        source = self._session.source
        if source is None:
            return
        y0, x0, y1, x1 = (float(n) for n in window)
        low, high = np.array([y0, x0]) - 0.5 - _MARGIN_PX, np.array([y1, x1]) - 0.5 + _MARGIN_PX
        frame = np.array([low, [low[0], high[1]], high, [high[0], low[1]]])
        self._draw(frame, source.plane_placement)
        self._move(plane, ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2))

    def hide(self) -> None:
        """Take the frame away."""
        layer, self._layer = self._layer, None
        if layer is not None and any(same_layer(layer, there) for there in self._session.viewer.layers):
            self._session.viewer.layers.remove(layer)

    def close(self) -> None:
        """Take the frame away, and listen no more."""
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        self.hide()

    def _draw(self, frame: np.ndarray[Any, np.dtype[np.float64]], placement: dict[str, Any]) -> None:
        layers = self._session.viewer.layers
        if self._layer is not None:
            self._layer.data = [frame]
            return
        chosen, active = list(layers.selection), layers.selection.active
        self._layer = self._session.viewer.add_shapes(
            [frame],
            shape_type="rectangle",
            name="cell under review",
            edge_color=_COLOUR,
            face_color="transparent",
            edge_width=1.5,
            metadata={"napari-cellsam": {"spotlight": True}},
            **placement,
        )
        layers.selection.clear()
        layers.selection.update(chosen)
        layers.selection.active = active

    def _move(self, plane: Plane, place: tuple[float, float]) -> None:
        """Move sliders to the plane, and the camera to the place."""
        layer = self._session.target.layer
        world = np.asarray(layer.data_to_world((*plane, *place)), float)
        dims = self._session.viewer.dims
        offset = dims.ndim - len(world)
        for axis in range(len(plane)):
            dims.set_point(axis + offset, float(world[axis]))
        camera = camera_of(self._session.viewer)
        camera.center = (*tuple(camera.center)[:-2], float(world[-2]), float(world[-1]))

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and same_layer(event.value, self._layer):
            self._layer = None
