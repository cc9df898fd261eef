"""The session: all that the docks show of one viewer, and all that they can ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cellsam.errors import CellsamError, ImageShapeError, RequestCancelledError, ServiceError
from napari_cellsam.types import Image, Mask, Prompt, SegmentOptions
from napari_cellsam.widgets._automatic import Automatic, Rule
from napari_cellsam.widgets._edits import Plane
from napari_cellsam.widgets._follower import Follower
from napari_cellsam.widgets._history import Action, History
from napari_cellsam.widgets._jobs import Jobs
from napari_cellsam.widgets._layers import LabelsTarget, add_labels, find_labels, same_layer
from napari_cellsam.widgets._ledger import Ledger
from napari_cellsam.widgets._plane_cache import PlaneCache
from napari_cellsam.widgets._prompting import Prompting
from napari_cellsam.widgets._records import CellTable

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._connection import AnyClient, Connection
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._preferences import Preferences, PreferenceStore
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["NoImageError", "Session"]


class NoImageError(CellsamError):
    """There is no image to work on."""


class Session:
    """What one viewer's user works on.

    ``changed`` is emitted when anything that the docks show has changed; ``said`` with a line for the user and how
    serious it is (``"info"``, ``"warning"``, ``"error"``); ``labels_used`` with a labels layer that is written into for
    the first time.

    Parameters
    ----------
    viewer
        The viewer.
    jobs, connection, store
        Owned by the session from now on.
    """

    closed = Signal()

    changed = Signal()
    said = Signal(str, str)
    labels_used = Signal(object)

    def __init__(self, viewer: ViewerModel, jobs: Jobs, connection: Connection, store: PreferenceStore) -> None:
        self.viewer, self.jobs, self.connection, self._store = viewer, jobs, connection, store
        self.source: ImageSource | None = None
        self.rule: Rule = "fill"
        self.clicking = False
        self._ledgers: dict[object, Ledger] = {}
        self._ledger: Ledger | None = None
        self._read = PlaneCache()
        self._shown: Plane | None = None
        self.prompting = Prompting(self)
        self.automatic = Automatic(self)
        self.prompting.changed.connect(self.changed.emit)
        self.automatic.changed.connect(self.changed.emit)
        connection.changed.connect(self._on_connection)
        self._follower = Follower(self)

    # --- what is worked on

    @property
    def target(self) -> LabelsTarget:
        """The labels layer that cells are written into; ours is added when it is needed.

        Raises
        ------
        NoImageError
            If there is no image.
        """
        return self._open_ledger().target

    @property
    def cells(self) -> CellTable:
        """The records of its cells."""
        return self._open_ledger().cells

    @property
    def history(self) -> History:
        """What was done to it."""
        return self._open_ledger().history

    @property
    def has_target(self) -> bool:
        """Whether there is a labels layer already."""
        return self._ledger is not None

    @property
    def plane(self) -> Plane:
        """Which plane of the stack is shown."""
        plane: Plane = self._need_source().plane
        return plane

    @property
    def client(self) -> AnyClient:
        """The way to the model; for threads that may wait."""
        return self.connection.client

    @property
    def preferences(self) -> Preferences:
        """What the user has chosen once and for all."""
        return self._store.value

    @property
    def options(self) -> SegmentOptions:
        """How images are segmented."""
        return self.preferences.options

    def start(self) -> None:
        """Begin: start the service, and take the active image."""
        self.connection.start()
        self._follower.take_active()

    def use_image(self, layer: Layer) -> None:
        """Work on an image layer from now on, and let the model look at it.

        Raises
        ------
        ImageShapeError
            If the layer cannot be used.
        """
        from napari_cellsam.widgets._source import ImageSource

        if self.source is not None and same_layer(self.source.layer, layer):
            return
        source = ImageSource(self.viewer, layer)
        self._leave()
        self.source = source
        labels = find_labels(self.viewer, source.layer, source.shape)
        if labels is not None:
            self._use(labels)
        self._shown = None
        self._follower.look()
        self.changed.emit()

    def use_labels(self, layer: Labels) -> None:
        """Write into a labels layer that the user chose.

        Raises
        ------
        ImageShapeError
            If its shape is not the image's.
        """
        shape = tuple(self._need_source().shape)
        if tuple(layer.data.shape) != shape:
            raise ImageShapeError(
                f"labels layer {layer.name!r} has shape {tuple(layer.data.shape)}; the image needs {shape}"
            )
        self.automatic.cancel()
        self.prompting.forget()
        self._use(layer)
        self.changed.emit()

    def use_new_labels(self) -> None:
        """Write into a new labels layer."""
        source = self._need_source()
        self.use_labels(add_labels(self.viewer, source.layer, source.shape, source.placement))
        self.viewer.layers.selection.active = source.layer

    def set_clicking(self, on: bool) -> None:
        """Turn click mode on or off."""
        if on:
            self._open_ledger()
        else:
            self.prompting.accept()
        self.clicking = on
        self.changed.emit()

    def holds(self, y: float, x: float) -> bool:
        """Return whether a place lies in the picture."""
        height, width = self._need_source().shape[-2:]
        return bool(-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5)

    def to_yx(self, position: Sequence[float]) -> tuple[float, float]:
        """Return the pixel ``(y, x)`` at a position in the world's coordinates."""
        y, x = self._need_source().to_data(position)[-2:]
        return float(y), float(x)

    def view(self) -> tuple[int, int, int, int]:
        """Return the region ``(y0, x0, y1, x1)`` of the plane that the window shows, the end excluded.

        Raises
        ------
        ImageShapeError
            If it shows nothing of the image.
        """
        source = self._need_source()
        layer = source.layer
        zoom = layer.downsample_factors[layer.data_level][-2:] if source.is_multiscale else (1, 1)
        (top, left), (bottom, right) = layer.corner_pixels[:, -2:] * zoom
        height, width = source.shape[-2:]
        region = max(int(top), 0), max(int(left), 0), min(int(bottom) + 1, height), min(int(right) + 1, width)
        if region[2] <= region[0] or region[3] <= region[1]:
            raise ImageShapeError("The window shows nothing of the image; move it there first.")
        return region

    def planes(self) -> list[Plane]:
        """Return all planes of the stack."""
        return list(self._need_source().planes())

    def image_reader(self, plane: Plane) -> Callable[[], Image]:
        """Return what reads a plane in another thread; the newest one is kept."""
        source = self._need_source()
        return self._read.reader((source.signature(), plane), source.reader(plane))

    # --- what is asked of the model

    def decode(
        self,
        plane: Plane,
        prompts: Sequence[Prompt],
        done: Callable[[list[Mask]], None],
        *,
        topic: str | None,
        slot: str | None = None,
    ) -> None:
        """Ask the model for masks; ``done`` is called with them unless something newer of the topic was asked."""
        read, options = self.image_reader(plane), self.options

        def work(call: Call, report: Report) -> list[Mask]:  # noqa: ARG001 - there is nothing to report
            return self.client.segment_prompts(read(), list(prompts), options, logits=True, slot=slot, call=call)

        self.jobs.submit(work, on_done=done, on_error=self.failed, topic=topic)

    # --- what is done to the labels

    def apply(self, action: Action) -> None:
        """Do something to the labels, as one step of the history."""
        self._open_ledger().apply(action)

    def undo(self) -> None:
        """Take the newest step back."""
        self._quiet()
        title = self._open_ledger().undo()
        self.say("There is nothing to undo." if title is None else f"Undone: {title}.")

    def redo(self) -> None:
        """Do the step again that was taken back last."""
        self._quiet()
        title = self._open_ledger().redo()
        self.say("There is nothing to do again." if title is None else f"Done again: {title}.")

    def cancel(self) -> None:
        """Stop whatever is under way."""
        self.automatic.cancel()
        self.jobs.cancel()
        self.changed.emit()

    # --- what the user is told

    def say(self, text: str, kind: str = "info") -> None:
        """Tell the user something."""
        self.said.emit(text, kind)

    def failed(self, error: CellsamError) -> None:
        """Tell the user that something failed; of what was cancelled nothing is told."""
        if isinstance(error, RequestCancelledError):
            return
        if isinstance(error, ServiceError):
            self.connection.failed(error)
        self.say(str(error), "error")
        self.changed.emit()

    def close(self) -> None:
        """Let go of everything; layers stay as they are."""
        self._follower.close()
        self.automatic.close()
        self.jobs.close()
        self.connection.close()
        for ledger in self._ledgers.values():
            ledger.close()
        self._ledgers.clear()
        self._store.close()
        self.closed.emit()

    # --- how it follows the viewer

    def _open_ledger(self) -> Ledger:
        """Return the ledger of the labels; a layer is added if there is none."""
        if self._ledger is None:
            source = self._need_source()
            self._use(add_labels(self.viewer, source.layer, source.shape, source.placement))
            self.viewer.layers.selection.active = source.layer
        assert self._ledger is not None  # noqa: S101 - made just now
        return self._ledger

    def _use(self, layer: Labels) -> None:
        if layer.unique_id not in self._ledgers:
            ledger = self._ledgers[layer.unique_id] = Ledger(layer)
            ledger.changed.connect(self.changed.emit)
            self.labels_used.emit(layer)
        self._ledger = self._ledgers[layer.unique_id]

    def _need_source(self) -> ImageSource:
        if self.source is None:
            raise NoImageError("There is no image to work on: open one, and click its layer.")
        return self.source

    def _leave(self) -> None:
        """Work on nothing."""
        self._quiet()
        self.jobs.cancel("prefetch")
        self.source, self._ledger = None, None
        self._read.clear()

    def _quiet(self) -> None:
        """Stop what would write into the labels."""
        self.automatic.cancel()
        self.prompting.forget()

    def forget_layer(self, layer: Layer) -> None:
        """Let go of a layer that was removed."""
        ledger = self._ledgers.pop(layer.unique_id, None)
        if ledger is not None:
            if ledger is self._ledger:
                self.automatic.drop()
                self.prompting.forget()
                self._ledger = None
            ledger.close()
        if self.source is not None and self.source.uses(layer):
            main = self.source.layer
            self.automatic.drop()
            self._leave()
            if not same_layer(main, layer):  # it was the other channel
                self.use_image(main)
        self.changed.emit()

    def look_at(self, plane: Plane) -> None:
        """Take note of the plane that is shown now; that it is still the same changes nothing."""
        if plane != self._shown:
            self._shown = plane
            self.prompting.forget()
            self._prefetch()
            self.changed.emit()

    def _on_connection(self) -> None:
        if self.connection.state == "ready":
            self._prefetch()
        self.changed.emit()

    def _prefetch(self) -> None:
        """Let the model look at the plane while the user does."""
        if self.connection.state != "ready" or self.source is None:
            return
        try:
            read, options = self.image_reader(self.plane), self.options
        except CellsamError as error:
            self.say(str(error), "warning")
            return

        def work(call: Call, report: Report) -> object:  # noqa: ARG001
            return self.client.prefetch(read(), options, call=call)

        self.jobs.submit(work, on_done=lambda _: self.changed.emit(), on_error=self.failed, topic="prefetch")
