"""The workplace: which image is worked on and which labels are written into, and how one follows the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cellsam.editing.edits import Plane
from napari_cellsam.errors import OutputError
from napari_cellsam.widgets._asking import Asking
from napari_cellsam.widgets._follower import Follower
from napari_cellsam.widgets._layers import same_layer
from napari_cellsam.widgets._ledgers import Ledgers
from napari_cellsam.widgets._looking import Looking
from napari_cellsam.widgets._placing import Placing

if TYPE_CHECKING:
    from napari.layers import Labels, Layer
    from numpy.typing import NDArray

    from napari_cellsam.widgets._channel_memory import ChannelMemory
    from napari_cellsam.widgets._channels import ChannelMap
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["Workplace"]


class Workplace:
    """Changes from image to image, plane to plane and layer to layer, and stops what belonged to the one before.

    Attributes
    ----------
    looking
        What is looked at.
    ledgers
        What is written into.
    asking
        How the model is asked.
    follower
        What listens to the viewer.
    """

    def __init__(self, session: Session, memory: ChannelMemory) -> None:
        self._session = session
        self._shown: Plane | None = None
        self.looking = Looking(session.viewer, memory)
        self.ledgers = Ledgers(session.viewer, self.looking, session.jobs)
        self.asking, self._placing = Asking(session), Placing(session.viewer)
        self.ledgers.used.connect(session.labels_used.emit)
        self.ledgers.changed.connect(session.changed.emit)
        self.ledgers.failed.connect(session.failed)
        self.ledgers.lost.connect(self._on_lost)
        self.asking.prefetched.connect(session.changed.emit)
        self.follower = Follower(session, self)

    def use_image(self, layer: Layer) -> None:
        """Work on an image layer from now on."""
        if not self.looking.is_at(layer):
            self._work_on(self.looking.find(layer))

    def set_channels(self, channels: ChannelMap) -> None:
        """Work on the same image with other channels, and in the same labels if they fit."""
        self._work_on(self.looking.with_channels(channels))
        try:
            self.looking.remember()
        except OutputError as error:  # they count all the same
            self._session.say(str(error), "warning")

    def write_into(self, layer: Labels | None) -> None:
        """Write into a labels layer from now on; into a new one if it is None."""
        self.quiet()
        if layer is None:
            self.ledgers.add()
        else:
            self.ledgers.choose(layer)
            if not self.looking.needed.lies_under(layer):
                self._session.say(
                    f"Labels layer {layer.name!r} does not lie where the image does, so its cells are seen elsewhere "
                    "than they are; give it the image's scale, translation, rotation, shear, affine and units.",
                    "warning",
                )
        self._session.changed.emit()

    def bring_in(self, labels: NDArray[Any]) -> None:
        """Write into a new layer that has cells already."""
        self.quiet()
        ledger = self.ledgers.add(labels)
        ledger.target.know_highest(int(labels.max(initial=0)))
        self._session.changed.emit()

    def undo(self) -> None:
        """Take the newest action back, which may not be done yet."""
        if self._session.jobs.take_back() is False:
            self._session.say("Taken back before it was done.")
            return
        self._session.automatic.cancel()
        self._session.prompting.accept()  # older questions are still to be answered
        title = self.ledgers.open().undo()
        self._session.say("There is nothing to undo." if title is None else f"Undone: {title}.")

    def redo(self) -> None:
        """Do the step again that was taken back last."""
        self.quiet()
        title = self.ledgers.open().redo()
        self._session.say("There is nothing to do again." if title is None else f"Done again: {title}.")

    def look_at(self, plane: Plane) -> None:
        """Take note of the plane that is shown now; that it is still the same changes nothing."""
        if plane != self._shown:
            self._shown = plane
            self._session.prompting.accept()  # clicks that wait for their answer become cells of the plane before
            self.asking.prefetch()
            self._session.changed.emit()

    def forget_layer(self, layer: Layer) -> None:
        """Let go of a layer that was removed."""
        session = self._session
        if self.ledgers.forget(layer):
            session.automatic.drop()
            session.prompting.forget()
        source = self.looking.source
        if source is not None and source.uses(layer):
            if session.automatic.running:
                session.say(f"The run was stopped: layer {layer.name!r}, which it looks at, was removed.", "warning")
            session.automatic.drop()
            self.leave()
            if not same_layer(source.layer, layer):  # it was the other channel
                self.use_image(source.layer)
        session.changed.emit()

    def leave(self) -> None:
        """Work on nothing."""
        self.quiet()
        self.asking.stop_prefetch()
        self._placing.leave()
        self.looking.leave()
        self.ledgers.leave()

    def quiet(self) -> None:
        """Stop what would write into the labels; actions that are lost by that are told of."""
        session = self._session
        session.automatic.cancel()
        n_lost = session.jobs.n_actions
        session.prompting.forget()
        if n_lost:
            what = "1 click or drawing was" if n_lost == 1 else f"{n_lost} clicks or drawings were"
            session.say(f"{what} not answered yet, and nothing came of it: do it again there.", "warning")

    def close(self) -> None:
        """Listen to the viewer no more."""
        self.follower.close()
        self._placing.leave()

    def _work_on(self, source: ImageSource) -> None:
        self.leave()
        self.looking.source = source
        self._placing.follow(source)
        self.ledgers.find()
        self._shown = None
        self.follower.look()
        self._session.journaling.look_for()
        self._session.changed.emit()

    def _on_lost(self, layer: Layer, why: str) -> None:
        """Let go of a labels layer that cells cannot be written into any more."""
        self.forget_layer(layer)
        self._session.say(why, "warning")
