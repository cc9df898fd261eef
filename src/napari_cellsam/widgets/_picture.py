"""The picture: one plane of one channel, which is read when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import CellsamError, ChannelError, ImageReadError
from napari_cellsam.types import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Picture", "read_image"]


@dataclass(frozen=True, eq=False)
class Picture:
    """Where the pixels of a plane are.

    Attributes
    ----------
    data
        An array of any library: numpy, dask, zarr, HDF5, xarray.
    name
        Of its layer, for messages.
    index
        What gives the ``(Y, X)`` pixels, or ``(Y, X, 3)`` of a colour picture.
    """

    data: Any
    name: str
    index: tuple[Any, ...]

    def read(self) -> NDArray[Any]:
        """Return the pixels, read or computed now.

        Raises
        ------
        ImageReadError
            If the library fails.
        """
        try:
            return np.asarray(self.data[self.index])
        except CellsamError:
            raise
        except Exception as error:  # whatever the libraries raise: of files that are gone, of chunks that are broken
            raise ImageReadError(f"the pixels of layer {self.name!r} cannot be read: {error}") from error


def read_image(pictures: Mapping[str, Picture], pixel_size_um: tuple[float, float] | None) -> Image:
    """Read pictures as one image.

    Parameters
    ----------
    pictures
        By role: ``"rgb"`` alone, or ``"nuclear"`` or ``"cell"`` or both, which may be the same pixels.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres, or None where it is not known.

    Raises
    ------
    ImageReadError
        If pixels cannot be read.
    ChannelError
        If no picture is given.
    """
    if "rgb" in pictures:
        return Image.from_array(pictures["rgb"].read(), rgb=True, pixel_size_um=pixel_size_um)
    if not pictures:
        raise ChannelError("choose a channel of nuclei, of whole cells, or both")
    planes = [picture.read() for picture in pictures.values()]
    if len(planes) == 1:
        pixels = planes[0][:, :, None]
    else:
        pixels = np.stack(planes, axis=-1)
        pixels.setflags(write=False)  # it is ours, so it need not be copied
    places = {role: place for place, role in enumerate(pictures)}
    return Image.from_array(
        pixels, nuclear=places.get("nuclear"), cell=places.get("cell"), rgb=False, pixel_size_um=pixel_size_um
    )
