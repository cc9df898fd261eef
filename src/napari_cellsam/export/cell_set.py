"""The set of cells that is exported: labels, with what is known of each cell and the image they were found in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.export.rings import Rings, trace_rings
from napari_cellsam.types import Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["CellFacts", "CellSet", "StackAxis", "used_labels"]

_NOT_IN_NAMES = re.compile(r"[/\\:\x00-\x1f\x7f\ud800-\udfff]")  # the last ones are bytes that were no text

StackAxis = Literal["", "T", "Z"]
"""What the planes of a stack are: time points, depths, or nothing where there is but one plane."""


@dataclass(frozen=True)
class CellFacts:
    """What is known of a cell beside its pixels.

    Attributes
    ----------
    origin
        How it came to be, such as ``"automatic"`` or ``"edited"``; empty where that is not known.
    detector_score, predicted_iou
        0 to 1, or None where no model spoke.
    """

    origin: str = ""
    detector_score: float | None = None
    predicted_iou: float | None = None

    def __post_init__(self) -> None:
        for name, share in (("detector_score", self.detector_score), ("predicted_iou", self.predicted_iou)):
            if share is not None and not 0 <= share <= 1:
                raise OptionError(f"{name} is {share}; expected 0 to 1, or None where it is not known")


@dataclass(frozen=True, eq=False)
class CellSet:
    """Cells as they are exported and imported.

    Attributes
    ----------
    labels
        ``(Y, X)``, or ``(N, Y, X)`` for a stack, uint32, 0 background; numbers may have gaps.
    axis
        What the planes of a stack are: ``"T"`` or ``"Z"``; empty for one plane.
    facts
        By plane (0 first) and label; cells may be missing.
    images
        The image of each plane, or empty.
    pixel_size_um
        ``(y, x)`` in micrometres, or None where it is not known.
    name
        What the cells are of: the name of the image, without ending. What cannot be in the name of a file becomes
        ``_``, because files are called by it and it may come out of a file of anybody's.
    size_known
        Whether the shape is the image's; if not, it is the smallest that holds all cells.

    Notes
    -----
    The labels must not be written to any more.
    """

    labels: NDArray[np.uint32]
    axis: StackAxis = ""
    facts: Mapping[tuple[int, int], CellFacts] = field(default_factory=dict)
    images: tuple[Image, ...] = ()
    pixel_size_um: tuple[float, float] | None = None
    name: str = "cells"
    size_known: bool = True
    _rings: dict[int, Rings] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _NOT_IN_NAMES.sub("_", self.name).lstrip(".") or "cells")
        labels = self.labels
        if labels.dtype != np.uint32 or labels.ndim not in (2, 3) or labels.size == 0:
            raise ImageShapeError(
                f"got labels of shape {labels.shape} and type {labels.dtype}; expected (Y, X) or (N, Y, X) of uint32. "
                "Use CellSet.from_array to convert an array."
            )
        if (labels.ndim == 3) != bool(self.axis) or self.axis not in ("", "T", "Z"):
            raise OptionError(f"axis is {self.axis!r} for labels of shape {labels.shape}; a stack needs 'T' or 'Z'")
        size = self.pixel_size_um
        if size is not None and not all(0 < length < inf for length in size):
            raise OptionError(f"the pixel size is {size}; expected two numbers of micrometres above 0")
        for image in self.images:
            if len(self.images) != self.n_planes or image.shape != self.shape:
                raise ImageShapeError(
                    f"got {len(self.images)} images, one of shape {image.shape}, for {self.n_planes} planes of labels "
                    f"of shape {self.shape}; expected an image of that shape for each plane"
                )

    @classmethod
    def from_array(
        cls,
        labels: ArrayLike,
        *,
        axis: StackAxis = "",
        images: tuple[Image, ...] = (),
        pixel_size_um: tuple[float, float] | None = None,
        name: str = "cells",
    ) -> CellSet:
        """Make a set of cells from any array of integers.

        Parameters
        ----------
        labels
            ``(Y, X)`` or ``(N, Y, X)``, integers or bool from 0 to 2**32 - 1.
        axis
            As for `CellSet`; a stack is one of depths unless told.
        images, pixel_size_um, name
            As for `CellSet`.

        Raises
        ------
        ImageShapeError
            If the array is no label image.
        """
        array = np.asarray(labels)
        if array.dtype.kind not in "bui":
            raise ImageShapeError(f"labels are of type {array.dtype}; expected integers")
        if array.dtype.kind == "i" and array.size and array.min() < 0:
            raise ImageShapeError(f"got labels down to {array.min()}; expected integers from 0")
        if array.dtype.itemsize == 8 and array.size and array.max() >= 2**32:
            raise ImageShapeError(f"got labels up to {array.max()}; expected at most {2**32 - 1}")
        own_axis: StackAxis = (axis or "Z") if array.ndim == 3 else ""
        return cls(array.astype(np.uint32, copy=False), own_axis, {}, images, pixel_size_um, name)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape[-2], self.labels.shape[-1]

    @property
    def n_planes(self) -> int:
        """Number of planes, 1 where there is no stack."""
        return self.labels.shape[0] if self.axis else 1

    def planes(self) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        """Go through the planes: number, 0 first, and ``(Y, X)`` labels."""
        yield from enumerate(self.labels if self.axis else self.labels[None])

    def rings(self, plane: int) -> Rings:
        """Return the lines around the cells of a plane, traced once for all formats that want them."""
        if plane not in self._rings:
            self._rings[plane] = trace_rings(self.labels[plane] if self.axis else self.labels)
        return self._rings[plane]

    def facts_of(self, plane: int, label: int) -> CellFacts:
        """Return what is known of a cell; nothing where nobody said anything."""
        return self.facts.get((plane, label), _NOTHING)

    def at(self, plane: int) -> CellSet:
        """Return one plane of a stack as a set of its own, its name ending in the number of the plane."""
        if not self.axis:
            return self
        facts = {(0, label): known for (index, label), known in self.facts.items() if index == plane}
        images = self.images[plane : plane + 1]
        name = f"{self.name}_{self.axis.lower()}{plane:0{len(str(self.n_planes - 1))}d}"
        return CellSet(self.labels[plane], "", facts, images, self.pixel_size_um, name)


_NOTHING = CellFacts()


def used_labels(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the labels that there are, rising, without the background.

    Parameters
    ----------
    labels
        ``(Y, X)`` or ``(N, Y, X)``.
    """
    highest = int(labels.max())
    if highest > 4 * labels.size + 1024:  # a table of all numbers would be larger than the image
        values = np.unique(labels)
        return values[values > 0]
    used = np.zeros(highest + 1, bool)
    for row in labels.reshape(-1, labels.shape[-1]):
        used[row] = True
    used[0] = False
    return np.flatnonzero(used).astype(np.uint32)
