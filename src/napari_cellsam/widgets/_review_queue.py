"""What a review knows of cells, and where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.editing.doubts import CellMeasure, measure_cells, oddness_of
from napari_cellsam.editing.edits import Plane
from napari_cellsam.editing.records import CellRecord

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._layers import LabelsTarget
    from napari_cellsam.widgets._review_filter import ReviewFilter

__all__ = ["Entry", "Key", "Seen", "are_more", "pixel_of", "seen_in"]

Key = tuple[Plane, int]
"""Plane and number of a cell."""


@dataclass(frozen=True)
class Seen:
    """What is known of a cell from the picture alone."""

    plane: Plane
    measure: CellMeasure
    oddness: float

    @property
    def key(self) -> Key:
        """Which cell it is."""
        return self.plane, self.measure.label


@dataclass(frozen=True)
class Entry:
    """A cell that is to be looked at, and how doubtful it is, 0 to 1."""

    plane: Plane
    measure: CellMeasure
    doubt: float

    @property
    def key(self) -> Key:
        """Which cell it is."""
        return self.plane, self.measure.label


def seen_in(target: LabelsTarget, planes: Sequence[Plane], call: Call) -> list[Seen]:
    """Look at all cells of some planes; may be called in another thread."""
    found: list[Seen] = []
    for plane in planes:
        if call.cancelled:
            break
        measures = measure_cells(np.asarray(target.layer.data[plane]))
        found += [Seen(plane, measures[label], odd) for label, odd in oddness_of(measures).items()]
    return found


def pixel_of(target: LabelsTarget, entry: Entry) -> tuple[float, float] | None:
    """Return a pixel of a cell; None if it is gone."""
    y0, x0, y1, x1 = entry.measure.window
    crop: Any = target.read(entry.plane, (slice(y0, y1), slice(x0, x1)))
    rows, columns = np.nonzero(crop == entry.measure.label)
    if len(rows) == 0:
        return None
    middle = len(rows) // 2
    return float(y0 + rows[middle]), float(x0 + columns[middle])


def are_more(cells: Iterable[CellRecord], queue: Iterable[Entry], seen: Iterable[Seen], chosen: ReviewFilter) -> bool:
    """Return whether cells are to be looked at that are not in a queue: new ones, and those that changed since.

    Parameters
    ----------
    cells
        All that something is known of.
    queue
        The cells in order.
    seen
        Those that were there when the order was made.
    chosen
        Which cells are looked at.
    """
    queued, measures = {entry.key for entry in queue}, {each.key: each.measure for each in seen}
    others = ((record, measures.get(_key(record))) for record in cells if _key(record) not in queued)
    return any(
        chosen.lets_record(record) if measure is None else chosen.lets(measure, record) for record, measure in others
    )


def _key(record: CellRecord) -> Key:
    return record.plane, record.label
