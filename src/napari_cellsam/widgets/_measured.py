"""The measurements of the cells of a labels layer, by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_cellsam.editing.edits import Plane

__all__ = ["CellKey", "Measurements"]

CellKey = tuple[Plane, int]
"""A cell: where in the stack, and its number."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured of cells; never changed, another one takes its place.

    Attributes
    ----------
    names
        Of the columns.
    rows
        A value for each of them, by cell.
    """

    names: tuple[str, ...] = ()
    rows: Mapping[CellKey, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, planes: Mapping[Plane, Mapping[str, np.ndarray[Any, Any]]]) -> Measurements:
        """Return what `napari_cellsam.measure.measure_cells` gave for some planes."""
        names = tuple(dict.fromkeys(name for columns in planes.values() for name in columns if name != "label"))
        rows = {}
        for plane, columns in planes.items():
            nothing = [float("nan")] * len(columns["label"])
            values = [columns[name].tolist() if name in columns else nothing for name in names]
            rows.update({(plane, label): row for label, *row in zip(columns["label"].tolist(), *values, strict=True)})
        return cls(names, {key: tuple(row) for key, row in rows.items()})

    def without(self, keys: Iterable[CellKey]) -> Measurements:
        """Return them without some cells; itself where it has none of these."""
        gone = [key for key in keys if key in self.rows]
        if not gone:
            return self
        rows = dict(self.rows)
        for key in gone:
            del rows[key]
        return Measurements(self.names, rows)

    def columns_of(self, keys: Iterable[CellKey]) -> dict[str, list[Any]]:
        """Return the columns, with a row for each of some cells; NaN for what was not measured."""
        nothing = (float("nan"),) * len(self.names)
        rows = [self.rows.get(key, nothing) for key in keys]
        return {name: [row[place] for row in rows] for place, name in enumerate(self.names)}
