"""The cutting of pictures to squares of one size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.retraining.filters import without_flawed_cells
from napari_cellsam.data.retraining.picture_files import crop_of
from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.data.tiling import plan_tiles
from napari_cellsam.errors import OptionError

__all__ = ["cut_tiles"]


def cut_tiles(picture: RetrainingPicture, side: int, overlap: float) -> Iterator[RetrainingPicture]:
    """Cut a picture to squares, padded with zeros at the bottom and the right where it is smaller.

    Cells of which a cut leaves several pieces or a line of one pixel are unknown in that tile.

    Parameters
    ----------
    picture
        The picture.
    side
        Pixels along a tile.
    overlap
        Least overlap of neighbours, as a share of the side.

    Yields
    ------
    RetrainingPicture
        Tiles in which something is verified; what was padded is unknown.

    Raises
    ------
    OptionError
        If the side or the overlap is out of range.
    """
    if side < 1 or not 0 <= overlap < 1:
        raise OptionError(f"got tiles of {side} pixels with an overlap of {overlap}; expected 1 or more, and 0 to < 1")
    for tile in plan_tiles(picture.image.shape, side, int(overlap * side)):
        verified = crop_of(picture.verified, tile.region)
        labels, verified = without_flawed_cells(crop_of(picture.labels, tile.region), verified)
        if not verified.any():
            continue
        pixels = _padded(crop_of(picture.image.pixels, tile.region), side)
        yield RetrainingPicture(
            replace(picture.image, pixels=pixels),
            _padded(labels, side),
            _padded(verified, side),
            f"{picture.name} ({tile.region[0]}, {tile.region[1]})",
            picture.group,
        )


def _padded(array: NDArray[Any], side: int) -> NDArray[Any]:
    """Return a copy with zeros up to the side at the bottom and the right."""
    missing = [(0, side - n) for n in array.shape[:2]] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, missing)
