"""The labels layer that cells are written into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.errors import ImageShapeError
from napari_cellsam.widgets._atoms import edits_of
from napari_cellsam.widgets._edits import CropEdit, Plane

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray

__all__ = ["LabelsTarget", "add_labels", "find_labels", "same_layer"]

_MARK = "napari-cellsam"
Window = tuple[slice, slice]


class LabelsTarget:
    """A labels layer, written crop by crop.

    ``painted`` is emitted with the edits of everything that was changed in the layer by others: napari's brush, fill
    and polygon, or another plugin.

    Parameters
    ----------
    layer
        Ours, or one that the user chose.
    """

    painted = Signal(object)

    def __init__(self, layer: Labels) -> None:
        if layer.multiscale:
            raise ImageShapeError(
                f"labels layer {layer.name!r} has several resolutions; choose one that has a single one"
            )
        self.layer = layer
        self._writing = False
        self._next: int | None = None
        layer.events.paint.connect(self._on_paint)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a plane."""
        height, width = self.layer.data.shape[-2:]
        return int(height), int(width)

    def close(self) -> None:
        """Listen to the layer no more; it stays as it is."""
        self.layer.events.paint.disconnect(self._on_paint)

    def read(self, plane: Plane, window: Window) -> NDArray[np.integer[Any]]:
        """Return a copy of a crop.

        Parameters
        ----------
        plane
            Where in the stack.
        window
            Rows and columns.
        """
        return np.array(self.layer.data[(*plane, *window)])

    def at(self, plane: Plane, y: int, x: int) -> int:
        """Return the cell at a pixel; 0 for the background and beyond the picture."""
        height, width = self.shape
        if not (0 <= y < height and 0 <= x < width):
            return 0
        return int(np.asarray(self.layer.data[(*plane, y, x)]))

    def write(self, edits: Iterable[CropEdit]) -> list[CropEdit]:
        """Write edits; pixels that do not have the expected numbers any more are left alone.

        Returns
        -------
        list of CropEdit
            What was really changed.
        """
        done = []
        with self._own():
            for edits_of_plane in _by_plane(edits):
                current = [np.asarray(self.layer.data[edit.indices]) for edit in edits_of_plane]
                parts = [edit.where_expected(now) for edit, now in zip(edits_of_plane, current, strict=True)]
                parts = [part for part in parts if len(part.rows)]
                if not parts:
                    continue
                indices = tuple(np.concatenate(axis) for axis in zip(*(part.indices for part in parts), strict=True))
                values = np.concatenate([np.broadcast_to(part.after, part.rows.shape) for part in parts])
                self.layer.data_setitem(indices, values)
                done += parts
        return done

    def take_number(self) -> int:
        """Return a number that no cell has.

        The highest one is looked for once, when a layer that is not empty was chosen; see `know_highest`.
        """
        if self._next is None:
            self.know_highest(self.find_highest())
        number = self._next or 1
        self._next = number + 1
        return number

    def find_highest(self) -> int:
        """Return the highest number in the layer; takes a while for large ones, so ask in another thread."""
        data = self.layer.data
        if data.ndim == 2:
            return (
                int(np.max(data, initial=0)) if isinstance(data, np.ndarray) else int(np.asarray(data).max(initial=0))
            )
        return max((int(np.asarray(plane).max(initial=0)) for plane in data), default=0)

    @property
    def knows_highest(self) -> bool:
        """Whether the highest number is known, so that `take_number` is quick."""
        return self._next is not None

    def know_highest(self, number: int) -> None:
        """Take note of a number that is in use; the next cells get higher ones."""
        self._next = max(self._next or 1, number + 1)

    def _on_paint(self, event: Any) -> None:
        if self._writing:
            return
        edits = edits_of(event.value, self.layer.data.shape)
        for edit in edits:
            self.know_highest(int(edit.after.max(initial=0)))
        if edits:
            self.painted.emit(edits)

    @contextmanager
    def _own(self) -> Iterator[None]:
        """Tell what we write from what others do."""
        self._writing = True
        try:
            yield
        finally:
            self._writing = False


def same_layer(one: Layer, other: Layer) -> bool:
    """Return whether two are one layer; napari hands out proxies, of which no two are the same object."""
    return bool(one.unique_id == other.unique_id)


def find_labels(viewer: ViewerModel, image: Image, shape: Sequence[int]) -> Labels | None:
    """Return the labels layer of ours that belongs to an image layer and has a shape; None if there is none."""
    from napari.layers import Labels

    fitting = (
        layer
        for layer in viewer.layers
        if isinstance(layer, Labels) and _belongs(layer, image) and tuple(layer.data.shape) == tuple(shape)
    )
    return next(fitting, None)


def add_labels(viewer: ViewerModel, image: Image, shape: Sequence[int], placement: Mapping[str, Any]) -> Labels:
    """Add a labels layer for the cells of an image layer.

    Parameters
    ----------
    viewer
        Where the layers are.
    image
        The image layer.
    shape
        Of the labels.
    placement
        The layer's arguments that put it where the image is.

    Returns
    -------
    Labels
        Empty.
    """
    return viewer.add_labels(
        np.zeros(tuple(shape), np.uint32),
        name=f"{image.name} cells",
        metadata={_MARK: {"cells_of": str(image.unique_id)}},
        **placement,
    )


def _belongs(layer: Layer, image: Image) -> bool:
    mark = layer.metadata.get(_MARK)
    return isinstance(mark, dict) and mark.get("cells_of") == str(image.unique_id)


def _by_plane(edits: Iterable[CropEdit]) -> list[list[CropEdit]]:
    """Return runs of edits of one plane that touch different pixels, so that they can be written at once."""
    runs: list[list[CropEdit]] = []
    for edit in edits:
        last = runs[-1] if runs else None
        if last and last[-1].plane == edit.plane and not any(_meet(edit, other) for other in last):
            last.append(edit)
        else:
            runs.append([edit])
    return runs


def _meet(a: CropEdit, b: CropEdit) -> bool:
    """Return whether the boxes around two edits meet."""
    return not (
        a.rows.max() < b.rows.min()
        or b.rows.max() < a.rows.min()
        or a.columns.max() < b.columns.min()
        or b.columns.max() < a.columns.min()
    )
