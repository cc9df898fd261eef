"""The reading of image files.

PNG, JPEG and TIFF (plain, multi-page, OME, ImageJ) are told apart by their content, not by their name. One plane is
read: the first time point and the middle depth, unless another is chosen. Only the channels that have a role are read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellsam.data.stack import Stack, choose_plane, find_channel, read_plane
from napari_cellsam.errors import CellsamError, ChannelError, ImageReadError, ImageTooLargeError
from napari_cellsam.types import Image

if TYPE_CHECKING:
    import os

__all__ = ["IMAGE_SUFFIXES", "OUTPUT_ENDINGS", "Planes", "list_images", "list_planes", "read_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Endings of the files that `list_images` takes from a folder, whatever their capitals."""

OUTPUT_ENDINGS = ("_labels.tif", "_outlines.png")
"""Endings of our own results, which `list_images` leaves out."""

# what the decoding libraries raise for a broken file; SyntaxError is Pillow's for PNG and the XML parser's
_FOREIGN_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
)


def read_image(
    path: str | os.PathLike[str],
    *,
    nuclear: int | str | None = None,
    cell: int | str | None = None,
    rgb: bool | None = None,
    plane: Mapping[str, int] | None = None,
    scene: int = 0,
) -> Image:
    """Read one plane of an image file.

    Parameters
    ----------
    path
        PNG, JPEG or TIFF file.
    nuclear, cell
        Channel of the nuclei and of the whole cells, by number (0 first) or by the name that the file gives it. If
        neither is given, the roles are guessed: colour pictures of 8 bits are RGB; one channel is the whole cell; two
        are nuclear, whole-cell; anything else must be told.
    rgb
        True forces, False forbids the reading as a colour picture.
    plane
        Index by axis name, such as ``{"T": 0, "Z": 3}``; default the first time point and the middle depth. Pages
        whose meaning the file does not state are channels where channels are chosen or where there are at most four
        pages, else depth.
    scene
        Which picture of a TIFF file that holds several, 0 first.

    Returns
    -------
    Image
        Pixels ``(Y, X, C)``, with the channels that have a role, and the pixel size in micrometres where stated.

    Raises
    ------
    ImageReadError
        If the file is missing, broken, or not of these formats.
    ImageShapeError
        If it holds no picture, or the plane does not exist or must be chosen.
    ChannelError
        If a channel does not exist, or the roles cannot be guessed; the message lists the channels.
    ImageTooLargeError
        If the plane does not fit in the free memory; nothing has been decoded then.
    """
    with _opened(Path(path), scene) as stack:
        return _read(stack, nuclear, cell, rgb, plane)


@dataclass(frozen=True)
class Planes:
    """The planes of a file, of which `read_image` reads one.

    Attributes
    ----------
    sizes
        Length of each axis other than height, width, channels and colours.
    taken
        Where nobody has chosen and there are several: by axis, the index that is read.
    n_scenes
        Number of pictures in the file.
    """

    sizes: Mapping[str, int]
    taken: Mapping[str, int]
    n_scenes: int


def list_planes(
    path: str | os.PathLike[str],
    *,
    choose_channels: bool = False,
    plane: Mapping[str, int] | None = None,
    scene: int = 0,
) -> Planes:
    """Say of which planes a file consists and which one `read_image` would take; nothing is decoded.

    Parameters
    ----------
    path, plane, scene
        As for `read_image`, which raises the same errors.
    choose_channels
        Whether channels are chosen.
    """
    with _opened(Path(path), scene) as stack:
        fixed, _ = choose_plane(stack, plane, choose_channels)
        chosen = {name.upper() for name in plane or ()}
        sizes = {name: size for name, size in stack.sizes.items() if name not in "YXSC"}
        taken = {name: fixed[name] for name, size in sizes.items() if name in fixed and name not in chosen and size > 1}
        return Planes(sizes, taken, stack.n_scenes)


@contextmanager
def _opened(path: Path, scene: int) -> Iterator[Stack]:
    """Open a file; whatever goes wrong with it is an error of ours that names it."""
    try:
        with _open(path, scene) as stack:
            yield stack
    except CellsamError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error
    except MemoryError as error:
        raise ImageTooLargeError(f"{path}: the memory is not enough to read it; crop or downscale it") from error
    except _FOREIGN_ERRORS as error:
        raise ImageReadError(f"{path} cannot be read; it may be broken or cut off: {error}") from error


def _open(path: Path, scene: int) -> AbstractContextManager[Stack]:
    """Open a file by what its first bytes say it is."""
    from napari_cellsam.data.raster import open_jpeg, open_png
    from napari_cellsam.data.tiff import open_tiff

    if path.is_dir():
        raise ImageReadError(f"{path} is a folder; give a file, or the files that list_images finds in it")
    if not path.is_file():
        raise ImageReadError(f"{path} does not exist")
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return open_tiff(path, scene)
    if scene != 0:
        raise ImageReadError(f"scene {scene} does not exist; {path} holds one picture")
    if head == b"\x89PNG\r\n\x1a\n":
        return open_png(path)
    if head[:3] == b"\xff\xd8\xff":
        return open_jpeg(path)
    raise ImageReadError(f"{path} begins with {head!r}, which is not PNG, JPEG or TIFF; convert it to one of these")


def _read(
    stack: Stack, nuclear: int | str | None, cell: int | str | None, rgb: bool | None, plane: Mapping[str, int] | None
) -> Image:
    """Read the chosen plane and channels of a stack."""
    chosen = [channel for channel in (nuclear, cell) if channel is not None]
    fixed, axis = choose_plane(stack, plane, bool(chosen))
    n_channels = (stack.sizes[axis] if axis else 1) * stack.n_samples
    names = stack.channel_names if len(stack.channel_names) == n_channels else ()
    if rgb and n_channels < 3:
        raise ChannelError(f"an RGB image needs three channels; this one has {n_channels}")
    if chosen and rgb:
        raise ChannelError("got nuclear or whole-cell channels and rgb; an RGB image is used as grey, so choose either")
    if not chosen:
        guess = stack.colour and axis is None if rgb is None else rgb
        pixels = read_plane(stack, fixed, axis, [0, 1, 2] if guess else None)
        image = Image.from_array(pixels, rgb=rgb if guess else False, pixel_size_um=stack.pixel_size_um)
        return replace(image, channel_names=names[: pixels.shape[2]])
    numbers = [find_channel(channel, names, n_channels) for channel in chosen]
    distinct = list(dict.fromkeys(numbers))
    image = Image.from_array(
        read_plane(stack, fixed, axis, distinct),
        nuclear=None if nuclear is None else distinct.index(numbers[0]),
        cell=None if cell is None else distinct.index(numbers[-1]),
        rgb=False,
        pixel_size_um=stack.pixel_size_um,
    )
    return replace(image, channel_names=tuple(names[i] for i in distinct) if names else ())


def list_images(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List image files, with folders replaced by the image files directly in them.

    Parameters
    ----------
    paths
        Files, which stay as they are in their order, and folders.

    Returns
    -------
    list of Path
        From a folder, sorted by name: files that end in one of `IMAGE_SUFFIXES`, without hidden files and our own
        results.

    Raises
    ------
    ImageReadError
        If a folder holds no image, or cannot be listed.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        try:
            if not path.is_dir():
                found.append(path)
                continue
            images = sorted(child for child in path.iterdir() if _is_image(child))
        except OSError as error:
            raise ImageReadError(f"{path} cannot be looked at: {error.strerror or error}") from error
        if not images:
            raise ImageReadError(f"the folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
        found += images
    return found


def _is_image(path: Path) -> bool:
    """Tell whether a file looks like an image that somebody wants segmented."""
    name = path.name.lower()
    return path.is_file() and name.endswith(IMAGE_SUFFIXES) and not name.endswith(OUTPUT_ENDINGS) and name[0] != "."
