"""The search: what an automatic run does in a thread of its own, plane by plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.editing.edits import CropEdit, Plane
from napari_cellsam.types import Cell, Image, Mask, SegmentOptions
from napari_cellsam.widgets._search_region import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._connection import AnyClient
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._layers import LabelsTarget
    from napari_cellsam.widgets._plane_cache import PlaneReader

__all__ = ["Advanced", "FoundCells", "OldCells", "PlaneDone", "Search", "Task", "erasing"]

_MARGIN_PX, _MARGIN_OF_DIAMETER = 48, 1.5  # around a region, so that cells at its border are seen whole
_BLIND_MARGIN_PX = 128  # where nobody knows how large they are
_ROWS_AT_ONCE = 256  # so that no thread waits long for another one


@dataclass(frozen=True)
class Advanced:
    """Tiles of a plane were done; planes count from 0."""

    number: int
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class FoundCells:
    """Cells came in, in pixels of their plane."""

    plane: Plane
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False)
class OldCells:
    """How cells of a plane are erased that give way to new ones, by number."""

    plane: Plane
    edits: dict[int, CropEdit]


@dataclass(frozen=True)
class PlaneDone:
    """All cells of a plane came in."""

    plane: Plane


@dataclass(frozen=True, eq=False)
class Task:
    """One plane, or a part of it.

    Attributes
    ----------
    plane
        Where in the stack.
    read
        How its picture is had.
    region
        The part.
    old
        Cells that give way to new ones.
    diameter
        Of cells, in pixels, if the model has looked at the whole plane: those of a part are as large.
    """

    plane: Plane
    read: PlaneReader
    region: Region | None
    old: frozenset[int]
    diameter: float | None = None


@dataclass(frozen=True, eq=False)
class Search:
    """Finds the cells of planes; touches no layer but to read it.

    What is cut off by the border of the part that is searched is left out.

    Attributes
    ----------
    client
        Returns the way to the model; may wait.
    target
        Where old cells are.
    tasks
        What is searched.
    options
        How.
    """

    client: Callable[[], AnyClient]
    target: LabelsTarget
    tasks: Sequence[Task]
    options: SegmentOptions

    def __call__(self, call: Call, report: Report) -> tuple[str, ...]:
        """Search plane by plane; return what the user should know."""
        notes: dict[str, None] = {}
        for number, task in enumerate(self.tasks):
            notes |= dict.fromkeys(self._segment(number, task, call, report))
            report(PlaneDone(task.plane))
        return tuple(notes)

    def _segment(self, number: int, task: Task, call: Call, report: Report) -> tuple[str, ...]:
        report(Advanced(number, 0, 0))
        whole = task.read(call)
        image, corner = _part(whole, task)
        if task.old:
            labels = self.target.read(task.plane, _window(corner, image.shape))
            report(OldCells(task.plane, erasing(task, labels, corner, whole.shape)))

        def found(cells: tuple[Cell, ...]) -> None:
            moved = (_moved(cell, corner) for cell in cells if _is_whole(cell, image.shape, corner, whole.shape))
            report(FoundCells(task.plane, tuple(cell for cell in moved if _wanted(cell, task))))

        result = self.client().segment(
            image,
            self._options_for(task),
            on_progress=lambda done, total: report(Advanced(number, done, total)),
            on_cells=found,
            call=call,
        )
        return result.notes

    def _options_for(self, task: Task) -> SegmentOptions:
        """Return how a task is searched."""
        if task.region is None or task.diameter is None:
            return self.options
        return replace(self.options, diameter=task.diameter)


def erasing(
    task: Task, labels: NDArray[np.integer[Any]], corner: tuple[int, int], shape: tuple[int, int]
) -> dict[int, CropEdit]:
    """Return how the old cells of a task are erased, by number; takes a while for large pictures.

    Parameters
    ----------
    task
        Names the cells; those whose middle lies beyond its region stay.
    labels, corner
        ``(h, w)`` part of the plane around the region, and its first pixel. Cells that go on beyond it stay.
    shape
        Of the plane.
    """
    staying = _cut(labels, corner, shape)
    numbers = np.array(sorted(task.old - staying), labels.dtype)
    rows, columns, values = _pixels_of(labels, numbers)
    if len(values) == 0:
        return {}
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    edits = {}
    for number, part in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        y, x = rows[part] + corner[0], columns[part] + corner[1]
        if task.region is None or task.region.holds((y.min() + y.max()) / 2, (x.min() + x.max()) / 2):
            before, after = np.array([number], np.uint32), np.zeros(1, np.uint32)
            edits[int(number)] = CropEdit(task.plane, y.astype(np.int32), x.astype(np.int32), before, after)
    return edits


def _pixels_of(labels: NDArray[np.integer[Any]], numbers: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return rows, columns and values of all pixels of some cells."""
    parts = []
    for top in range(0, len(labels), _ROWS_AT_ONCE):
        band = labels[top : top + _ROWS_AT_ONCE]
        rows, columns = np.nonzero(np.isin(band, numbers))
        parts.append((rows + top, columns, band[rows, columns]))
    return tuple(np.concatenate(axis) for axis in zip(*parts, strict=True))


def _cut(labels: NDArray[np.integer[Any]], corner: tuple[int, int], shape: tuple[int, int]) -> set[int]:
    """Return the cells at those borders of a part behind which the picture goes on."""
    (top, left), (height, width) = corner, labels.shape
    borders = (
        (top > 0, labels[0]),
        (left > 0, labels[:, 0]),
        (top + height < shape[0], labels[-1]),
        (left + width < shape[1], labels[:, -1]),
    )
    return {int(n) for goes_on, border in borders if goes_on for n in np.unique(border)}


def _part(image: Image, task: Task) -> tuple[Image, tuple[int, int]]:
    """Return the part of an image around a region, and the part's first pixel."""
    if task.region is None:
        return image, (0, 0)
    diameter = task.diameter
    margin = _BLIND_MARGIN_PX if diameter is None else max(_MARGIN_PX, round(_MARGIN_OF_DIAMETER * diameter))
    y0, x0, y1, x1 = task.region.box
    top, left = max(y0 - margin, 0), max(x0 - margin, 0)
    pixels = image.pixels[top : y1 + margin, left : x1 + margin].copy()
    return Image(pixels, image.nuclear, image.cell, image.rgb, image.pixel_size_um), (top, left)


def _window(corner: tuple[int, int], shape: tuple[int, int]) -> tuple[slice, slice]:
    return slice(corner[0], corner[0] + shape[0]), slice(corner[1], corner[1] + shape[1])


def _moved(cell: Cell, corner: tuple[int, int]) -> Cell:
    """Return a cell of a part in pixels of the plane."""
    y, x = cell.mask.corner
    return Cell(Mask(cell.mask.crop, (y + corner[0], x + corner[1]), cell.mask.score), cell.score)


def _is_whole(cell: Cell, part: tuple[int, int], corner: tuple[int, int], plane: tuple[int, int]) -> bool:
    """Return whether a cell of a part of a plane ends before the part does, or where the plane ends."""
    box = cell.mask.box
    return all(
        (first > 0 or start == 0) and (last < length - 1 or start + length == end)
        for first, last, length, start, end in zip(box[:2], box[2:], part, corner, plane, strict=True)
    )


def _wanted(cell: Cell, task: Task) -> bool:
    """Return whether a cell's middle lies in a task's region."""
    if task.region is None:
        return True
    y0, x0, y1, x1 = cell.mask.box
    return task.region.holds((y0 + y1) / 2, (x0 + x1) / 2)
