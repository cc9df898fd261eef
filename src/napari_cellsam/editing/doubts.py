"""The doubts about cells: which of them a person should look at first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import ImageShapeError

__all__ = ["CellMeasure", "doubt_of", "jittered", "measure_cells", "oddness_of"]

_ODD_FROM, _ODD_TO = 2.0, 5.0  # robust standard deviations between which a size or shape becomes odd
_LEAST_SPREAD = 0.15  # of the logarithm of areas, so that equal cells do not all look odd
_ODD_WEIGHT = 0.5  # of confidence that the oddest shape costs
_LEAST = 1e-3  # confidence
_BY_HAND = 0.9  # confidence in what a person pointed at or painted, where no model spoke


@dataclass(frozen=True)
class CellMeasure:
    """What can be seen of a cell at a glance.

    Attributes
    ----------
    label
        Its number.
    window
        ``(y0, x0, y1, x1)`` around it in pixels, the last row and column excluded.
    area
        Pixels.
    fullness
        Share of the window that it fills, 0 to 1.
    touches_border
        Whether it reaches the border of the picture.
    """

    label: int
    window: tuple[int, int, int, int]
    area: int
    fullness: float
    touches_border: bool

    @property
    def centre(self) -> tuple[float, float]:
        """``(y, x)`` middle of the window."""
        y0, x0, y1, x1 = self.window
        return (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2


def measure_cells(labels: NDArray[np.integer[Any]]) -> dict[int, CellMeasure]:
    """Return the measures of all cells of a picture by number.

    Parameters
    ----------
    labels
        ``(Y, X)``; 0 is background.

    Raises
    ------
    ImageShapeError
        If it is not a picture.
    """
    from scipy import ndimage

    from napari_cellsam.labels import relabel_sequential

    if labels.ndim != 2:
        raise ImageShapeError(f"got labels of shape {labels.shape}; expected (Y, X)")
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    dense = relabel_sequential(labels).astype(np.int32)
    areas = np.bincount(dense.ravel(), minlength=len(numbers) + 1)[1:]
    result = {}
    for label, area, (rows, columns) in zip(numbers.tolist(), areas.tolist(), ndimage.find_objects(dense), strict=True):
        window = (rows.start, columns.start, rows.stop, columns.stop)
        fullness = area / ((rows.stop - rows.start) * (columns.stop - columns.start))
        border = min(window[:2]) == 0 or rows.stop == labels.shape[0] or columns.stop == labels.shape[1]
        result[label] = CellMeasure(label, window, area, fullness, border)
    return result


def doubt_of(record: CellRecord | None, oddness: float = 0.0, stability: float | None = None) -> float:
    """Return how doubtful a cell is, 0 to 1.

    Confidence is the geometric mean of what is known of the detector's score, the predicted IoU and the stability. An
    odd size or shape takes up to half of it away.

    Parameters
    ----------
    record
        What is known of the cell; None if another tool made it.
    oddness
        As from `oddness_of`.
    stability
        IoU of the cell with what the model answers to boxes a little beside its own; None where it was not asked.
    """
    scores = (stability,) if record is None else (record.detector_score, record.predicted_iou, stability)
    known = [math.log(min(max(value, _LEAST), 1)) for value in scores if value is not None]
    confidence = math.exp(sum(known) / len(known)) if known else _BY_HAND
    return 1 - confidence * (1 - _ODD_WEIGHT * oddness)


def oddness_of(measures: Mapping[int, CellMeasure]) -> dict[int, float]:
    """Return how far size or shape of each cell are from the median of all, 0 to 1.

    Cells at the border of the picture are cut, and their size says nothing.

    Parameters
    ----------
    measures
        Of a picture, by number.
    """
    result = dict.fromkeys(measures, 0.0)
    inner = [m for m in measures.values() if not m.touches_border]
    if not inner:
        return result
    odd = np.zeros(len(inner))
    for values in (np.log([m.area for m in inner]), np.log([m.fullness for m in inner])):
        middle = np.median(values)
        spread = max(1.4826 * float(np.median(np.abs(values - middle))), _LEAST_SPREAD)
        odd = np.maximum(odd, (np.abs(values - middle) / spread - _ODD_FROM) / (_ODD_TO - _ODD_FROM))
    return result | {m.label: float(value) for m, value in zip(inner, np.clip(odd, 0, 1), strict=True)}


def jittered(window: tuple[int, int, int, int], share: float = 0.1) -> NDArray[np.float32]:
    """Return boxes ``(4, 4)`` beside the one around a cell: each moved by a share of its size in another direction.

    Parameters
    ----------
    window
        ``(y0, x0, y1, x1)``, the last row and column excluded.
    share
        How far, of height and width.
    """
    y0, x0, y1, x1 = window
    box = np.array([y0, x0, y1 - 1, x1 - 1], np.float32)
    dy, dx = share * (y1 - y0), share * (x1 - x0)
    shifts = np.array([[-dy, 0, -dy, 0], [dy, 0, dy, 0], [0, -dx, 0, -dx], [0, dx, 0, dx]], np.float32)
    return np.asarray(box + shifts)
