"""What cells know of themselves, as the features of their labels layer, and their colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cellsam.widgets._records import CellTable

__all__ = ["ColourBy", "colour", "table_of"]

ColourBy = Literal["label", "origin", "detector_score", "predicted_iou"]

_ORIGIN_COLOURS = {
    "automatic": (0.30, 0.69, 0.95, 1.0),
    "prompted": (0.99, 0.75, 0.18, 1.0),
    "edited": (0.87, 0.38, 0.73, 1.0),
    "manual": (0.45, 0.83, 0.45, 1.0),
}
_UNKNOWN = (0.6, 0.6, 0.6, 1.0)
_COLUMNS = ("index", "plane", "origin", "detector_score", "predicted_iou", "n_prompts")


def table_of(cells: CellTable) -> dict[str, list[Any]]:
    """Return the features of all cells, one row a cell; ``index`` is the cell's number, as napari wants it."""
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for record in sorted(cells, key=lambda r: (r.label, r.plane)):
        row = (
            record.label,
            " ".join(map(str, record.plane)),
            record.origin,
            np.nan if record.detector_score is None else record.detector_score,
            np.nan if record.predicted_iou is None else record.predicted_iou,
            len(record.prompts),
        )
        for name, value in zip(_COLUMNS, row, strict=True):
            columns[name].append(value)
    return columns


def colour(layer: Labels, cells: CellTable, by: ColourBy) -> None:
    """Colour a labels layer by what its cells know; ``"label"`` gives each a colour of its own."""
    from napari.utils.colormaps import DirectLabelColormap, label_colormap

    if by == "label":
        layer.colormap = label_colormap()
        return
    colours: dict[int | None, Any] = {None: _UNKNOWN, 0: (0.0, 0.0, 0.0, 0.0)}
    for record in cells:
        if by == "origin":
            colours[record.label] = _ORIGIN_COLOURS[record.origin]
        else:
            value = getattr(record, by)
            colours[record.label] = _UNKNOWN if value is None else (1.0 - value, value, 0.25, 1.0)  # red to green
    layer.colormap = DirectLabelColormap(color_dict=colours)
