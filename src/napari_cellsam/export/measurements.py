"""The table of measurements of cells, as CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_cellsam.errors import OutputError
from napari_cellsam.export.cell_set import CellSet, used_labels
from napari_cellsam.export.facts import describe
from napari_cellsam.export.output import whole_file
from napari_cellsam.export.shapes import measure_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["tabulate", "write_columns", "write_csv", "write_parquet"]

_ROWS = 512  # measured together

_tables: WeakKeyDictionary[CellSet, dict[str, list[Any]]] = WeakKeyDictionary()


def tabulate(cells: CellSet) -> dict[str, list[Any]]:
    """Measure every cell, and put what is known of it beside: columns by name, one row per cell.

    Parameters
    ----------
    cells
        The cells.

    Returns
    -------
    dict
        ``plane`` for stacks, ``label``, place, area, shape (`measure_shapes`) and intensities, ``origin``,
        ``detector_score`` and ``predicted_iou``; None where something is not known.
    """
    columns: dict[str, list[Any]] = {}
    n_rows = 0
    for plane, labels in cells.planes():
        measured = _measure(labels, cells, plane)
        known = [describe(cells.facts_of(plane, label)) for label in measured["label"]]
        if cells.axis:
            measured = {"plane": [plane] * len(known), **measured}
        for name in ("origin", "detector_score", "predicted_iou"):
            measured[name] = [facts.get(name) for facts in known]
        for name in {**columns, **measured}:  # planes may have other channels than those before
            columns.setdefault(name, [None] * n_rows).extend(measured.get(name, [None] * len(known)))
        n_rows += len(known)
    return columns


def _table_of(cells: CellSet) -> dict[str, list[Any]]:
    """Return the columns, measured once for all formats that want them."""
    if cells not in _tables:
        _tables[cells] = tabulate(cells)
    return _tables[cells]


def _measure(labels: NDArray[np.uint32], cells: CellSet, plane: int) -> dict[str, list[Any]]:
    """Measure the cells of one plane: place, area, shape, intensity per channel."""
    used = used_labels(labels)
    pixels = cells.images[plane].pixels if cells.images else np.zeros((*labels.shape, 0), np.uint8)
    sums = np.zeros((3 + pixels.shape[2], len(used)))  # pixels, y, x, and each channel
    for top in range(0, labels.shape[0], _ROWS):
        rows = labels[top : top + _ROWS]
        where = np.flatnonzero(rows)
        index = np.searchsorted(used, rows.ravel()[where])
        y, x = np.divmod(where, labels.shape[1])
        channels = pixels[top : top + _ROWS].reshape(rows.size, -1)[where].T
        for row, weights in enumerate((None, y + top, x, *channels)):
            sums[row] += np.bincount(index, weights, len(used))
    area = sums[0].astype(np.int64)
    means = sums[1:] / np.maximum(area, 1)
    columns: dict[str, list[Any]] = {
        "label": used.tolist(),
        "centroid_y": means[0].round(3).tolist(),
        "centroid_x": means[1].round(3).tolist(),
        "area_px": area.tolist(),
    }
    if cells.pixel_size_um is not None:
        columns["area_um2"] = (area * float(np.prod(cells.pixel_size_um))).round(6).tolist()
    shapes = measure_shapes(labels, used, area, means[:2], cells.pixel_size_um)
    columns |= {name: values.tolist() for name, values in shapes.items()}
    titles = cells.images[plane].channel_titles if cells.images else ()
    for title, values in zip(titles, means[2:], strict=True):
        columns[f"mean_intensity_{title}"] = values.round(4).tolist()
    return columns


def write_csv(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write the table as CSV with a header; what is not known is empty.

    Parameters
    ----------
    path
        Where to write to.
    cells
        The cells.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    write_columns(path, _table_of(cells), overwrite)


def write_columns(path: Path, columns: Mapping[str, Sequence[Any]], overwrite: bool = False) -> None:
    """Write columns of equal length as CSV with a header; None is empty.

    Parameters
    ----------
    path
        Where to write to.
    columns
        By name.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    with whole_file(path, overwrite) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_parquet(path: Path, cells: CellSet, overwrite: bool = False) -> None:
    """Write the table as Parquet; the parameters are those of `write_csv`.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written, or pyarrow is not installed.
    """
    try:
        from pyarrow import parquet, table
    except ImportError as error:
        raise OutputError("Parquet needs pyarrow: pip install napari-cellsam[parquet], or export CSV") from error
    columns = _table_of(cells)
    with whole_file(path, overwrite) as temporary:
        parquet.write_table(table(_typed(columns)), temporary)


def _typed(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return columns with a type each, also where no row tells it."""
    from pyarrow import array, float64, string, uint32

    kinds = {"label": uint32(), "plane": uint32(), "area_px": uint32(), "origin": string()}
    return {name: array(values, kinds.get(name, float64())) for name, values in columns.items()}
