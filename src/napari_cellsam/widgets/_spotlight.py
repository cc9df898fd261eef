"""The spotlight: a frame around one cell, to which camera and sliders move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.widgets._camera import camera_of
from napari_cellsam.widgets._frames import Frames
from napari_cellsam.widgets._placement import viewer_position

if TYPE_CHECKING:
    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.widgets._session import Session

__all__ = ["Spotlight"]

_COLOUR = "#ffd166"
_LEAST_PX, _ENOUGH_PX = 24.0, 64.0  # on the screen: a cell that can be judged, and how large one that cannot is made


class Spotlight:
    """Shows where a cell is.

    The first cell is magnified if it is too small on the screen to be judged; from then on, the user's zoom stays.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lit = False
        self._frames = Frames(session, "cell under review", _COLOUR, "spotlight")

    def show(self, plane: Plane, window: tuple[int, int, int, int]) -> None:
        """Frame a window ``(y0, x0, y1, x1)`` of a plane, and move there."""
        if self._session.source is None:
            return
        y0, x0, y1, x1 = window
        self._frames.show([(slice(y0, y1), slice(x0, x1))])
        self._move(plane, ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2))
        if not self._lit:
            self._magnify(window)
        self._lit = True

    def hide(self) -> None:
        """Take the frame away."""
        self._lit = False
        self._frames.hide()

    def close(self) -> None:
        """Take the frame away, and listen no more."""
        self._frames.close()

    def _move(self, plane: Plane, place: tuple[float, float]) -> None:
        """Move sliders to the plane, and the camera to the place."""
        viewer, source = self._session.viewer, self._session.source
        if source is None:
            return
        at = source.to_data(viewer.dims.point)
        for axis, index in enumerate(plane, start=source.axes.ndim - len(source.shape)):
            if axis != source.axes.channel_axis:  # the channel that is shown stays
                at[axis] = index
        at[-2:] = place
        world = viewer_position(viewer, source.layer, at.tolist()).tolist()
        for axis, there in enumerate(world[:-2]):
            viewer.dims.set_point(axis, there)
        camera = camera_of(viewer)
        camera.center = (*tuple(camera.center)[:-2], *world[-2:])

    def _magnify(self, window: tuple[int, int, int, int]) -> None:
        """Zoom in on a cell that is too small on the screen."""
        viewer, source = self._session.viewer, self._session.source
        if source is None:
            return
        y0, x0, y1, x1 = window
        at = source.to_data(viewer.dims.point)
        first, last = (
            viewer_position(viewer, source.layer, [*at[:-2].tolist(), y, x])[-2:] for y, x in ((y0, x0), (y1, x1))
        )
        camera = camera_of(viewer)
        on_screen = float(np.hypot(*(last - first)) / np.sqrt(2)) * camera.zoom
        if 0 < on_screen < _LEAST_PX:
            camera.zoom *= _ENOUGH_PX / on_screen
