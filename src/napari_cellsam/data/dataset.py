"""Folders of labelled pictures, loaded and prepared for training and evaluation."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.data.prepare import prepare
from napari_cellsam.data.read import read_image
from napari_cellsam.errors import DatasetError
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.labels import relabel_sequential
from napari_cellsam.types import Image

__all__ = ["DatasetEntry", "Picture", "as_picture", "list_entries", "load_pictures", "median_diameter"]


@dataclass(frozen=True)
class DatasetEntry:
    """One labelled picture on disk.

    Attributes
    ----------
    image, mask
        The two files; the mask is a label image, 0 background.
    split
        ``"train"``, ``"val"`` or another name.
    group
        Pictures of one kind (source, archetype, modality); sampling is balanced between groups.
    source
        Where the picture comes from; results are reported by source.
    """

    image: Path
    mask: Path
    split: str
    group: str
    source: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A labelled picture, prepared and ready to be cropped.

    Attributes
    ----------
    channels
        ``(2, 2, Y, X)`` uint8: without and with CLAHE; nuclear, whole-cell. A missing channel is all zero.
    labels
        ``(Y, X)`` int32, 0 background.
    diameter
        Median cell diameter in pixels (of circles of the cells' areas); 0 without cells.
    group
        As `DatasetEntry.group`.
    verified
        ``(Y, X)``, where every cell is outlined and the rest is background; None for everywhere.
    """

    channels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    diameter: float
    group: str
    verified: NDArray[np.bool_] | None = None


def list_entries(folder: Path, split: str | None = None) -> list[DatasetEntry]:
    """List the labelled pictures of a data set.

    Parameters
    ----------
    folder
        Either has an ``index.tsv`` (columns source, file, split, archetype, modality) beside ``<source>/images`` and
        ``<source>/masks``, or is itself such a pair of folders with equal file names.
    split
        Only entries of this split; None for all.

    Raises
    ------
    DatasetError
        If the folder is neither, a file is missing, or nothing is left.
    """
    index = folder / "index.tsv"
    if index.is_file():
        entries = list(_indexed(folder, index))
    elif (folder / "images").is_dir() and (folder / "masks").is_dir():
        files = [path for path in (folder / "images").iterdir() if path.is_file()]
        names = sorted(path.name for path in files if not path.name.startswith("."))
        entries = [
            DatasetEntry(folder / "images" / n, folder / "masks" / n, "train", folder.name, folder.name) for n in names
        ]
    else:
        raise DatasetError(f"{folder} has neither an index.tsv nor the folders images and masks")
    entries = [entry for entry in entries if split in (None, entry.split)]
    missing = [str(path) for entry in entries for path in (entry.image, entry.mask) if not path.is_file()]
    if missing:
        raise DatasetError(f"{len(missing)} files of {folder} are missing, first {missing[0]}")
    if not entries:
        raise DatasetError(f"{folder} has no labelled pictures" + (f" of split {split!r}" if split else ""))
    return entries


def _indexed(folder: Path, index: Path) -> Iterator[DatasetEntry]:
    with index.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t")
        needed = {"source", "file", "split", "archetype", "modality"}
        if not needed <= set(rows.fieldnames or ()):
            raise DatasetError(f"{index} has columns {rows.fieldnames}; expected {', '.join(sorted(needed))}")
        for row in rows:
            source = folder / row["source"]
            group = "/".join((row["source"], row["archetype"], row["modality"]))
            image, mask = source / "images" / row["file"], source / "masks" / row["file"]
            yield DatasetEntry(image, mask, row["split"], group, row["source"])


def load_pictures(entries: list[DatasetEntry]) -> Iterator[Picture]:
    """Read and prepare labelled pictures one after another."""
    for entry in entries:
        labels = read_labels(entry.mask)
        image = read_image(entry.image)
        if labels.shape != image.shape:
            raise DatasetError(f"{entry.mask} is {labels.shape} but its image {image.shape}")
        yield as_picture(image, labels, entry.group)


def as_picture(image: Image, labels: NDArray[np.integer], group: str) -> Picture:
    """Prepare a labelled picture for training.

    Parameters
    ----------
    image
        The picture.
    labels
        ``(Y, X)`` its cells.
    group
        What kind of picture it is.
    """
    both = [prepare(image, clahe=clahe)[1:] for clahe in (False, True)]
    channels = np.stack([np.rint(channel * 255).astype(np.uint8) for channel in both])
    cells = relabel_sequential(labels)  # numbers may be anything up to 2**32
    return Picture(channels, cells.astype(np.int32), median_diameter(cells), group)


def median_diameter(labels: NDArray[np.integer]) -> float:
    """Return the median diameter in pixels of circles with the cells' areas; 0 without cells."""
    areas = np.unique(labels[labels > 0], return_counts=True)[1]
    return float(np.sqrt(4 / np.pi * np.median(areas))) if len(areas) else 0.0
