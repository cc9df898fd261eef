"""The adding of a corrected picture: from arrays to a folder of files and its entry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from napari_cellsam.data.retraining.index import PICTURES, CropFiles, Entry
from napari_cellsam.data.retraining.picture_files import (
    PictureContent,
    crop_of,
    digest_of,
    sha256_of,
    write_crop,
)
from napari_cellsam.data.retraining.pictures import Corrected
from napari_cellsam.data.retraining.provenance import encode_cells
from napari_cellsam.data.retraining.regions import certain_region, plan_crops
from napari_cellsam.data.tiling import Region
from napari_cellsam.export.cell_set import used_labels
from napari_cellsam.export.output import make_folder, whole_file, whole_folder

__all__ = ["Draft", "draft_of", "save"]

_CELLS = "cells.json"


@dataclass(frozen=True, eq=False)
class Draft:
    """A picture that is ready to be written.

    Attributes
    ----------
    corrected
        What it is made of.
    whole
        The arrays of all of it.
    windows
        The crops that are kept.
    cells
        Content of the file with the provenance of cells.
    labels
        The cells in the crops, rising.
    pixels, content
        As of `Entry`.
    """

    corrected: Corrected
    whole: PictureContent
    windows: tuple[Region, ...]
    cells: bytes
    labels: tuple[int, ...]
    pixels: str
    content: str


def draft_of(corrected: Corrected) -> Draft:
    """Work out what is kept of a corrected picture.

    Raises
    ------
    DatasetError
        If nothing in it is certain.
    """
    verified = certain_region(corrected)
    windows = tuple(plan_crops(verified))
    labels = corrected.labels_yx
    used = np.unique(np.concatenate([used_labels(crop_of(labels, window)) for window in windows]))
    cells = encode_cells(used.tolist(), corrected.cells)
    image = corrected.image
    about = repr((image.image_id, image.pixel_size_um, image.channel_names))
    return Draft(
        corrected,
        PictureContent(image.pixels, labels, verified),
        windows,
        cells,
        tuple(used.tolist()),
        digest_of(image.pixels),
        digest_of(about, labels, verified, cells),
    )


def save(folder: Path, draft: Draft, group: str, before: Entry | None) -> Entry:
    """Write the files of a picture, all of them or none, and return its entry.

    Parameters
    ----------
    folder
        The data set.
    draft
        The picture.
    group
        Where it comes from.
    before
        The version that it replaces, whose images are used again where they are the same crops and still well.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    parents = () if before is None else (before.id, *before.parents)
    own_id = digest_of(draft.content, *parents)
    place = f"{PICTURES}/{own_id}"
    kept = _kept_images(folder, before, draft.windows)
    make_folder(folder / PICTURES)
    with whole_folder(folder / place, _CELLS, overwrite=True) as temporary:
        make_folder(temporary)
        for number, window in enumerate(draft.windows):
            content = draft.whole.crop(window)
            write_crop(temporary, number, content, draft.corrected.image, with_pixels=window not in kept)
        with whole_file(temporary / _CELLS) as cells:
            cells.write_bytes(draft.cells)
        sums = {f"{place}/{path.name}": sha256_of(path) for path in sorted(temporary.iterdir())}
    crops = _crops(place, draft.windows, kept)
    return _entry(draft, own_id, group, parents, crops, sums | dict(kept.values()))


def _crops(place: str, windows: tuple[Region, ...], kept: dict[Region, tuple[str, str]]) -> tuple[CropFiles, ...]:
    """Name the files of every crop."""
    return tuple(
        CropFiles(
            window=window,
            image=kept[window][0] if window in kept else f"{place}/image-{number}.tif",
            labels=f"{place}/labels-{number}.tif",
            verified=f"{place}/verified-{number}.tif",
        )
        for number, window in enumerate(windows)
    )


def _kept_images(folder: Path, before: Entry | None, windows: tuple[Region, ...]) -> dict[Region, tuple[str, str]]:
    """Return the image files of the version before, with their sums, that can serve again."""
    kept = {}
    for crop in before.crops if before else ():
        path, sha256 = folder / crop.image, before.files[crop.image] if before else ""
        if crop.window in windows and path.is_file() and sha256_of(path) == sha256:
            kept[crop.window] = crop.image, sha256
    return kept


def _entry(
    draft: Draft,
    own_id: str,
    group: str,
    parents: tuple[str, ...],
    crops: tuple[CropFiles, ...],
    files: dict[str, str],
) -> Entry:
    image = draft.corrected.image
    return Entry(
        id=own_id,
        pixels=draft.pixels,
        content=draft.content,
        name=draft.corrected.name,
        group=group,
        image_id=image.image_id,
        shape=image.shape,
        nuclear=image.nuclear,
        cell=image.cell,
        rgb=image.rgb,
        pixel_size_um=image.pixel_size_um,
        channel_names=image.channel_names,
        added=datetime.now(UTC).isoformat(timespec="seconds"),
        parents=parents,
        crops=crops,
        cells=f"{PICTURES}/{own_id}/{_CELLS}",
        files=files,
        n_cells=len(draft.labels),
        n_verified_px=int(np.count_nonzero(draft.whole.verified)),
    )
