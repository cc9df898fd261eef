"""The facts about cells as plain values, for the files that have room for them."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from napari_cellsam.errors import OptionError
from napari_cellsam.export.cell_set import CellFacts, CellSet

__all__ = ["ABOUT", "about", "describe", "facts_from", "name_from", "name_of", "pixel_size_from", "stem_of"]

_ENDINGS = (".ome.tif", ".ome.tiff", ".ome.zarr")
ABOUT = "napari_cellsam"
"""The key of what only we read."""


def about(cells: CellSet) -> dict[str, Any]:
    """Return what a reader of ours needs beside the cells: name, shape, axis and pixel size."""
    return {"name": cells.name, "shape": cells.labels.shape, "axis": cells.axis, "pixel_size_um": cells.pixel_size_um}


def describe(facts: CellFacts) -> dict[str, str | float]:
    """Return what is known of a cell; nothing for what is not."""
    values = {
        "origin": facts.origin or None,
        "detector_score": facts.detector_score,
        "predicted_iou": facts.predicted_iou,
    }
    return {name: value for name, value in values.items() if value is not None}


def stem_of(path: Path) -> str:
    """Return the name of an image's file without its ending, which may be one of two parts; other dots are kept."""
    ending = next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), path.suffix)
    return path.name[: len(path.name) - len(ending)]


def name_of(path: Path) -> str:
    """Return what the cells of a file are of: its name without ending, and without what tools add."""
    return stem_of(path).removesuffix("_labels").removesuffix("_cp_masks")


def name_from(value: Any, path: Path) -> str:
    """Return the name that a file gives its cells, or else the file's own."""
    return value if isinstance(value, str) and value.strip() else name_of(path)


def facts_from(values: Mapping[str, Any]) -> CellFacts:
    """Return the facts among the values of a cell; what is of a wrong type or out of range counts as not known."""

    def share(name: str) -> float | None:
        value = values.get(name)
        return float(value) if isinstance(value, (int, float)) and 0 <= value <= 1 else None

    origin = values.get("origin")
    return CellFacts(origin if isinstance(origin, str) else "", share("detector_score"), share("predicted_iou"))


def pixel_size_from(value: Any) -> tuple[float, float] | None:
    """Return the pixel size that `about` gave, or None where there is none or a size is no length, such as 0.

    Raises
    ------
    OptionError
        If it is no two numbers.
    """
    if value is None:
        return None
    try:
        y, x = map(float, value)
    except (TypeError, ValueError) as error:
        raise OptionError(f"the pixel size is {value!r}; expected two numbers") from error
    return (y, x) if 0 < y < inf and 0 < x < inf else None
