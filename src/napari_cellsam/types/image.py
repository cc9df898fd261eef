"""The image: a two-dimensional picture with the roles of its channels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ChannelError, ImageShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Image"]

_PIXEL_DTYPES = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, eq=False)
class Image:
    """A two-dimensional picture with the roles of its channels.

    Attributes
    ----------
    pixels
        ``(Y, X, C)`` as acquired: uint8, uint16, or float32 without NaN or infinity; read-only.
    nuclear, cell
        Indices of the nuclear and the whole-cell channel; None where there is none.
    rgb
        Whether the first three channels are the red, green and blue of a colour picture (histology), used as grey.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres, or None where it is not known.
    channel_names
        One name per channel, or empty.
    """

    pixels: NDArray[Any]
    nuclear: int | None = None
    cell: int | None = None
    rgb: bool = False
    pixel_size_um: tuple[float, float] | None = None
    channel_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.dtype not in _PIXEL_DTYPES:
            raise ImageShapeError(
                f"got pixels of shape {pixels.shape} and type {pixels.dtype}; expected (Y, X, C) of uint8, uint16 or "
                "float32. Use Image.from_array to convert an array."
            )
        if 0 in pixels.shape:
            raise ImageShapeError(f"got an image of shape {pixels.shape}, which has no pixels")
        n_channels = pixels.shape[2]
        for role, index in (("nuclear", self.nuclear), ("cell", self.cell)):
            if index is not None and not 0 <= index < n_channels:
                raise ChannelError(f"{role} channel {index} does not exist; channels are 0 to {n_channels - 1}")
        if self.rgb and n_channels < 3:
            raise ChannelError(f"an RGB image needs three channels; this one has {n_channels}")
        if not self.rgb and self.nuclear is None and self.cell is None:
            raise ChannelError(f"choose a nuclear or a whole-cell channel among the {n_channels} channels (0 first)")
        pixels.setflags(write=False)

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        *,
        nuclear: int | None = None,
        cell: int | None = None,
        rgb: bool | None = None,
        pixel_size_um: tuple[float, float] | None = None,
    ) -> Image:
        """Make an image from an array, guessing the roles of channels that are not given.

        Parameters
        ----------
        array
            ``(Y, X)`` or ``(Y, X, C)``, any real number type or bool. The values are copied where a conversion is
            needed: 8- and 16-bit unsigned integers stay, everything else becomes float32. NaN becomes the smallest
            finite value, infinities the nearest finite value.
        nuclear, cell
            Channel indices. If neither is given: one channel is the whole cell; two are nuclear, whole-cell; three
            or four 8-bit channels are RGB(A); anything else must be told.
        rgb
            True forces, False forbids the reading as a colour picture.
        pixel_size_um
            ``(y, x)`` size of a pixel in micrometres.

        Raises
        ------
        ImageShapeError
            If the array is not a picture: wrong number of axes, no pixels, objects or complex numbers.
        ChannelError
            If a channel does not exist or the roles cannot be guessed.
        """
        pixels = _as_pixels(array)
        if rgb is None:
            rgb = nuclear is None and cell is None and pixels.dtype == np.uint8 and pixels.shape[2] in (3, 4)
        if not rgb and nuclear is None and cell is None:
            if pixels.shape[2] == 1:
                cell = 0
            elif pixels.shape[2] == 2:
                nuclear, cell = 0, 1
            else:
                raise ChannelError(
                    f"the image has {pixels.shape[2]} channels of type {pixels.dtype}; say which one is nuclear and "
                    "which one is whole-cell (0 first), or that it is RGB"
                )
        return cls(pixels, nuclear=nuclear, cell=cell, rgb=rgb, pixel_size_um=pixel_size_um)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def channel_titles(self) -> tuple[str, ...]:
        """What each channel is called in the names of columns: its name, or else its role, or else its number."""
        names = self.channel_names
        if names:
            return tuple(name if names.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(names))
        if self.rgb:
            return ("red", "green", "blue", "alpha")[: self.pixels.shape[2]]
        roles = {self.cell: "cell", self.nuclear: "nuclear"}
        return tuple(roles.get(index, str(index)) for index in range(self.pixels.shape[2]))

    @cached_property
    def image_id(self) -> str:
        """Name of the content: blake2b over shape, type, roles and bytes."""
        return content_id(self.pixels, self.nuclear, self.cell, self.rgb)


def content_id(pixels: NDArray[Any], *roles: object) -> str:
    """Return the name of an array's content: blake2b over shape, type, roles and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((pixels.shape, str(pixels.dtype), *roles)).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _as_pixels(array: ArrayLike) -> NDArray[Any]:
    """Return ``(Y, X, C)`` pixels of a type that `Image` accepts."""
    try:
        pixels = np.asarray(array)
    except ValueError as error:
        raise ImageShapeError(f"got something that is not an array: {error}") from error
    if pixels.dtype.kind not in "buif":
        raise ImageShapeError(f"got an image of type {pixels.dtype}; expected real numbers")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3:
        raise ImageShapeError(
            f"got an array of {pixels.ndim} axes, shape {pixels.shape}; expected (Y, X) or (Y, X, C). Choose one plane "
            "of a stack first."
        )
    if 0 in pixels.shape:
        raise ImageShapeError(f"got an image of shape {pixels.shape}, which has no pixels")
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.copy() if pixels.flags.writeable else pixels
    return _finite(pixels.astype(np.float32))


def _finite(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the pixels with NaN as the smallest finite value and infinities as the nearest finite ones."""
    finite = np.isfinite(pixels)
    if finite.all():
        return pixels
    low, high = (pixels[finite].min(), pixels[finite].max()) if finite.any() else (0.0, 0.0)
    return np.nan_to_num(pixels, nan=low, posinf=high, neginf=low)
