"""The image that is looked at: which layer, which plane of it, and how its pixels are had."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ImageShapeError
from napari_cellsam.types import Image

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_cellsam.widgets._edits import Plane

__all__ = ["ImageSource"]


class ImageSource:
    """An image layer, plane by plane.

    Parameters
    ----------
    viewer
        Whose planes are shown.
    layer
        An image layer of at least two axes.

    Raises
    ------
    ImageShapeError
        If the layer cannot be used.
    """

    def __init__(self, viewer: ViewerModel, layer: Layer) -> None:
        from napari.layers import Image as ImageLayer

        if not isinstance(layer, ImageLayer) or layer.ndim < 2:
            raise ImageShapeError(f"layer {layer.name!r} is no picture; choose an image layer")
        self._viewer, self.layer = viewer, layer

    @property
    def is_multiscale(self) -> bool:
        """Whether the layer has several resolutions; the finest is used."""
        return bool(self.layer.multiscale)

    @property
    def shape(self) -> tuple[int, ...]:
        """Leading axes, height and width."""
        shape = tuple(int(n) for n in self._data.shape)
        return shape[:-1] if self.layer.rgb else shape

    @property
    def plane(self) -> Plane:
        """Which plane is shown.

        Raises
        ------
        ImageShapeError
            If the window does not show rows and columns of the layer.
        """
        dims = self._viewer.dims
        if dims.ndisplay != 2 or tuple(dims.displayed) != (dims.ndim - 2, dims.ndim - 1):
            raise ImageShapeError(
                "The window shows the layer in 3-D or along other axes; show rows and columns in 2-D to find cells."
            )
        at = self.layer.world_to_data(dims.point)[:-2]
        return tuple(int(np.clip(round(float(p)), 0, n - 1)) for p, n in zip(at, self.shape[:-2], strict=True))

    def planes(self) -> Iterator[Plane]:
        """Yield all planes."""
        yield from product(*map(range, self.shape[:-2]))

    def signature(self) -> Hashable:
        """Return what changes when other pixels are meant."""
        return self.layer.unique_id, id(self.layer.data)

    def reader(self, plane: Plane) -> Callable[[], Image]:
        """Return what reads a plane; it may be called in another thread."""
        data, rgb = self._data, bool(self.layer.rgb)

        def read() -> Image:
            pixels = np.asarray(data[plane])
            return Image.from_array(pixels, rgb=True) if rgb else Image.from_array(pixels, cell=0, rgb=False)

        return read

    @property
    def _data(self) -> Any:
        return self.layer.data[0] if self.layer.multiscale else self.layer.data
