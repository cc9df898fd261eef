"""The follower: tells a session which image and which plane a viewer shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import ImageShapeError
from napari_cellsam.widgets._layers import same_layer

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._workplace import Workplace

__all__ = ["Follower"]


class Follower:
    """Listens to a session's viewer."""

    def __init__(self, session: Session, workplace: Workplace) -> None:
        self._session, self._workplace = session, workplace
        layers, dims = session.viewer.layers, session.viewer.dims
        self._heard = (
            (layers.selection.events.active, self.take_active),
            (layers.events.removed, self._on_removed),
            (dims.events.current_step, self.look),
            (dims.events.ndisplay, self.look),
        )
        for event, listener in self._heard:
            event.connect(listener)

    def close(self) -> None:
        """Listen no more."""
        for event, listener in self._heard:
            event.disconnect(listener)

    def take_active(self, event: Any = None) -> None:  # noqa: ARG002 - napari's signature
        """Let the session work on the active layer, if that is an image of the user's."""
        from napari.layers import Image

        layers, source = self._session.viewer.layers, self._session.source
        images = [layer for layer in layers if isinstance(layer, Image) and "napari-cellsam" not in layer.metadata]
        active = layers.selection.active
        layer = None if active is None else next((layer for layer in images if same_layer(layer, active)), None)
        if layer is None and source is None and len(images) == 1:
            layer = images[0]  # there is nothing to choose
        if layer is None:
            return
        if source is None or same_layer(source.layer, layer) or not source.uses(layer):  # it may be the other channel
            try:
                self._session.use_image(layer)
            except ImageShapeError as error:
                self._session.say(str(error), "warning")

    def look(self, event: Any = None) -> None:  # noqa: ARG002
        """Tell the session which plane is shown; one that cannot be used is told of when something is asked of it."""
        session = self._session
        if session.source is None:
            return
        try:
            plane = session.plane
        except ImageShapeError:
            return
        self._workplace.look_at(plane)

    def _on_removed(self, event: Any) -> None:
        self._workplace.forget_layer(event.value)
