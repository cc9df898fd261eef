"""A synthetic picture with its cells and the roles of its channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.errors import ImageShapeError

__all__ = ["SyntheticPicture"]


@dataclass(frozen=True, eq=False)
class SyntheticPicture:
    """A picture that was drawn, not acquired.

    Attributes
    ----------
    pixels
        ``(Y, X, C)`` float32 in 0-1, noise included.
    labels
        ``(Y, X)`` int32; 0 is background, cells are 1..N without gaps.
    archetype
        What kind of microscopy it imitates; one of ``ARCHETYPES``.
    nuclear, cell
        Indices of the nuclear and the whole-cell channel; None where there is none.
    rgb
        Whether the three channels are red, green and blue.
    """

    pixels: NDArray[np.float32]
    labels: NDArray[np.int32]
    archetype: str
    nuclear: int | None = None
    cell: int | None = None
    rgb: bool = False

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[:2] != self.labels.shape:
            raise ImageShapeError(
                f"got pixels of shape {self.pixels.shape} and labels of shape {self.labels.shape}; "
                "expected (Y, X, C) and (Y, X)"
            )

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.labels.max(initial=0))
