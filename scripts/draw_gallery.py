"""Draw docs/images/segment.png: sample pictures as they are, and with the cells that the compact model outlines."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import napari_cellsam as ncs
from napari_cellsam.export.overlay import save_overlay

_SAMPLES = ("fluorescent_nuclei", "fluorescent_cells", "phase_yeast", "phase_rods", "histology")
_SIDE = 256
_GAP = 4


def main() -> None:
    """Draw the picture."""
    import imageio.v3 as iio

    model = ncs.load_model("compact")
    out = Path(__file__).resolve().parents[1] / "docs" / "images" / "segment.png"
    columns: list[NDArray[Any]] = []
    for name in _SAMPLES:
        image = ncs.load_sample(name)
        labels = model.segment(image).labels
        pair = []
        with tempfile.TemporaryDirectory() as folder:
            for number, shown in enumerate((np.zeros_like(labels), labels)):
                save_overlay(Path(folder) / f"{number}.png", image, shown)
                pair.append(_square(iio.imread(Path(folder) / f"{number}.png")))
        columns.append(np.concatenate((pair[0], np.full((_GAP, _SIDE, 3), 255, np.uint8), pair[1])))
    gap = np.full((columns[0].shape[0], _GAP, 3), 255, np.uint8)
    parts = [part for column in columns for part in (column, gap)][:-1]
    iio.imwrite(out, np.concatenate(parts, 1))


def _square(picture: NDArray[Any]) -> NDArray[Any]:
    """Return the middle of a picture ``(Y, X, 3)``."""
    y, x = ((n - _SIDE) // 2 for n in picture.shape[:2])
    return picture[y : y + _SIDE, x : x + _SIDE, :3]


if __name__ == "__main__":
    main()
