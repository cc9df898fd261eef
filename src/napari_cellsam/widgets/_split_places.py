"""Where a cell is split: between two answers of the model, or along a line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.types import Mask
from napari_cellsam.widgets._rewriting import Corner

__all__ = ["along", "landscape"]


def landscape(masks: Sequence[Mask], shape: tuple[int, ...], corner: Corner) -> NDArray[np.float64] | None:
    """Return how sure the model is of either part, ``(h, w)``; None if it does not say."""
    result = np.zeros(shape)
    if any(mask.probability is None or mask.area == 0 for mask in masks):
        return None
    for mask in masks:
        top, left = (int(n) for n in np.array(mask.corner) - corner)
        height, width = mask.crop.shape
        rows, columns = (slice(max(start, 0), max(start + n, 0)) for start, n in ((top, height), (left, width)))
        part = np.asarray(mask.probability, float)[max(-top, 0) :, max(-left, 0) :]
        there = result[rows, columns]
        there[...] = np.maximum(there, part[: there.shape[0], : there.shape[1]])
    return result


def along(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places along a line, less than a pixel apart."""
    parts = [line[:1]]
    for start, end in pairwise(line):
        n = int(np.ceil(np.abs(end - start).max() * 2)) + 1
        parts.append(np.linspace(start, end, n + 1)[1:])
    return np.concatenate(parts)
