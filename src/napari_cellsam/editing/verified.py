"""The verified regions: where a person says that every cell is outlined, so what is no cell is background."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.edits import Plane

__all__ = ["Mark", "VerifiedRegions"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mark:
    """Pixels of one plane that become verified, or no longer are; few bytes, also for a whole plane.

    Attributes
    ----------
    plane
        Where in the stack.
    runs
        ``(3, n)`` int32: first row, first column and length of each run of pixels along a row.
    verified
        What they are from now on, and were not before.
    """

    plane: Plane
    runs: NDArray[np.int32]
    verified: bool

    @classmethod
    def of(cls, plane: Plane, corner: tuple[int, int], pixels: Bools, *, verified: bool) -> Mark:
        """Return the mark of the pixels of a crop ``(h, w)``, whose first one is at ``corner``."""
        edges = np.diff(np.pad(pixels, ((0, 0), (1, 1))).view(np.int8), axis=1)
        rows, columns = np.nonzero(edges)  # where runs begin and end, by turns
        begins, ends = columns[::2], columns[1::2]
        runs = np.stack([rows[::2] + corner[0], begins + corner[1], ends - begins])
        return cls(plane, runs.astype(np.int32), verified)

    @property
    def n_bytes(self) -> int:
        """Memory that the mark holds."""
        return self.runs.nbytes

    def inverse(self) -> Mark:
        """Return the mark that takes this one back."""
        return replace(self, verified=not self.verified)

    def write(self, pixels: NDArray[np.bool_] | NDArray[np.uint8]) -> None:
        """Mark pixels ``(Y, X)`` of the plane.

        Raises
        ------
        IndexError
            If there are no such pixels.
        """
        rows, columns, lengths = self.runs.astype(np.int64)
        fits = (rows >= 0) & (rows < pixels.shape[0]) & (columns >= 0) & (columns + lengths <= pixels.shape[1])
        if not fits.all():
            raise IndexError(f"a mark goes beyond {pixels.shape[0]} x {pixels.shape[1]} pixels")
        for row, column, length in zip(rows.tolist(), columns.tolist(), lengths.tolist(), strict=True):
            pixels[row, column : column + length] = self.verified


class VerifiedRegions:
    """The verified pixels of each plane of a label image.

    Parameters
    ----------
    shape
        ``(Y, X)`` of a plane.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._planes: dict[Plane, Bools] = {}

    def of(self, plane: Plane) -> Bools:
        """Return the verified pixels ``(Y, X)`` of a plane."""
        there = self._planes.get(plane)
        return np.zeros(self._shape, bool) if there is None else there.copy()

    def read(self, plane: Plane, region: tuple[slice, slice]) -> Bools:
        """Return the verified pixels ``(h, w)`` of a crop: rows and columns of a plane."""
        there = self._planes.get(plane)
        if there is None:
            return np.zeros(tuple(part.stop - part.start for part in region), bool)
        return there[region].copy()

    def any(self, plane: Plane) -> bool:
        """Return whether something of a plane is verified."""
        there = self._planes.get(plane)
        return there is not None and bool(there.any())

    def changed(self, plane: Plane, region: tuple[slice, slice], inside: Bools, *, verified: bool) -> Mark | None:
        """Return what marks pixels as verified, or no longer so; None if they are already.

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
        there = self._planes.get(plane)
        before = np.zeros(inside.shape, bool) if there is None else there[region]
        changing = inside & (before != verified)
        corner = (region[0].start, region[1].start)
        return Mark.of(plane, corner, changing, verified=verified) if changing.any() else None

    def marks(self) -> tuple[Mark, ...]:
        """Return what marks all that is verified, from nothing."""
        verified = ((plane, there) for plane, there in self._planes.items() if there.any())
        return tuple(Mark.of(plane, (0, 0), there, verified=True) for plane, there in verified)

    def apply(self, marks: Iterable[Mark]) -> None:
        """Mark pixels."""
        for mark in marks:
            mark.write(self._planes.setdefault(mark.plane, np.zeros(self._shape, bool)))
