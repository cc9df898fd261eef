"""What is looked at: the image, its channels, and which part of it the window shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_cellsam.editing.edits import Plane
from napari_cellsam.errors import CellsamError, ChannelError, ImageShapeError
from napari_cellsam.widgets._layers import same_layer
from napari_cellsam.widgets._plane_cache import PlaneCache

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_cellsam.widgets._channel_memory import ChannelMemory
    from napari_cellsam.widgets._channels import ChannelMap
    from napari_cellsam.widgets._plane_cache import PlaneReader
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["Looking", "NoImageError"]


class NoImageError(CellsamError):
    """There is no image to work on."""


class Looking:
    """The image that a session works on.

    Parameters
    ----------
    viewer
        Whose layers there are.
    memory
        Knows which channels were chosen for pictures like it.

    Attributes
    ----------
    source
        The image; None where there is none.
    """

    def __init__(self, viewer: ViewerModel, memory: ChannelMemory) -> None:
        self._viewer, self._memory = viewer, memory
        self._read = PlaneCache()
        self.source: ImageSource | None = None

    @property
    def needed(self) -> ImageSource:
        """The image.

        Raises
        ------
        NoImageError
            If there is none.
        """
        if self.source is None:
            raise NoImageError("There is no image to work on: open one, and click its layer.")
        return self.source

    def is_at(self, layer: Layer) -> bool:
        """Return whether a layer is what is looked at, and still has the axes that it had then."""
        return self.source is not None and same_layer(self.source.layer, layer) and self.source.is_current

    def find(self, layer: Layer) -> ImageSource:
        """Return a layer's image, with the channels that were chosen for pictures like it.

        Raises
        ------
        ImageShapeError
            If the layer cannot be used.
        """
        from napari_cellsam.widgets._source import ImageSource

        remembered = self._memory.recall(layer, self._viewer.layers)
        if remembered is not None:
            try:
                return ImageSource(self._viewer, layer, remembered)
            except (ChannelError, ImageShapeError):
                pass  # they were chosen for another picture; what is guessed is shown in the dock
        return ImageSource(self._viewer, layer)

    def with_channels(self, channels: ChannelMap) -> ImageSource:
        """Return the image with other channels.

        Raises
        ------
        ChannelError, ImageShapeError
            If it cannot have them.
        """
        from napari_cellsam.widgets._source import ImageSource

        return ImageSource(self._viewer, self.needed.layer, channels)

    def remember(self) -> None:
        """Keep the channels for pictures like this one.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        self._memory.remember(self.needed.layer, self.needed.channels)

    def leave(self) -> None:
        """Look at nothing."""
        self.source = None
        self._read.clear()

    def reader(self, plane: Plane) -> PlaneReader:
        """Return what reads a plane in another thread; the newest one is kept."""
        source = self.needed
        return self._read.reader((source.signature(), plane), source.reader(plane))

    def holds(self, y: float, x: float) -> bool:
        """Return whether a place lies in the picture."""
        height, width = self.needed.shape[-2:]
        return bool(-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5)

    def to_yx(self, position: Sequence[float]) -> tuple[float, float]:
        """Return the pixel ``(y, x)`` at a position in the world's coordinates."""
        y, x = self.needed.to_data(position)[-2:]
        return float(y), float(x)

    def view(self) -> tuple[int, int, int, int]:
        """Return the region ``(y0, x0, y1, x1)`` that the window shows, the end excluded.

        Raises
        ------
        ImageShapeError
            If it shows nothing of the image.
        """
        source = self.needed
        layer = source.layer
        zoom = layer.downsample_factors[layer.data_level][-2:] if source.is_multiscale else (1, 1)
        (top, left), (bottom, right) = (layer.corner_pixels[:, -2:] + [[0], [1]]) * zoom  # the last pixels are inside
        height, width = source.shape[-2:]
        region = max(int(top), 0), max(int(left), 0), min(math.ceil(bottom), height), min(math.ceil(right), width)
        if region[2] <= region[0] or region[3] <= region[1]:
            raise ImageShapeError("The window shows nothing of the image; move it there first.")
        return region
