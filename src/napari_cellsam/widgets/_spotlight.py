"""The spotlight: a frame around one cell, to which camera and sliders move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.widgets._camera import camera_of
from napari_cellsam.widgets._frames import Frames
from napari_cellsam.widgets._placement import viewer_position

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
