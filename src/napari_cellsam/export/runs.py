"""The runs of pixels that cells are made of, found in label images and painted into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Runs", "find_runs", "paint_runs"]

_PIXELS = 2**24  # painted together
_COLUMNS = 1024  # of the image, looked at together


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of pixels of one cell each.

    Attributes
    ----------
    labels
        ``(R,)`` uint32, the cell of each run.
    starts
        ``(R,)`` int64, the first pixel of each, counted through the image.
    lengths
        ``(R,)`` int64, in pixels.
    """

    labels: NDArray[np.uint32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def find_runs(labels: NDArray[np.uint32]) -> Runs:
    """Find the runs of every cell down the columns, which is how COCO counts pixels.

    Parameters
    ----------
    labels
        ``(Y, X)``, 0 background.

    Returns
    -------
    Runs
        By rising label, then down the first column, the second, and so on; a run ends with its column.
    """
    height = labels.shape[0]
    owners, starts, lengths = [], [], []
    for left in range(0, labels.shape[1], _COLUMNS):
        columns = np.ascontiguousarray(labels[:, left : left + _COLUMNS].T)
        begins = np.ones(columns.shape, bool)
        np.not_equal(columns[:, 1:], columns[:, :-1], out=begins[:, 1:])
        start = np.flatnonzero(begins)
        length = np.diff(start, append=columns.size)
        owner = columns.ravel()[start]
        cell = owner > 0
        owners.append(owner[cell])
        starts.append(start[cell] + left * height)
        lengths.append(length[cell])
    all_owners = np.concatenate(owners)
    rank = np.argsort(all_owners, kind="stable")
    return Runs(all_owners[rank], np.concatenate(starts)[rank], np.concatenate(lengths)[rank])


def paint_runs(runs: Runs, canvas: NDArray[np.uint32]) -> None:
    """Paint runs into a label image, row by row; where they overlap, the later one stays.

    Parameters
    ----------
    runs
        Pixels counted along the rows of the canvas.
    canvas
        ``(Y, X)``, C-contiguous; changed in place.
    """
    flat = canvas.reshape(-1)
    for part in _parts(runs.lengths):
        lengths = runs.lengths[part]
        offsets = np.cumsum(lengths) - lengths
        flat[np.repeat(runs.starts[part] - offsets, lengths) + np.arange(int(lengths.sum()))] = np.repeat(
            runs.labels[part], lengths
        )


def _parts(lengths: NDArray[Any]) -> Iterator[slice]:
    """Cut runs into parts of a bounded number of pixels."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(ends):
        done = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _PIXELS, side="right")))
        yield slice(first, last)
        first = last
