"""The drawing of a region: a shape in the picture, in which cells are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.errors import CellsamError, ImageShapeError
from napari_cellsam.widgets._layers import same_layer
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._own_prompts import on_plane
from napari_cellsam.widgets._search_region import Region

if TYPE_CHECKING:
    from napari.layers import Layer, Shapes
    from numpy.typing import NDArray

    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["RegionDrawing"]

_MARK = "napari-cellsam"
_ENCLOSING = ("rectangle", "ellipse", "polygon")
_ELLIPSE_CORNERS = 64
_LINE = {"edge_color": "#ffd166", "face_color": "#ffd16622"}


class RegionDrawing:
    """Lets the user draw where cells are found, or takes a shape that is there.

    ``changed`` is emitted when drawing begins or ends.

    Parameters
    ----------
    session
        What is looked at.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer: Shapes | None = None
        self._before: Layer | None = None  # the layer that was active
        self._drawing = False
        self._then: Callable[[Region], None] | None = None
        self._later = QTimer()  # napari tells of a shape while it still draws it
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self._finished)
        session.viewer.layers.events.removed.connect(self._on_removed)
        session.changed.connect(self._follow)

    @property
    def drawing(self) -> bool:
        """Whether a shape is awaited."""
        return self._drawing

    def draw(self, *, freehand: bool = True, then: Callable[[Region], None] | None = None) -> None:
        """Let the user draw a shape; the automatic run starts for it when it is finished.

        Parameters
        ----------
        freehand
            Whether it is drawn in one stroke; corner by corner otherwise.
        then
            What is done with the region instead.

        Raises
        ------
        NoImageError, ImageShapeError
            If there is no image, or the window shows no plane of it.
        """
        source = _needed(self._session)
        source.plane  # noqa: B018 - refuses what cannot be searched
        layers = self._session.viewer.layers
        active = layers.selection.active
        layer = self._open(source)
        if active is not None and not same_layer(active, layer):
            self._before = active
        layer.data = []
        layers.selection.active = layer
        layer.mode = "add_polygon_lasso" if freehand else "add_polygon"
        self._drawing, self._then = True, then
        how = "Draw around it in one stroke" if freehand else "Click corner by corner, Enter ends"
        self._session.say(f"{how}; the cells inside are found then." if then is None else f"{how}.")
        self.changed.emit()

    def stop(self) -> None:
        """Await no shape any more."""
        if not self._drawing:
            return
        self._drawing = False
        if self._layer is not None:
            self._layer.mode = "pan_zoom"
        layers = self._session.viewer.layers
        if self._before is not None and any(same_layer(self._before, layer) for layer in layers):
            layers.selection.active = self._before
        self._before = None
        self.changed.emit()

    def use_active_shape(self) -> None:
        """Find the cells inside the shapes that are selected in the active layer, which stays as it is.

        Raises
        ------
        NoImageError, ImageShapeError
            If there is no image, no such shape, or it lies beyond the image.
        """
        from napari.layers import Shapes

        layers = self._session.viewer.layers
        layer = layers.selection.active
        _needed(self._session)
        if not isinstance(layer, Shapes) or len(layer.data) == 0:
            raise ImageShapeError(
                "The active layer has no shapes. Make a shapes layer with a polygon, rectangle or ellipse active, and "
                "select the shape."
            )
        self._then = None
        numbers = sorted(layer.selected_data) or ([0] if len(layer.data) == 1 else [])
        if not numbers:
            raise ImageShapeError(
                f"None of the {len(layer.data)} shapes of layer {layer.name!r} is selected; select those to search in."
            )
        self._run([self._in_plane(layer, corners) for corners in _outlines(layer, numbers)])
        layers.selection.active = layer  # also if a layer for the cells was added

    def close(self) -> None:
        """Listen no more; the layer stays."""
        self._session.changed.disconnect(self._follow)
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        self._forget()
        self._later.stop()
        self._later.deleteLater()

    def _open(self, source: ImageSource) -> Shapes:
        """Return our layer for the image; it is added if there is none."""
        if self._layer is not None and _belongs(self._layer, source):
            return self._layer
        self._forget()
        viewer = self._session.viewer
        ours = next((layer for layer in viewer.layers if _belongs(layer, source)), None)
        if ours is None:
            mark = {_MARK: {"region_of": str(source.layer.unique_id)}}
            name, placement = f"{source.layer.name} region", source.plane_placement
            ours = viewer.add_shapes(ndim=2, name=name, metadata=mark, **placement)
        for name, value in _LINE.items():
            setattr(ours, f"current_{name}", value)
        ours.events.data.connect(self._on_data)
        self._layer = ours
        return ours

    def _on_data(self, event: Any) -> None:
        if self._drawing and len(event.value) > 0:
            self._later.start()

    def _finished(self) -> None:
        """Search the shape that was drawn."""
        if not self._drawing or self._layer is None or len(self._layer.data) == 0:
            return
        corners = np.asarray(self._layer.data[-1], np.float64)[:, -2:]
        if len(corners) < 3 or not np.ptp(corners, axis=0).all():
            return  # has only been begun
        self.stop()
        try:
            self._run([corners])
        except CellsamError as error:
            self._session.say(str(error), "warning")

    def _run(self, polygons: list[NDArray[np.float64]]) -> None:
        session = self._session
        height, width = _needed(session).shape[-2:]
        region, then, self._then = Region.around(polygons, (height, width)), self._then, None
        if then is None:
            session.automatic.run(region=region, rule=session.rule)
        else:
            then(region)

    def _in_plane(self, layer: Shapes, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the pixels of the image at the corners of a shape; the axes that the shape lacks are those shown."""
        there = on_plane(self._session, _needed(self._session), layer, corners)
        if len(there) < len(corners):
            raise ImageShapeError(
                f"A selected shape of layer {layer.name!r} lies in another plane than the one shown; move there first."
            )
        return there

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and same_layer(event.value, self._layer):
            self._layer = None
            self.stop()

    def _follow(self) -> None:
        """Await no shape any more when another image is worked on: what is drawn lies in the pixels of the first."""
        source = self._session.source
        if not self._drawing or source is None or self._layer is None or _belongs(self._layer, source):
            return
        self._before = None  # the user has gone elsewhere
        self.stop()
        self._session.say("No region is drawn any more, as another image is worked on; begin anew there.", "warning")

    def _forget(self) -> None:
        if self._layer is not None:
            self._layer.events.data.disconnect(self._on_data)
        self._layer = None


def _needed(session: Session) -> ImageSource:
    if session.source is None:
        raise NoImageError("There is no image to work on: open one, and click its layer.")
    return session.source


def _belongs(layer: Layer, source: ImageSource) -> bool:
    mark = layer.metadata.get(_MARK)
    return isinstance(mark, dict) and mark.get("region_of") == str(source.layer.unique_id)


def _outlines(layer: Shapes, numbers: list[int]) -> Iterator[NDArray[np.float64]]:
    """Yield the corners of shapes that enclose something, in data coordinates of their layer."""
    for number in numbers:
        kind, corners = str(layer.shape_type[number]), np.asarray(layer.data[number], np.float64)
        if kind not in _ENCLOSING:
            raise ImageShapeError(
                f"Shape {number} of layer {layer.name!r} is a {kind}, which encloses nothing; select a polygon, "
                "rectangle or ellipse."
            )
        yield _ellipse(corners) if kind == "ellipse" else corners


def _ellipse(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return corners on an ellipse, of which the four corners of the box around it are given."""
    middle = corners.mean(0)
    one, other = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, None]
    return np.asarray(middle + np.cos(angles) * one + np.sin(angles) * other)
