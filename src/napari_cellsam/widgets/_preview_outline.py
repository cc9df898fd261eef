"""The outline of a cell that is not there yet: a small layer of ours above the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.widgets._layers import same_layer
from napari_cellsam.widgets._line_width import line_width

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Shapes
    from numpy.typing import NDArray

    from napari_cellsam.types import Mask
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["PreviewOutline"]

_MARK = "napari-cellsam"
_COLOUR = "#ffd166"
_MOST_CORNERS = 80  # napari takes 9 ms for so many, as for a labels layer of the crop; for 1500 twice as long


class PreviewOutline:
    """Draws the outline of a mask.

    It is a shapes layer rather than a labels layer: equally quick, smooth at any zoom, and never offered as one to
    write cells into. It does not stay the active layer, nor the selected one. ``removed`` is emitted when the user
    removes it.

    Parameters
    ----------
    viewer
        Where the layer is.
    """

    removed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._image: Layer | None = None
        self._adding = False
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)

    @property
    def layer(self) -> Shapes | None:
        """The layer; None while there is none."""
        return self._layer

    @property
    def visible(self) -> bool:
        """Whether an outline is seen."""
        return self._layer is not None and bool(self._layer.visible)

    def prepare(self, source: ImageSource) -> Shapes:
        """Return the layer for an image; one that is added draws nothing.

        napari takes up to 150 ms to add it, which is noticed less before the first outline than with it.
        """
        return self._layer if self._layer is not None and self._belongs(source) else self._add(source)

    def show(self, mask: Mask, source: ImageSource) -> None:
        """Draw the outline of a mask on the planes of an image."""
        layer = self.prepare(source)
        layer.data = [(line, "path") for line in _outlines(mask)]
        layer.edge_color = _COLOUR
        layer.edge_width = line_width(self._viewer, source)
        layer.visible = True

    def hide(self) -> None:
        """Draw nothing; the layer stays, since adding it anew would cost more."""
        if self.visible and self._layer is not None:
            self._layer.visible = False

    def remove(self) -> None:
        """Remove the layer."""
        layer, self._layer = self._layer, None
        if layer is not None and any(same_layer(layer, there) for there in self._viewer.layers):
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Remove the layer, and listen no more."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self.remove()

    def _belongs(self, source: ImageSource) -> bool:
        return self._image is not None and same_layer(self._image, source.layer)

    def _add(self, source: ImageSource) -> Shapes:
        """Add the layer, and leave the choice of the layer to the user."""
        self.remove()
        selection = self._viewer.layers.selection
        chosen, active = list(selection), selection.active
        self._adding = True
        try:
            self._layer = self._viewer.add_shapes(
                ndim=2,
                name=f"{source.layer.name} preview",
                visible=False,
                metadata={_MARK: {"preview_of": str(source.layer.unique_id)}},
                **source.plane_placement,
            )
            selection.clear()
            selection.update(chosen)
            selection.active = active
        finally:
            self._adding = False
        self._image = source.layer
        return self._layer

    def _on_active(self, event: Any = None) -> None:  # noqa: ARG002 - napari's signature
        layers = self._viewer.layers
        active = layers.selection.active
        if self._adding or self._layer is None or active is None or not same_layer(active, self._layer):
            return
        image = next((layer for layer in layers if self._image is not None and same_layer(layer, self._image)), None)
        layers.selection.active = image

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and same_layer(event.value, self._layer):
            self._layer = None
            self.removed.emit()


def _outlines(mask: Mask) -> list[NDArray[np.float64]]:
    """Return closed lines ``(n, 2)`` around the pieces of a mask and its holes."""
    from skimage.measure import find_contours

    around = find_contours(np.pad(mask.crop, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]
    lines = [line + (np.array(mask.corner) - 1) for line in around]
    return [line if len(line) <= _MOST_CORNERS else _thinned(line) for line in lines]


def _thinned(line: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(line[np.linspace(0, len(line) - 1, _MOST_CORNERS).round().astype(int)])
