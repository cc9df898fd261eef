"""The TIFF file (plain, OME, ImageJ) as a stack of planes that are read one by one."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_cellsam.data.stack import Stack
from napari_cellsam.data.tiff_chain import check_chain
from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.tiff_metadata import read_channel_names, read_pixel_size
from napari_cellsam.memory import check_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

__all__ = ["open_tiff"]

_RGB, _PALETTE, _YCBCR = 2, 3, 6  # values of the tag PhotometricInterpretation
_BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue
_UNEVEN = 0.02  # of the whole range: how far a table that gets brighter all the way may fall back
_RGB_NAMES = ("red", "green", "blue")


@contextmanager
def open_tiff(path: Path, scene: int = 0) -> Iterator[Stack]:
    """Open a TIFF file; only what is loaded from the stack is decoded.

    Parameters
    ----------
    path
        The file.
    scene
        Which picture of the file, 0 first: an image of an OME-TIFF, or a group of equal pages of a plain TIFF.

    Raises
    ------
    ImageReadError
        If the scene does not exist, or the file is cut off.
    """
    from tifffile import TiffFile

    check_chain(path)
    with TiffFile(path) as file:
        if not 0 <= scene < len(file.series):
            raise ImageReadError(f"scene {scene} does not exist; the file holds scenes 0 to {len(file.series) - 1}")
        promised = (file.imagej_metadata or {}).get("images", 1)
        if file.series[scene].kind != "imagej" and promised > len(file.pages):
            # all planes but the first have no directory of their own; tifffile falls back to the first
            raise ImageReadError(f"{path} is cut off: its header promises {promised} planes")
        yield _as_stack(file, scene, path)


def _as_stack(file: TiffFile, scene: int, path: Path) -> Stack:
    """Describe a picture of the file, from its header alone."""
    series = file.series[scene]
    loader = _PlaneLoader(series, path, _axis_names(series), file.byteorder)
    sizes = dict(zip(loader.names, series.get_shape(True), strict=True))
    dtype, load = np.dtype(series.dtype), loader.load
    colour = _is_colour(series) and sizes.get("S") in (3, 4)
    table = None if file.is_imagej else _colours_of(series)  # whose tables are looks: rainbows, and what is saturated
    if table is not None and "S" not in sizes and sizes.get("C", 1) == 1:
        colour, dtype, load = True, table.dtype, lambda index: table[loader.load(index)]
    if colour:
        sizes["S"] = 3  # the fourth sample is transparency
    names = read_channel_names(file, scene, sizes.get("C", 1))
    if colour and sizes.get("C", 1) == 1:
        names = _RGB_NAMES
    return Stack(
        sizes,
        dtype,
        load,
        colour=colour,
        channel_names=names,
        pixel_size_um=read_pixel_size(file, scene),
        n_scenes=len(file.series),
    )


def _is_colour(series: TiffPageSeries) -> bool:
    """Tell whether the samples are colours; JPEG-compressed ones are stored as YCbCr and decoded to RGB."""
    return series.keyframe.photometric in (_RGB, _YCBCR)


def _colours_of(series: TiffPageSeries) -> NDArray[np.uint8] | None:
    """Return the colours ``(N, 3)`` that values stand for, or None where the values themselves are the picture.

    The tables of microscopes, grey or coloured, only show intensities: they get brighter, or darker, all the way.
    """
    page = series.keyframe
    if page.photometric != _PALETTE or page.colormap is None:
        return None
    table = page.colormap.T
    colours = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    brightness = colours @ np.array(_BRIGHTNESS)
    fall = min(np.max(np.maximum.accumulate(way) - way) for way in (brightness, -brightness))
    return None if fall <= _UNEVEN * 255 else colours


def _axis_names(series: TiffPageSeries) -> tuple[str, ...]:
    """Name the axes; axes whose meaning is not known are told apart by a number."""
    letters, shape = series.get_axes(True), series.get_shape(True)
    if series.kind == "shaped" and letters == "QYX" and shape[2] <= 4 < min(shape[:2]):
        letters = "YXS"  # tifffile writes an array (Y, X, 2) as Y pages of two columns
    seen: Counter[str] = Counter()
    names = []
    for letter in letters:
        seen[letter] += 1
        names.append(letter if seen[letter] == 1 else f"{letter}{seen[letter]}")
    return tuple(names)


@dataclass(frozen=True, eq=False)
class _PlaneLoader:
    """Loads one plane, from its own page where the file allows that."""

    series: TiffPageSeries
    path: Path
    names: tuple[str, ...]
    byteorder: Literal["<", ">"]

    def load(self, index: Mapping[str, int]) -> NDArray[Any]:
        """Return the plane at an index of every axis but Y, X and S, colours without transparency."""
        return self._load(index)[self._without_transparency()]

    def _load(self, index: Mapping[str, int]) -> NDArray[Any]:
        """Return the plane as it is stored."""
        shape = self.series.get_shape(True)
        outer = [name for name in self.names if name not in "YXS"]
        lengths = [length for name, length in zip(self.names, shape, strict=True) if name in outer]
        where = tuple(index[name] if name in index else slice(None) for name in self.names)
        if self.names[: len(outer)] == tuple(outer) and prod(lengths) == len(self.series.pages):
            number = int(np.ravel_multi_index([index[name] for name in outer], lengths)) if outer else 0
            return self._page(number).reshape(shape[len(outer) :])
        if self.series.dataoffset is not None:
            dtype = np.dtype(self.series.dtype).newbyteorder(self.byteorder)
            stored: NDArray[Any] = np.memmap(self.path, dtype, "r", self.series.dataoffset, shape)
            return np.array(stored[where])
        check_memory((1, prod(shape), 1), np.dtype(self.series.dtype).itemsize)
        for number in range(len(self.series.pages)):
            self._check_page(number)
        return np.asarray(self.series.asarray()).reshape(shape)[where]

    def _page(self, number: int) -> NDArray[Any]:
        """Decode one page."""
        return np.asarray(self._check_page(number).asarray())

    def _check_page(self, number: int) -> TiffPage | TiffFrame:
        """Return a page whose data the file holds to the end."""
        page = self.series.pages[number]
        if page is None:
            raise ImageReadError(f"page {number} of {self.path} is not in the file, or in a file that is missing")
        size = page.parent.filehandle.size
        if any(o + n > size for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)):
            raise ImageReadError(f"{self.path} is cut off: page {number} ends behind the end of the file")
        return page

    def _without_transparency(self) -> tuple[slice, ...]:
        """Return the index that keeps the first three samples of a colour picture."""
        kept = [name for name in self.names if name in "YXS"]
        return tuple(slice(3) if name == "S" and _is_colour(self.series) else slice(None) for name in kept)
