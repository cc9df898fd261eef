"""Print whether a model's scores mean what they say.

Usage: python benchmarks/accuracy/calibration.py FOLDER [--model compact] [--split val] [--iou 0.6]

FOLDER is a data set as `napari-cellsam train` takes it. Cells are found with a low cut of their score, so that doubtful
ones are seen too, and sorted by the score as the model gives it, and by the predicted IoU. The score is the detector's,
or of detector and predicted IoU where weights that join them were fitted (`CellScore`). Printed are, for each tenth of
a score's range: how many cells have it, their mean score, and the share of them that are right (that have an IoU of at
least 0.6 with a true cell of their own); and the expected calibration error (Guo et al., ICML 2017). For the predicted
IoU, the column holds the mean of the true one instead, 0 for cells that are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from napari_cellsam.data.dataset import list_entries
from napari_cellsam.engine import load_model
from napari_cellsam.training.validation import scored_cells

_N_BINS = 10

Floats = NDArray[np.floating]


def table(title: str, scores: Floats, right: Floats) -> str:
    """Return a reliability table, and the expected calibration error."""
    lines = [f"{title}", f"{'from':>6}{'cells':>8}{'mean':>8}{'right':>8}"]
    error = 0.0
    bins = np.minimum((scores * _N_BINS).astype(int), _N_BINS - 1)
    for i in range(_N_BINS):
        inside = bins == i
        if inside.any():
            mean, share = float(scores[inside].mean()), float(right[inside].mean())
            error += abs(mean - share) * inside.mean()
            lines.append(f"{i / _N_BINS:6.1f}{inside.sum():8}{mean:8.3f}{share:8.3f}")
    return "\n".join([*lines, f"expected calibration error {error:.3f}", ""])


def main(
    folder: Path,
    model: str = "compact",
    split: str = "val",
    device: str = "auto",
    iou: Annotated[float, typer.Option(help="From which a cell is right.")] = 0.6,
) -> None:
    """Print the tables, over all cells."""
    score, quality, true = scored_cells(load_model(model, device), list_entries(folder, split))
    right = (true >= iou).astype(float)
    print(table("score of the cell", score, right))
    print(table("predicted IoU, beside the true one", quality, true))


if __name__ == "__main__":
    typer.run(main)
