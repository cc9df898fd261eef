"""Corrected pictures, small and each of its own content."""

from __future__ import annotations

import numpy as np

from napari_cellsam.data.retraining.pictures import Corrected
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.types import Image, Prompt

SHAPE = (40, 50)


def picture_of(number, *, verified="all", group=None, split=None, name=None, moved=0, shape=SHAPE):
    """Return a picture of three cells: 2 found by the model, 5 prompted, 2**32 - 1 drawn by hand."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 2**16, (*shape, 3)).astype(np.uint16)
    labels = np.zeros(shape, np.uint32)
    labels[4:14, 4 + moved : 14 + moved] = 2
    labels[4:14, 26:36] = 5
    labels[22:32, 10:20] = 2**32 - 1
    records = (
        CellRecord(2, (), "automatic", 0.8, 0.9),
        CellRecord(5, (3,), "prompted", None, 0.7, (Prompt(inside=[(9, 30)], outside=[(1, 1)], box=(4, 26, 13, 35)),)),
    )
    image = Image.from_array(pixels, nuclear=2, cell=0, pixel_size_um=(0.5, 0.25))
    region = {"all": np.ones(shape, bool), "none": None}[verified]
    return Corrected(image, labels, region, records, name or f"p{number}.tif", group, split)


def state_of(folder):
    """Return the bytes of every file, by name; without the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".dataset.lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
