"""The index of a data set for retraining: the file ``dataset.json``."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from napari_cellsam.data.retraining.pictures import Split
from napari_cellsam.data.tiling import Region
from napari_cellsam.errors import DatasetError
from napari_cellsam.export.output import whole_file
from napari_cellsam.types import Image

__all__ = ["INDEX_NAME", "PICTURES", "CropFiles", "Entry", "Index", "read_index", "write_index"]

INDEX_NAME = "dataset.json"
PICTURES = "pictures"
_FORMAT = 1
_FILE = re.compile(rf"{PICTURES}/[0-9a-f]{{32}}/[a-z0-9_-]+\.(tif|json)")
_ID = re.compile(r"[0-9a-f]{32}")


class CropFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A crop of a picture.

    Attributes
    ----------
    window
        ``(y0, x0, y1, x1)`` in the picture, the last row and column excluded.
    image, labels, verified
        Files, relative to the data set.
    """

    window: Region
    image: str
    labels: str
    verified: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of the data set, in one version.

    Attributes
    ----------
    id
        Of the version: content and parents.
    pixels
        Content of the whole picture's pixels, whatever its channels are used for; a picture has one entry.
    content
        Of everything that can be learned from the version.
    name, group
        Of the image, and the file or experiment it comes from.
    image_id
        Of the whole image, as `Image.image_id`.
    shape, nuclear, cell, rgb, pixel_size_um, channel_names
        Of the whole image, as of `Image`.
    added
        When, ISO 8601.
    parents
        Versions that this one replaced, newest first.
    crops
        Where there is something to learn.
    cells
        File with what is known of each cell.
    files
        SHA-256 of every file.
    n_cells, n_verified_px
        Cells in the crops, and known pixels.
    """

    id: str
    pixels: str
    content: str
    name: str
    group: str
    image_id: str
    shape: tuple[int, int]
    nuclear: int | None
    cell: int | None
    rgb: bool
    pixel_size_um: tuple[float, float] | None
    channel_names: tuple[str, ...]
    added: str
    parents: tuple[str, ...]
    crops: tuple[CropFiles, ...]
    cells: str
    files: dict[str, str]
    n_cells: int
    n_verified_px: int

    def __post_init__(self) -> None:
        used = [name for crop in self.crops for name in (crop.image, crop.labels, crop.verified)] + [self.cells]
        for file in (*self.files, *used):
            if not _FILE.fullmatch(file):
                raise ValueError(f"{file!r} is no file of a data set")
        unknown = [file for file in used if file not in self.files]
        if unknown or not self.crops or not _ID.fullmatch(self.id):
            raise ValueError(f"picture {self.name!r} has no crops, no id, or files without a sum: {unknown}")

    @property
    def folders(self) -> set[str]:
        """The folders that its files are in, relative to the data set."""
        return {file.rpartition("/")[0] for file in self.files}

    def image(self, pixels: Any) -> Image:
        """Return pixels of the picture as an image with its roles."""
        return Image(pixels, self.nuclear, self.cell, self.rgb, self.pixel_size_um, self.channel_names)


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What a data set holds.

    Attributes
    ----------
    format, program
        Version of the format, and of the program that wrote it.
    val_share
        Wanted share of groups to be judged on.
    splits
        Of every group that there ever was.
    pictures
        The newest version of each.
    earlier
        Versions that were replaced; their files are kept.
    """

    format: int = _FORMAT
    program: str = msgspec.field(default_factory=lambda: f"napari-cellsam {version('napari-cellsam')}")
    val_share: float = 0.2
    splits: dict[str, Split] = {}
    pictures: tuple[Entry, ...] = ()
    earlier: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.val_share < 1:
            raise ValueError(f"val_share is {self.val_share}; expected 0 to less than 1")


def read_index(folder: Path) -> Index:
    """Read the index of a data set.

    Raises
    ------
    DatasetError
        If there is none, or it cannot be read or understood.
    """
    path = folder / INDEX_NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{folder} is no data set for retraining: it has no {INDEX_NAME}") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        head = msgspec.json.decode(raw, type=dict[str, Any])
        if isinstance(head.get("format"), int) and head["format"] > _FORMAT:
            raise DatasetError(f"{path} was written by {head.get('program')}; update this program to read it")
        return msgspec.json.decode(raw, type=Index)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{path} is broken or of something else: {error}; put back a copy of it") from error


def write_index(folder: Path, index: Index) -> None:
    """Put a new index in the place of the old one, whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with whole_file(folder / INDEX_NAME, overwrite=True) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n")
