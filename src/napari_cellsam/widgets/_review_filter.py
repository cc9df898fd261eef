"""The filter of a review, and its count."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from napari_cellsam.editing.doubts import CellMeasure
from napari_cellsam.editing.records import CellRecord, Origin

__all__ = ["ReviewFilter", "Reviewed", "per_minute"]

_PACE_S = 120.0  # over which the pace is told


@dataclass(frozen=True)
class ReviewFilter:
    """Which cells are looked at.

    Attributes
    ----------
    origins
        Where they come from.
    min_area, max_area
        Pixels; no limit where None.
    border
        Only cells that touch the border of the picture (True), only others (False), or both (None).
    reviewed
        Whether those that were found right are looked at again.
    """

    origins: tuple[Origin, ...] = get_args(Origin)
    min_area: int | None = None
    max_area: int | None = None
    border: bool | None = None
    reviewed: bool = False

    def lets(self, measure: CellMeasure, record: CellRecord) -> bool:
        """Return whether a cell is looked at."""
        return (
            self.lets_record(record)
            and (self.min_area is None or measure.area >= self.min_area)
            and (self.max_area is None or measure.area <= self.max_area)
            and (self.border is None or measure.touches_border == self.border)
        )

    def lets_record(self, record: CellRecord) -> bool:
        """Return whether a cell is looked at, as far as size and place do not matter."""
        return record.origin in self.origins and (self.reviewed or not record.reviewed)


@dataclass(frozen=True)
class Reviewed:
    """How far a review is.

    Attributes
    ----------
    n_reviewed, n_cells
        Cells that were found right, and all.
    n_left
        Cells that are still to be looked at, as the filter lets.
    per_minute
        Cells that were decided on in the last minutes; None before the second one.
    """

    n_reviewed: int
    n_cells: int
    n_left: int
    per_minute: float | None


def per_minute(times: Iterable[float]) -> float | None:
    """Return how many cells a minute were decided on lately; None before the second one.

    Parameters
    ----------
    times
        When each was, by `time.monotonic`.
    """
    now = time.monotonic()
    recent = [t for t in times if now - t <= _PACE_S]
    if len(recent) < 2:
        return None
    return 60 * (len(recent) - 1) / max(recent[-1] - recent[0], 1e-3)
