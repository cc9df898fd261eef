"""The table of cells as a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.errors import OptionError
from napari_cellsam.export.cell_set import CellFacts
from napari_cellsam.export.output import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cellsam.types import Segmentation

__all__ = ["COLUMNS", "list_rows", "read_facts", "read_scores", "write_table"]

COLUMNS = (
    "label",
    "y_min",
    "x_min",
    "y_max",
    "x_max",
    "centroid_y",
    "centroid_x",
    "area_px",
    "area_um2",
    "score",
    "predicted_iou",
)
"""The columns: positions in pixels, (0, 0) the centre of the first; area in pixels and, where known, in µm²."""


def list_rows(
    result: Segmentation, pixel_size_um: tuple[float, float] | None = None
) -> Iterator[tuple[int | float | str, ...]]:
    """List the cells of a segmentation, one row of `COLUMNS` each.

    Parameters
    ----------
    result
        The cells.
    pixel_size_um
        ``(y, x)`` in micrometres; without it ``area_um2`` is empty.
    """
    n = result.n_cells
    where = np.flatnonzero(result.labels)
    label = result.labels.ravel()[where]
    y, x = np.divmod(where, result.labels.shape[1])
    area = np.bincount(label, minlength=n + 1)
    safe_area = np.maximum(area, 1)
    centre_y, centre_x = (np.bincount(label, v, minlength=n + 1) / safe_area for v in (y, x))
    pixel_um2 = None if pixel_size_um is None else pixel_size_um[0] * pixel_size_um[1]
    for i in range(n):
        pixels = int(area[i + 1])
        yield (
            i + 1,
            *(round(float(side), 3) for side in result.boxes[i]),
            round(float(centre_y[i + 1]), 3),
            round(float(centre_x[i + 1]), 3),
            pixels,
            "" if pixel_um2 is None else round(pixels * pixel_um2, 6),
            round(float(result.scores[i]), 6),
            round(float(result.predicted_iou[i]), 6),
        )


def write_table(
    path: Path, result: Segmentation, pixel_size_um: tuple[float, float] | None = None, overwrite: bool = False
) -> None:
    """Write the cells of a segmentation as CSV with a header, one row per cell.

    Parameters
    ----------
    path
        Where to write to.
    result, pixel_size_um
        As for `list_rows`.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    with (
        whole_file(Path(path), overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(list_rows(result, pixel_size_um))


def read_scores(path: Path) -> dict[int, float]:
    """Read the detector score of each label from a table that `write_table` wrote, or one with these two columns.

    Raises
    ------
    OptionError
        If the file cannot be read, or lacks the columns ``label`` and ``score``, or holds something else than numbers.
    """
    return {label: score for label, (score, _) in _read_known(path).items()}


def read_facts(path: Path) -> dict[int, CellFacts]:
    """Read what a table says of each cell that a model has found: detector score and, where it is there, predicted IoU.

    Raises
    ------
    OptionError
        As `read_scores`.
    """
    return {label: CellFacts("automatic", *known) for label, known in _read_known(path).items()}


def _read_known(path: Path) -> dict[int, tuple[float, float | None]]:
    """Return the detector score and the predicted IoU, or None, of each label."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"label", "score"} <= set(reader.fieldnames or ()):
                raise OptionError(f"{path} has no columns label and score; its columns are {reader.fieldnames}")
            return {int(row["label"]): (float(row["score"]), _share(row.get("predicted_iou"))) for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"the scores in {path} cannot be read: {error}") from error
    except (TypeError, ValueError) as error:
        raise OptionError(f"{path} is no table with numbers in the columns label and score: {error!r}") from error


def _share(text: str | None) -> float | None:
    """Return a number of 0 to 1; None for any other, and where there is none."""
    number = float(text) if text else None
    return number if number is None or 0 <= number <= 1 else None  # networks that predict it may go beyond
