"""The PNG or JPEG file as a stack of one plane."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_cellsam.data.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

__all__ = ["open_jpeg", "open_png"]

_GREY_MODES = ("1", "L", "LA")
_PNG_GREY, _PNG_RGB, _PNG_GREY_ALPHA, _PNG_RGB_ALPHA = 0, 2, 4, 6


@contextmanager
def open_jpeg(path: Path) -> Iterator[Stack]:
    """Open a JPEG file; its pixels stay as stored, whatever orientation its EXIF data ask for."""
    from PIL.JpegImagePlugin import JpegImageFile

    # the class itself, because PIL.Image.open refuses honest large pictures as decompression bombs
    with path.open("rb") as file, JpegImageFile(file, str(path)) as picture:
        yield _as_stack(picture)


@contextmanager
def open_png(path: Path) -> Iterator[Stack]:
    """Open a PNG file: 1 to 16 bits, grey, palette or colour; transparency is dropped."""
    from PIL.PngImagePlugin import PngImageFile

    with path.open("rb") as file:
        header = file.read(26)
        file.seek(0)
        if header[24:25] == b"\x10" and header[25:26] != bytes([_PNG_GREY]):
            yield _deep_png(file, header)
            return
        with PngImageFile(file, str(path)) as picture:
            yield _as_stack(picture)


def _as_stack(picture: ImageFile) -> Stack:
    """Describe a picture that Pillow opened, from its header alone."""
    width, height = picture.size
    if picture.mode.startswith("I;16"):
        return Stack({"Y": height, "X": width}, np.dtype(np.uint16), lambda _: _decode(picture, None))
    if picture.mode in _GREY_MODES or (picture.mode == "P" and _is_grey_palette(picture)):
        return Stack({"Y": height, "X": width}, np.dtype(np.uint8), lambda _: _decode(picture, "L"))
    return Stack(
        {"Y": height, "X": width, "S": 3},
        np.dtype(np.uint8),
        lambda _: _decode(picture, "RGB"),
        colour=True,
        channel_names=("red", "green", "blue"),
    )


def _is_grey_palette(picture: ImageFile) -> bool:
    """Tell whether every colour of the palette is a grey."""
    colours = np.asarray(picture.getpalette("RGB")).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _decode(picture: ImageFile, mode: str | None) -> NDArray[Any]:
    """Decode the whole picture, converted to a Pillow mode unless that is None."""
    return np.asarray(picture if mode in (None, picture.mode) else picture.convert(mode))


def _deep_png(file: BinaryIO, header: bytes) -> Stack:
    """Describe a PNG of 16 bits with several samples, which Pillow would cut to 8 bits."""
    width, height = int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")
    sizes = {"Y": height, "X": width}
    colour = header[25] in (_PNG_RGB, _PNG_RGB_ALPHA)

    def load(_: Mapping[str, int]) -> NDArray[Any]:
        import imagecodecs

        values = imagecodecs.png_decode(file.read())
        return values[:, :, :3] if colour else values[:, :, 0]

    if not colour:
        return Stack(sizes, np.dtype(np.uint16), load)
    return Stack(sizes | {"S": 3}, np.dtype(np.uint16), load, colour=True, channel_names=("red", "green", "blue"))
