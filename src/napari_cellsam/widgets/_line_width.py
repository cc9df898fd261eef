"""The width of lines that look the same at any zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.widgets._placement import viewer_units

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_cellsam.widgets._source import ImageSource

__all__ = ["line_width"]

_WIDTH_PX = 2.0  # on the screen


def line_width(viewer: ViewerModel, source: ImageSource) -> float:
    """Return the width, in pixels of an image, of a line that is two pixels wide on the screen now."""
    zoom = float(getattr(viewer, "scene", viewer).camera.zoom)  # napari < 0.9 has no scene
    units = viewer_units(viewer, source.layer)[-2:]
    scale = float(np.abs(source.plane_placement["scale"] * units).max())
    return _WIDTH_PX / max(zoom * scale, 1e-6)
