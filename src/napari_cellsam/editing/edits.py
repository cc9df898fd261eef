"""The edit: pixels of a label image that change their number, and back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.errors import ImageShapeError

__all__ = ["CropEdit", "Plane", "can_hold", "edit_between", "erase", "place"]

Plane = tuple[int, ...]
"""Position of a ``(Y, X)`` picture in a stack: one index per leading axis; empty for a single picture."""

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class CropEdit:
    """Pixels of one plane that change.

    Attributes
    ----------
    plane
        Where in the stack.
    rows, columns
        ``(n,)`` int32 pixels.
    before, after
        ``(n,)`` numbers, or one for all.
    """

    plane: Plane
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    before: NDArray[np.uint32]
    after: NDArray[np.uint32]

    @property
    def n_bytes(self) -> int:
        """Memory that the edit holds."""
        return sum(part.nbytes for part in (self.rows, self.columns, self.before, self.after))

    @property
    def indices(self) -> tuple[NDArray[np.intp], ...]:
        """Index arrays ``(n,)``, one per axis of the stack."""
        leading = [np.full(len(self.rows), position, np.intp) for position in self.plane]
        return (*leading, self.rows.astype(np.intp), self.columns.astype(np.intp))

    def inverse(self) -> CropEdit:
        """Return the edit that takes this one back."""
        return replace(self, before=self.after, after=self.before)

    def where_expected(self, current: Labels) -> CropEdit:
        """Return the part whose pixels still have the numbers that the edit expects.

        Parameters
        ----------
        current
            ``(n,)`` numbers at the edit's pixels now. What something else has changed since is left alone.
        """
        same = current == self.before
        if same.all():
            return self

        def part(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
            return values if values.size == 1 else values[same]

        return CropEdit(self.plane, self.rows[same], self.columns[same], part(self.before), part(self.after))

    def labels(self) -> set[int]:
        """Return the cells that gain or lose pixels."""
        return {int(n) for values in (self.before, self.after) for n in np.unique(values)} - {0}


def edit_between(plane: Plane, corner: tuple[int, int], before: Labels, after: Labels) -> CropEdit | None:
    """Return the edit that turns one crop into another; None if they are equal.

    Parameters
    ----------
    plane
        Where in the stack.
    corner
        ``(y, x)`` of the crops' first pixel.
    before, after
        ``(h, w)`` numbers of cells.
    """
    if before.shape != after.shape or before.ndim != 2:
        raise ImageShapeError(f"got crops of shapes {before.shape} and {after.shape}; expected two of one (h, w)")
    rows, columns = np.nonzero(before != after)
    if len(rows) == 0:
        return None
    return CropEdit(
        plane,
        (rows + corner[0]).astype(np.int32),
        (columns + corner[1]).astype(np.int32),
        _shortest(before[rows, columns]),
        _shortest(after[rows, columns]),
    )


def can_hold(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which numbers an edit can hold: 0 to 2**32 - 1, all that unsigned integers of 32 bits can be."""
    if np.can_cast(values.dtype, np.uint32):
        return np.ones(values.shape, bool)
    return (values >= 0) & (values <= np.iinfo(np.uint32).max)


def place(under: Labels, inside: NDArray[np.bool_], label: int, *, replaceable: Collection[int] = ()) -> Labels:
    """Return a crop with a cell put where there is background.

    Parameters
    ----------
    under
        ``(h, w)`` numbers of the cells that are there.
    inside
        ``(h, w)`` pixels of the new cell.
    label
        Its number.
    replaceable
        Numbers of cells whose pixels it may take as well; other cells lose nothing.
    """
    free = under == 0
    if replaceable:
        free |= np.isin(under, list(replaceable))
    result = under.copy()
    result[inside & free] = label
    return result


def erase(under: Labels, label: int) -> Labels:
    """Return a crop ``(h, w)`` without a cell."""
    return np.where(under == label, 0, under).astype(under.dtype)


def _shortest(values: Labels) -> NDArray[np.uint32]:
    """Return the values as uint32, as one value where all are equal."""
    if (values == values[0]).all():
        values = values[:1]
    return values.astype(np.uint32)
