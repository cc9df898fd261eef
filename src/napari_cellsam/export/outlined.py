"""The set of cells that outlines in a file describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.cell_set import CellFacts, CellSet, StackAxis
from napari_cellsam.export.facts import name_from, pixel_size_from
from napari_cellsam.export.filling import Polygon, fill_polygons
from napari_cellsam.memory import check_memory

__all__ = ["Outlined", "build_cells", "find_axis"]


@dataclass(frozen=True, eq=False)
class Outlined:
    """A cell as a file gives it.

    Attributes
    ----------
    rings
        ``(n, 2)`` ``(y, x)`` corners each; holes are rings too.
    label
        What the file calls it: anything, or None.
    plane
        Of a stack, 0 first.
    facts
        What is known of it.
    """

    rings: list[Any]
    label: Any = None
    plane: int = 0
    facts: CellFacts = field(default_factory=CellFacts)


def build_cells(
    outlined: Sequence[Outlined],
    own: Mapping[str, Any],
    path: Path,
    shape: tuple[int, int] | None,
    axis: StackAxis = "",
) -> CellSet:
    """Fill outlines; cells keep their labels where each has a number of its own, else they are counted.

    Parameters
    ----------
    outlined
        The cells.
    own
        What a file of ours says about its image; empty for those of others.
    path
        The file.
    shape
        ``(Y, X)`` where the file does not say it; the smallest that holds all cells if None.
    axis
        What the planes are where the file does not say it; there are as many as up to the last cell.

    Raises
    ------
    ImageReadError
        If nobody says how large the image is, and there are no cells to tell.
    ImageTooLargeError
        If it is so large that the free memory does not hold it.
    """
    axis = own.get("axis", axis)
    size = tuple(own["shape"][-2:]) if "shape" in own else shape or _extent(outlined, path)
    stated = own["shape"][0] if axis and "shape" in own else None
    n_planes = int(stated) if stated is not None else 1 + max((cell.plane for cell in outlined), default=0)
    check_memory((n_planes * size[0], size[1]), np.uint32().itemsize)
    polygons: list[list[Polygon]] = [[] for _ in range(n_planes)]
    facts = {}
    for cell, label in zip(outlined, _number(outlined), strict=True):
        if not 0 <= cell.plane < n_planes:
            raise ImageReadError(f"{path} has a cell in plane {cell.plane + 1} of {n_planes}; export it anew")
        polygons[cell.plane].append((label, cell.rings))
        if cell.facts != CellFacts():
            facts[cell.plane, label] = cell.facts
    planes = [fill_polygons(shapes, size) for shapes in polygons]
    labels = np.stack(planes) if axis else planes[0]
    pixel_size, name = pixel_size_from(own.get("pixel_size_um")), name_from(own.get("name"), path)
    return CellSet(labels, axis, facts, (), pixel_size, name, size_known="shape" in own or shape is not None)


def find_axis(times: Iterable[int], depths: Iterable[int], path: Path) -> StackAxis:
    """Say what the planes are in a file that only says where each cell lies: times or depths, if there are several.

    Raises
    ------
    ImageReadError
        If there are several of both.
    """
    several_times, several_depths = len(set(times)) > 1, len(set(depths)) > 1
    if several_times and several_depths:
        raise ImageReadError(f"{path} holds cells of several times and depths; give those of one time, or of one depth")
    return "T" if several_times else "Z" if several_depths else ""


def _number(outlined: Sequence[Outlined]) -> list[int]:
    """Return the labels where each cell has a whole number of its own, else 1, 2, 3 and so on."""
    labels = [cell.label for cell in outlined]
    if all(isinstance(label, (int, float)) and 1 <= label < 2**32 and label == int(label) for label in labels) and len(
        {(cell.plane, cell.label) for cell in outlined}
    ) == len(labels):
        return [int(label) for label in labels]
    return list(range(1, len(labels) + 1))


def _extent(outlined: Sequence[Outlined], path: Path) -> tuple[int, int]:
    """Return the smallest shape that holds all cells."""
    points = [np.asarray(ring, float).max(0) for cell in outlined for ring in cell.rings if len(ring)]
    if not points:
        raise ImageReadError(f"{path} holds no cell, and does not say how large the image is")
    height, width = np.ceil(np.max(points, 0)).astype(int).tolist()
    return max(height, 1), max(width, 1)
