"""The placing of our layers: they stay on the image that they belong to, wherever that is put."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.widgets._placement import placement_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_cellsam.widgets._source import ImageSource

__all__ = ["Placing"]

_MARK = "napari-cellsam"
_CELLS = "cells_of"
_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "units")


class Placing:
    """Puts our layers where their image is, when that is worked on and whenever it is put elsewhere.

    Parameters
    ----------
    viewer
        Where the layers are.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._source: ImageSource | None = None

    def follow(self, source: ImageSource) -> None:
        """Follow an image from now on, and no other."""
        self.leave()
        self._source = source
        for name in _EVENTS:
            getattr(source.layer.events, name).connect(self._put)
        self._put()

    def leave(self) -> None:
        """Follow none."""
        source, self._source = self._source, None
        if source is not None:
            for name in _EVENTS:
                getattr(source.layer.events, name).disconnect(self._put)

    def _put(self, event: Any = None) -> None:  # noqa: ARG002 - napari's signature
        source = self._source
        if source is None or not source.is_current:  # of what it is now, no plane is shown
            return
        whose = (str(source.layer.unique_id), True)  # those that show something of whatever is worked on have True
        for layer in self._viewer.layers:
            mark = layer.metadata.get(_MARK)
            if not isinstance(mark, dict) or not any(of in whose for of in mark.values()):
                continue
            if _CELLS not in mark:
                _move(layer, source.plane_placement)
            elif tuple(layer.data.shape) == source.shape:
                _move(layer, source.placement)


def _move(layer: Layer, placement: Mapping[str, Any]) -> None:
    """Put a layer somewhere; what is so already is left, since napari draws anew what is set."""
    now = placement_of(layer, range(layer.ndim))
    for name, value in placement.items():
        same = now[name] == value if isinstance(value, list) else np.array_equal(now[name], value)
        if not same:
            setattr(layer, name, value)
