"""The verified regions: where a person says that every cell is outlined, so what is no cell is background."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.edits import CropEdit, Plane, edit_between

__all__ = ["VerifiedRegions"]

Bools = NDArray[np.bool_]


class VerifiedRegions:
    """The verified pixels of each plane of a label image.

    Parameters
    ----------
    shape
        ``(Y, X)`` of a plane.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._planes: dict[Plane, NDArray[np.uint32]] = {}

    def of(self, plane: Plane) -> Bools:
        """Return the verified pixels ``(Y, X)`` of a plane."""
        there = self._planes.get(plane)
        return np.zeros(self._shape, bool) if there is None else there > 0

    def any(self, plane: Plane) -> bool:
        """Return whether something of a plane is verified."""
        there = self._planes.get(plane)
        return there is not None and bool(there.any())

    def changed(self, plane: Plane, region: tuple[slice, slice], inside: Bools, *, verified: bool) -> CropEdit | None:
        """Return the edit that marks pixels as verified, or no longer so; None if they are already.

        Parameters
        ----------
        plane
            Where in the stack.
        region
            Rows and columns of a crop.
        inside
            ``(h, w)`` pixels of the crop.
        verified
            What they are from now on.
        """
        before = self.of(plane)[region].astype(np.uint32)
        after = np.where(inside, np.uint32(verified), before)
        return edit_between(plane, (region[0].start, region[1].start), before, after)

    def apply(self, marks: Iterable[CropEdit]) -> None:
        """Mark pixels."""
        for mark in marks:
            there = self._planes.setdefault(mark.plane, np.zeros(self._shape, np.uint32))
            there[mark.rows, mark.columns] = mark.after
