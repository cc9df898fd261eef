"""The user's own points and shapes as prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ImageShapeError
from napari_cellsam.types import Prompt
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._placement import viewer_position
from napari_cellsam.widgets._shape_prompts import DrawnPrompt, box_prompt, polygon_prompt, sample_path

if TYPE_CHECKING:
    from napari.layers import Layer, Shapes
    from numpy.typing import NDArray

    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["prompts_of", "shape_prompt"]

_BOXES = ("rectangle", "ellipse")


def prompts_of(session: Session, layer: Layer | None) -> tuple[list[DrawnPrompt], str, int]:
    """Return the points or shapes of a layer that lie on the plane that is shown.

    Parameters
    ----------
    session
        What is looked at.
    layer
        The user's; it stays as it is, and may lie in the world as it likes.

    Returns
    -------
    prompts : list of DrawnPrompt
        One per point or shape, without those that begin on a cell that is there.
    noun : str
        What they are: ``"points"`` or ``"shapes"``.
    n_taken : int
        Number of those that begin on a cell.

    Raises
    ------
    NoImageError, ImageShapeError
        If there is no image, the layer has no points or shapes, or none on the plane.
    """
    from napari.layers import Points, Shapes

    source = session.source
    if source is None:
        raise NoImageError("There is no image to work on: open one, and click its layer.")
    if not isinstance(layer, Points | Shapes) or len(layer.data) == 0:
        raise ImageShapeError(
            f"{'No layer' if layer is None else f'Layer {layer.name!r}'} gives points or shapes; make a points or "
            "shapes layer with something in it the active one."
        )
    if isinstance(layer, Points):
        drawn, noun = list(_points(session, source, layer)), "points"
    else:
        drawn, noun = list(_shapes(session, source, layer)), "shapes"
    if not drawn:
        raise ImageShapeError(f"None of the {len(layer.data)} {noun} of layer {layer.name!r} lies on what is shown.")
    free = [each for each in drawn if not _taken(session, each)]
    return free, noun, len(drawn) - len(free)


def shape_prompt(kind: str, corners: NDArray[np.float64], shape: tuple[int, int]) -> DrawnPrompt | None:
    """Return a shape as a prompt; None if too little of it lies in the picture.

    Parameters
    ----------
    kind
        As napari calls it; what is no rectangle, ellipse or polygon is a line.
    corners
        ``(N, 2)`` corners ``(y, x)`` in pixels of the picture.
    shape
        Height and width of the picture.
    """
    if kind in _BOXES:
        return box_prompt(corners, shape)
    if kind == "polygon":
        return polygon_prompt(corners, shape)
    places = sample_path(corners, shape)
    return DrawnPrompt(Prompt(inside=places)) if len(places) else None


def _points(session: Session, source: ImageSource, layer: Layer) -> Iterator[DrawnPrompt]:
    shown = np.broadcast_to(np.asarray(layer.shown, bool), len(layer.data))
    for place in on_plane(session, source, layer, np.asarray(layer.data)[shown]):
        if session.holds(*place):
            yield DrawnPrompt(Prompt(inside=(place,)))


def _shapes(session: Session, source: ImageSource, layer: Shapes) -> Iterator[DrawnPrompt]:
    height, width = source.shape[-2:]
    for kind, corners in zip(layer.shape_type, layer.data, strict=True):
        there = on_plane(session, source, layer, np.asarray(corners))
        if len(there) == len(corners):
            drawn = shape_prompt(str(kind), there, (height, width))
            if drawn is not None:
                yield drawn


def on_plane(session: Session, source: ImageSource, layer: Layer, places: NDArray[Any]) -> NDArray[np.float64]:
    """Return the pixels ``(y, x)`` of those places of a layer that lie on the plane that is shown."""

    def to_data(place: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(source.to_data(viewer_position(session.viewer, layer, place.tolist()).tolist()), np.float64)

    origin = to_data(np.zeros(layer.ndim))
    steps = np.stack([to_data(step) - origin for step in np.eye(layer.ndim)])  # the way there is affine
    there = origin + np.asarray(places, np.float64) @ steps
    shown = source.to_data(session.viewer.dims.point)
    axes = [axis for axis in range(source.axes.ndim - 2) if axis != source.axes.channel_axis]
    here = (np.round(there[:, axes]) == np.round(shown[axes])).all(1)
    return np.asarray(there[here][:, -2:])


def _taken(session: Session, drawn: DrawnPrompt) -> bool:
    """Return whether a prompt's first place is on a cell."""
    if not session.has_target or len(drawn.prompt.inside_yx) == 0:
        return False
    y, x = drawn.prompt.inside_yx[0]
    return session.target.at(session.plane, round(float(y)), round(float(x))) != 0
