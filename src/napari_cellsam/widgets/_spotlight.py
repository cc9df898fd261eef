"""The spotlight: a frame around one cell, to which camera and sliders move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.widgets._camera import camera_of
from napari_cellsam.widgets._frames import Frames

if TYPE_CHECKING:
    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.widgets._session import Session

__all__ = ["Spotlight"]

_COLOUR = "#ffd166"


class Spotlight:
    """Shows where a cell is."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._frames = Frames(session, "cell under review", _COLOUR, "spotlight")

    def show(self, plane: Plane, window: tuple[int, int, int, int]) -> None:
        """Frame a window ``(y0, x0, y1, x1)`` of a plane, and move there."""
        if self._session.source is None:
            return
        y0, x0, y1, x1 = window
        self._frames.show([(slice(y0, y1), slice(x0, x1))])
        self._move(plane, ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2))

    def hide(self) -> None:
        """Take the frame away."""
        self._frames.hide()

    def close(self) -> None:
        """Take the frame away, and listen no more."""
        self._frames.close()

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
