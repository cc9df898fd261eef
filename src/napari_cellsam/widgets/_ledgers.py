"""The ledgers of a viewer: one for each labels layer that was written into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.errors import CellsamError, ImageShapeError, ImageTooLargeError, OutputError
from napari_cellsam.widgets._layers import add_labels, find_labels
from napari_cellsam.widgets._ledger import Ledger

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer
    from numpy.typing import NDArray

    from napari_cellsam.widgets._jobs import Jobs
    from napari_cellsam.widgets._layers import LabelsTarget
    from napari_cellsam.widgets._looking import Looking

__all__ = ["Ledgers"]


class Ledgers:
    """Keeps each labels layer's cells and history while the layer lives, also while another one is written into.

    ``changed`` is emitted after each step in one of them; ``used`` with a layer that is written into for the first
    time, ``began`` with its ledger, and whether it is empty; ``lost`` with one that was given data that cells cannot be
    written into, and why; ``failed`` with an error.

    Parameters
    ----------
    viewer
        Whose layers there are.
    looking
        Whose cells they are.
    jobs
        Where layers are read.

    Attributes
    ----------
    current
        Of the layer that is written into; None where there is none.
    """

    changed = Signal()
    used = Signal(object)
    began = Signal(object, bool)
    lost = Signal(object, str)
    failed = Signal(CellsamError)

    def __init__(self, viewer: ViewerModel, looking: Looking, jobs: Jobs) -> None:
        self._viewer, self._looking, self._jobs = viewer, looking, jobs
        self.current: Ledger | None = None
        self._ledgers: dict[object, Ledger] = {}
        self._last: dict[object, object] = {}  # by image layer: which labels layer was written into last

    def open(self) -> Ledger:
        """Return the ledger of the layer that is written into; ours is added if there is none.

        Raises
        ------
        NoImageError
            If there is no image.
        """
        return self.current or self.add()

    def add(self, data: NDArray[Any] | None = None) -> Ledger:
        """Write into a new layer of ours; the image stays the active one.

        Parameters
        ----------
        data
            What is in it; nothing if None.
        """
        source = self._looking.needed
        try:
            contents = np.zeros(source.shape, np.uint32) if data is None else data
        except MemoryError as error:
            raise ImageTooLargeError(
                f"the cells of an image of shape {tuple(source.shape)} do not fit into the memory; crop it, open fewer "
                "planes, or add a labels layer of that shape whose data lie on disk, and choose it under Write into"
            ) from error
        layer = add_labels(self._viewer, source.layer, contents, source.placement)
        self._viewer.layers.selection.active = source.layer
        ledger = self._use(layer, empty=data is None)
        ledger.target.know_highest(0)
        return ledger

    def find(self) -> None:
        """Write into the layer that was written into last for the image, or one of ours for it, if there is one."""
        source = self._looking.needed
        layer = find_labels(self._viewer, source.layer, source.shape, self._last.get(source.layer.unique_id))
        if layer is not None:
            self._write_into(layer)

    def choose(self, layer: Labels) -> None:
        """Write into a layer that the user chose.

        Raises
        ------
        ImageShapeError
            If its shape is not the image's.
        OutputError
            If it cannot be written.
        """
        shape = tuple(self._looking.needed.shape)
        if tuple(layer.data.shape) != shape:
            raise ImageShapeError(
                f"labels layer {layer.name!r} has shape {tuple(layer.data.shape)}; the image needs {shape}"
            )
        self._write_into(layer)

    @property
    def writing(self) -> bool:
        """Whether a large step is still being undone or done again."""
        return self.current is not None and self.current.writing

    def leave(self) -> None:
        """Write into none."""
        self.current = None

    def forget(self, layer: Layer) -> bool:
        """Let go of a layer that was removed; return whether it was the one that is written into."""
        ledger = self._ledgers.pop(layer.unique_id, None)
        if ledger is None:
            return False
        ledger.close()
        if ledger is not self.current:
            return False
        self.current = None
        return True

    def close(self) -> None:
        """Let go of all; the layers stay as they are."""
        for ledger in self._ledgers.values():
            ledger.close()
        self._ledgers.clear()
        self.current = None

    def _use(self, layer: Labels, *, empty: bool = False) -> Ledger:
        key = layer.unique_id
        if key not in self._ledgers:
            ledger = self._ledgers[key] = Ledger(layer)
            ledger.changed.connect(self.changed.emit)
            ledger.target.replaced.connect(lambda: self._on_replaced(ledger))
            self.began.emit(ledger, empty)
            self.used.emit(layer)
        self._last[self._looking.needed.layer.unique_id] = key
        self.current = self._ledgers[key]
        return self.current

    def _write_into(self, layer: Labels) -> None:
        """Write into a layer that may hold cells; their highest number is looked for meanwhile."""
        self._find_highest(self._use(layer).target)

    def _on_replaced(self, ledger: Ledger) -> None:
        """Go on in the array that a layer was given, if that can be; undoing leaves alone what is not ours in it."""
        try:
            ledger.target.check()
        except (ImageShapeError, OutputError) as error:
            self.lost.emit(ledger.target.layer, str(error))
        else:
            self._find_highest(ledger.target)

    def _find_highest(self, target: LabelsTarget) -> None:
        if not target.knows_highest:
            self._jobs.submit(
                lambda call, report: target.find_highest(),  # noqa: ARG005 - it is too short to be cancelled
                on_done=target.know_highest,
                on_error=self.failed.emit,
            )
