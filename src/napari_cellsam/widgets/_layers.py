"""The labels layer that cells are written into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.editing.edits import CropEdit, Plane
from napari_cellsam.errors import CellsamError, ImageShapeError, OutputError
from napari_cellsam.widgets._atoms import edits_of
from napari_cellsam.widgets._pieces import pieces_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray

__all__ = ["LabelsTarget", "add_labels", "find_labels", "labels_of", "same_layer"]

_MARK = "napari-cellsam"
_MOST = 2**32 - 1  # the highest number that edits can hold
Window = tuple[slice, slice]


class LabelsTarget:
    """A labels layer, written crop by crop.

    ``painted`` is emitted with the edits of everything that was changed in the layer by others: napari's brush, fill
    and polygon, or another plugin; ``replaced`` when the layer was given another array.

    Parameters
    ----------
    layer
        Ours, or one that the user chose.

    Raises
    ------
    ImageShapeError
        If it has several resolutions.
    OutputError
        If it cannot be written.
    """

    painted = Signal(object)
    replaced = Signal()

    def __init__(self, layer: Labels) -> None:
        if layer.multiscale:
            raise ImageShapeError(
                f"labels layer {layer.name!r} has several resolutions; choose one that has a single one"
            )
        _check_writable(layer)
        self.layer = layer
        self._whole_shape = tuple(layer.data.shape)
        self._writing = False
        self._next: int | None = None
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a plane."""
        height, width = self.layer.data.shape[-2:]
        return int(height), int(width)

    def close(self) -> None:
        """Listen to the layer no more; it stays as it is."""
        self.layer.events.paint.disconnect(self._on_paint)
        self.layer.events.data.disconnect(self._on_data)

    def check(self) -> None:
        """Refuse the array that the layer has now, if cells cannot be written into it any more.

        Raises
        ------
        ImageShapeError
            If it has another shape than before.
        OutputError
            If it cannot be written.
        """
        shape = tuple(self.layer.data.shape)
        if shape != self._whole_shape:
            raise ImageShapeError(
                f"labels layer {self.layer.name!r} was given data of shape {shape} instead of {self._whole_shape}; "
                "it is left alone, and the next cells go into a new labels layer"
            )
        _check_writable(self.layer)

    @property
    def is_usable(self) -> bool:
        """Whether cells can still be written into it; see `check`."""
        try:
            self.check()
        except CellsamError:
            return False
        return True

    def read(self, plane: Plane, window: Window) -> NDArray[np.integer[Any]]:
        """Return a copy of a crop.

        Parameters
        ----------
        plane
            Where in the stack.
        window
            Rows and columns.

        Raises
        ------
        OutputError
            If there are numbers that edits cannot hold.
        """
        crop = np.array(self.layer.data[(*plane, *window)])
        if not np.can_cast(crop.dtype, np.uint32) and (crop.min(initial=0) < 0 or crop.max(initial=0) > _MOST):
            raise OutputError(
                f"labels layer {self.layer.name!r} has cells here with numbers below 0 or above {_MOST}; "
                "number them anew, or write into a new labels layer"
            )
        return crop

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
            for piece in pieces_of(edits):
                current = [np.asarray(self.layer.data[edit.indices]) for edit in piece]
                parts = [edit.where_expected(now) for edit, now in zip(piece, current, strict=True)]
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

        Raises
        ------
        OutputError
            If the layer cannot hold a higher number.
        """
        if self._next is None:
            self.know_highest(self.find_highest())
        number, dtype = self._next or 1, np.dtype(self.layer.data.dtype)
        most = min(int(np.iinfo(dtype).max), _MOST)
        if number > most:
            raise OutputError(
                f"labels layer {self.layer.name!r} is full: of type {dtype}, it holds numbers up to {most}; "
                "convert its type (right click on the layer), or write into a new labels layer"
            )
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

    def _on_data(self, event: Any = None) -> None:  # noqa: ARG002 - napari's signature
        self._next = None
        self.replaced.emit()

    @contextmanager
    def _own(self) -> Iterator[None]:
        """Tell what we write from what others do."""
        self._writing = True
        try:
            yield
        finally:
            self._writing = False


def _check_writable(layer: Labels) -> None:
    """Refuse a layer whose array cannot be written pixel by pixel."""
    data, reason = layer.data, ""
    if isinstance(data, np.ndarray):
        reason = "" if data.flags.writeable else "its array is read-only"
    elif getattr(data, "read_only", False):
        reason = "its array was opened for reading only"
    elif 0 not in data.shape:
        try:
            np.asarray(data[tuple(np.zeros(1, np.intp) for _ in data.shape)])
        except Exception:  # noqa: BLE001 - each library has its own way of saying so
            reason = f"a {type(data).__module__.partition('.')[0]} array cannot be changed pixel by pixel"
    if reason:
        raise OutputError(
            f"labels layer {layer.name!r} cannot be written: {reason}; duplicate it as a numpy array, or write into a "
            "new labels layer"
        )


def _is_writable(layer: Labels) -> bool:
    try:
        _check_writable(layer)
    except CellsamError:
        return False
    return True


def same_layer(one: Layer, other: Layer) -> bool:
    """Return whether two are one layer; napari hands out proxies, of which no two are the same object."""
    return bool(one.unique_id == other.unique_id)


def find_labels(viewer: ViewerModel, image: Image, shape: Sequence[int], chosen: object = None) -> Labels | None:
    """Return the labels layer of an image layer that has a shape and can be written; None if there is none.

    It is the one whose ``unique_id`` was chosen, if it is still there, or else the lowest one of ours.
    """
    from napari.layers import Labels

    fitting = (
        layer
        for layer in sorted(viewer.layers, key=lambda layer: layer.unique_id != chosen)
        if isinstance(layer, Labels) and (layer.unique_id == chosen or _belongs(layer, image))
        if tuple(layer.data.shape) == tuple(shape) and _is_writable(layer)
    )
    return next(fitting, None)


def labels_of(viewer: ViewerModel, image: Image) -> list[Labels]:
    """Return all labels layers of ours that belong to an image layer."""
    from napari.layers import Labels

    return [layer for layer in viewer.layers if isinstance(layer, Labels) and _belongs(layer, image)]


def add_labels(viewer: ViewerModel, image: Image, data: NDArray[Any], placement: Mapping[str, Any]) -> Labels:
    """Add a labels layer for the cells of an image layer.

    Parameters
    ----------
    viewer
        Where the layers are.
    image
        The image layer.
    data
        Numbers of the cells.
    placement
        The layer's arguments that put it where the image is.
    """
    return viewer.add_labels(
        data,
        name=f"{image.name} cells",
        metadata={_MARK: {"cells_of": str(image.unique_id)}},
        **placement,
    )


def _belongs(layer: Layer, image: Image) -> bool:
    mark = layer.metadata.get(_MARK)
    return isinstance(mark, dict) and mark.get("cells_of") == str(image.unique_id)
