"""The reading of a picture of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari_cellsam.data.retraining.filters import without_flawed_cells
from napari_cellsam.data.retraining.index import CropFiles, Entry
from napari_cellsam.data.retraining.picture_files import PictureContent, checked_bytes, read_crop, sha256_of
from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.errors import DatasetError

__all__ = ["is_whole", "read_content", "read_pictures"]


def is_whole(folder: Path, entry: Entry) -> bool:
    """Tell whether every file of a picture is as it was written."""
    try:
        return all(sha256_of(folder / file) == sha256 for file, sha256 in entry.files.items())
    except OSError:
        return False


def read_content(folder: Path, entry: Entry, crop: CropFiles) -> PictureContent:
    """Read a crop as it was written.

    Raises
    ------
    DatasetError
        If a file is missing, has changed or does not fit.
    """
    y0, x0, y1, x1 = crop.window
    if not (0 <= y0 < y1 <= entry.shape[0] and 0 <= x0 < x1 <= entry.shape[1]):
        raise DatasetError(f"{entry.name}: the crop {crop.window} is not inside the picture, which is {entry.shape}")
    image, labels, verified = (
        checked_bytes(folder, file, entry.files[file]) for file in (crop.image, crop.labels, crop.verified)
    )
    return read_crop((image, labels, verified), crop.window, entry.name)


def read_pictures(folder: Path, entry: Entry) -> Iterator[RetrainingPicture]:
    """Read the crops of a picture to learn from them, without the cells that the paper leaves out.

    Raises
    ------
    DatasetError
        As `read_content`.
    """
    for crop in entry.crops:
        content = read_content(folder, entry, crop)
        labels, verified = without_flawed_cells(content.labels, content.verified)
        corner = f" [{crop.window[0]}, {crop.window[1]}]" if len(entry.crops) > 1 else ""
        image = entry.image(content.pixels)
        yield RetrainingPicture(
            image, labels, verified, entry.name + corner, entry.group, (crop.window[0], crop.window[1]), entry.shape
        )
