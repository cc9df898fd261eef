"""The session: all that the docks show of one viewer, and all that they can ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import Plane
from napari_cellsam.errors import CellsamError, OutputError, RequestCancelledError, ServiceError
from napari_cellsam.types import SegmentOptions
from napari_cellsam.widgets._automatic import Automatic, Rule
from napari_cellsam.widgets._channel_memory import ChannelMemory
from napari_cellsam.widgets._collecting import Collecting
from napari_cellsam.widgets._correcting import Correcting
from napari_cellsam.widgets._detections import DetectorBoxes
from napari_cellsam.widgets._exporting import Exporting
from napari_cellsam.widgets._folder_work import FolderWork
from napari_cellsam.widgets._history import History
from napari_cellsam.widgets._hover import HoverPreview
from napari_cellsam.widgets._jobs import Jobs
from napari_cellsam.widgets._journaling import Journaling
from napari_cellsam.widgets._layers import LabelsTarget
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._measuring import Measuring
from napari_cellsam.widgets._preview import ModelView
from napari_cellsam.widgets._prompt_layers import PromptLayers
from napari_cellsam.widgets._prompting import Prompting
from napari_cellsam.widgets._records import CellTable
from napari_cellsam.widgets._region import RegionDrawing
from napari_cellsam.widgets._review import Review
from napari_cellsam.widgets._selection import Selection
from napari_cellsam.widgets._training import Training
from napari_cellsam.widgets._verifying import Verifying
from napari_cellsam.widgets._workplace import Workplace

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer
    from numpy.typing import NDArray

    from napari_cellsam.editing.verified import VerifiedRegions
    from napari_cellsam.widgets._channels import ChannelMap
    from napari_cellsam.widgets._connection import AnyClient, Connection
    from napari_cellsam.widgets._plane_cache import PlaneReader
    from napari_cellsam.widgets._preferences import Preferences, PreferenceStore
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["NoImageError", "Session"]


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
    memory
        Which channels were chosen for which pictures; the user's if None.
    """

    closed = Signal()
    changed = Signal()
    said = Signal(str, str)
    labels_used = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        jobs: Jobs,
        connection: Connection,
        store: PreferenceStore,
        memory: ChannelMemory | None = None,
    ) -> None:
        self.viewer, self.jobs, self.connection, self.store = viewer, jobs, connection, store
        self.rule: Rule = store.value.rule
        self.clicking = False
        self._place = Workplace(self, memory or ChannelMemory())
        self.prompting = Prompting(self)
        self.automatic, self.selection = Automatic(self), Selection(self, self._place.ledgers)
        self.correcting, self.hover = Correcting(self), HoverPreview(self)
        self.shapes, self.region = PromptLayers(self), RegionDrawing(self)
        self.boxes = DetectorBoxes(self)  # listens to the session; whoever shows it listens to it
        self.review, self.verifying = Review(self), Verifying(self)
        self.measuring = Measuring(self, self._place.ledgers)
        self.exporting, self.collecting, self.model_view = Exporting(self), Collecting(self), ModelView(self)
        self.journaling = Journaling(self, self._place.ledgers)
        self.folder, self.training = FolderWork(self), Training(self)
        shown = (self.folder, self.hover, self.shapes, self.review, self.boxes, self.region, self.verifying)
        asked = (self.model_view, self.automatic, self.selection, self.correcting, self.measuring, self.exporting)
        self._tools = (*shown, *asked, self.collecting, self.training)
        for tool in (*self._tools, self.prompting, self.journaling):
            if tool is not self.boxes:
                tool.changed.connect(self.changed.emit)
        connection.changed.connect(self._on_connection)

    # --- what is worked on

    @property
    def source(self) -> ImageSource | None:
        """The image that is looked at; None where there is none."""
        return self._place.looking.source

    @property
    def target(self) -> LabelsTarget:
        """The labels layer that cells are written into; ours is added when it is needed.

        Raises
        ------
        NoImageError
            If there is no image.
        """
        return self._place.ledgers.open().target

    @property
    def settled(self) -> LabelsTarget:
        """The same, when all is written that is still being undone or done again; for whoever reads all of it."""
        self._place.ledgers.open().settle()
        return self.target

    @property
    def cells(self) -> CellTable:
        """The records of its cells."""
        return self._place.ledgers.open().cells

    @property
    def verified(self) -> VerifiedRegions:
        """Where every cell is outlined."""
        return self._place.ledgers.open().verified

    @property
    def history(self) -> History:
        """What was done to it."""
        return self._place.ledgers.open().history

    @property
    def has_target(self) -> bool:
        """Whether there is a labels layer already."""
        return self._place.ledgers.current is not None

    @property
    def writing(self) -> bool:
        """Whether a large step is still being undone or done again."""
        return self._place.ledgers.writing

    @property
    def plane(self) -> Plane:
        """Which plane of the stack is shown."""
        return self._place.looking.needed.plane

    @property
    def client(self) -> AnyClient:
        """The way to the model; for threads that may wait."""
        return self.connection.client

    @property
    def preferences(self) -> Preferences:
        """What the user has chosen once and for all."""
        return self.store.value

    @property
    def options(self) -> SegmentOptions:
        """How images are segmented."""
        return self.preferences.options

    def start(self) -> None:
        """Begin: start the service, and take the active image."""
        self.connection.start()
        self._place.follower.take_active()

    def use_image(self, layer: Layer) -> None:
        """Work on an image layer from now on, and let the model look at it; refuse one that cannot be used."""
        self._place.use_image(layer)

    def set_channels(self, channels: ChannelMap) -> None:
        """Let the model have other channels of the image; they are remembered for pictures like it.

        Raises
        ------
        ChannelError, ImageShapeError
            If the image cannot have them; nothing changes then.
        """
        self._place.set_channels(channels)

    def use_labels(self, layer: Labels) -> None:
        """Write into a labels layer that the user chose; refuse one that does not fit, or cannot be written."""
        self._place.write_into(layer)

    def use_new_labels(self) -> None:
        """Write into a new labels layer."""
        self._place.write_into(None)

    def bring_in(self, labels: NDArray[Any]) -> None:
        """Write into a new labels layer of the image's shape, which has cells already."""
        self._place.bring_in(labels)

    def set_clicking(self, on: bool) -> None:
        """Turn click mode on or off."""
        if on:
            self._place.ledgers.open()
        else:
            self.prompting.accept()
        self.clicking = on
        self.changed.emit()

    def holds(self, y: float, x: float) -> bool:
        """Return whether a place lies in the picture."""
        return self._place.looking.holds(y, x)

    def to_yx(self, position: Sequence[float]) -> tuple[float, float]:
        """Return the pixel ``(y, x)`` at a position in the world's coordinates."""
        return self._place.looking.to_yx(position)

    def view(self) -> tuple[int, int, int, int]:
        """Return the region of the plane that the window shows, as `Looking.view`."""
        return self._place.looking.view()

    def planes(self) -> list[Plane]:
        """Return all planes of the stack."""
        return list(self._place.looking.needed.planes())

    def diameter(self, plane: Plane) -> float | None:
        """Return how large cells of a plane are, in pixels, if the model has looked at it as it is now."""
        return self._place.asking.diameter(plane)

    def image_reader(self, plane: Plane) -> PlaneReader:
        """Return what reads a plane in another thread; the newest one is kept."""
        return self._place.looking.reader(plane)

    # --- what is done to the labels

    def apply(self, action: Action) -> None:
        """Do something to the labels, as one step of the history."""
        self._place.ledgers.open().apply(action)

    def undo(self) -> None:
        """Take the newest step back."""
        self._place.undo()

    def redo(self) -> None:
        """Do the step again that was taken back last."""
        self._place.redo()

    def prefer(self, **changes: Any) -> None:
        """Keep preferences from now on; that they cannot be written is told, and they count until the end of this run.

        Raises
        ------
        OptionError
            If they are out of range; nothing changes then.
        """
        try:
            self.store.update(**changes)
        except OutputError as error:
            self.say(str(error), "warning")

    def cancel(self) -> None:
        """Stop whatever is under way, but nothing that would leave things half done."""
        self.automatic.cancel()
        self.exporting.cancel()
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
        self._place.close()
        for part in (*self._tools, self.jobs, self.connection, self._place.ledgers, self.journaling, self.store):
            part.close()
        self.closed.emit()

    def _on_connection(self) -> None:
        if self.connection.state == "ready":
            self._place.asking.prefetch()
        self.changed.emit()
