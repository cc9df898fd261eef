"""The preview of what the model sees: a layer of ours with the picture that is prepared for it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_cellsam.data.prepare import prepare
from napari_cellsam.errors import CellsamError, ImageShapeError
from napari_cellsam.types import Image

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._source import ImageSource

__all__ = ["ModelView", "as_seen"]

_TOPIC = "model view"
_CELL_TINT, _NUCLEAR_TINT = 0.6, (0.2, 0.4, 1.0)


class ModelView:
    """Shows the picture as it is prepared for the model, and follows the plane, the channels and the image.

    Everything but the drawing is done in another thread. ``changed`` is emitted when it is turned on or off, also by
    the user who removes the layer.

    Parameters
    ----------
    session
        What is looked at.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._on = False
        self._layer: Layer | None = None
        self._asked: Hashable = None
        session.changed.connect(self._follow)
        session.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def on(self) -> bool:
        """Whether it is shown."""
        return self._on

    def show(self) -> None:
        """Turn it on."""
        self._on, self._asked = True, None
        self._follow()
        self.changed.emit()

    def hide(self) -> None:
        """Turn it off, and remove the layer."""
        self._on = False
        self._remove()
        self.changed.emit()

    def close(self) -> None:
        """Follow nothing any more; the layer stays."""
        self._session.changed.disconnect(self._follow)
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        self._session.jobs.cancel(_TOPIC)
        self._on = False

    def _follow(self) -> None:
        """Show what is looked at now, unless that is shown already."""
        source = self._session.source
        if not self._on:
            return
        if source is None:
            self._remove()
            return
        clahe = bool(self._session.options.clahe)
        try:
            plane = source.plane
            asked = source.signature(), plane, clahe
            if asked == self._asked:
                return
            read = self._session.image_reader(plane)
        except ImageShapeError:
            return  # the window shows no plane at the moment
        except CellsamError as error:
            self._session.failed(error)
            return
        self._asked = asked

        def work(call: Call, report: Report) -> NDArray[np.uint8]:  # noqa: ARG001 - there is nothing to report
            return as_seen(read(call), clahe=clahe)

        self._session.jobs.submit(
            work, on_done=lambda seen: self._draw(source, seen), on_error=self._session.failed, topic=_TOPIC
        )

    def _draw(self, source: ImageSource, seen: NDArray[np.uint8]) -> None:
        """Put the picture into our layer."""
        if self._layer is None:
            self._add(source, seen)
            return
        self._layer.data = seen
        self._layer.name = _name_for(source)
        for name, value in source.plane_placement.items():
            setattr(self._layer, name, value)

    def _add(self, source: ImageSource, seen: NDArray[np.uint8]) -> None:
        """Add our layer just above the image, below the labels, and leave the choice of the layer to the user."""
        layers = self._session.viewer.layers
        chosen = list(layers.selection)
        active = layers.selection.active
        self._layer = self._session.viewer.add_image(
            seen,
            rgb=True,
            name=_name_for(source),
            metadata={"napari-cellsam": {"seen_of": str(source.layer.unique_id)}},
            **source.plane_placement,
        )
        places = [place for place, layer in enumerate(layers) if layer.unique_id == source.layer.unique_id]
        if places:
            layers.move(len(layers) - 1, places[0] + 1)
        layers.selection.clear()
        layers.selection.update(chosen)
        layers.selection.active = active

    def _remove(self) -> None:
        self._asked = None
        self._session.jobs.cancel(_TOPIC)
        layer, self._layer = self._layer, None
        if layer is not None:
            self._session.viewer.layers.remove(layer)

    def _on_removed(self, event: object) -> None:
        removed = getattr(event, "value", None)
        if self._layer is not None and removed is not None and removed.unique_id == self._layer.unique_id:
            self._layer, self._on, self._asked = None, False, None
            self._session.jobs.cancel(_TOPIC)
            self.changed.emit()


def as_seen(image: Image, *, clahe: bool = False) -> NDArray[np.uint8]:
    """Return the prepared picture as colours ``(Y, X, 3)``.

    One channel is grey. Of two, the whole cells are grey and the nuclei blue.

    Parameters
    ----------
    image
        The picture as acquired.
    clahe
        Whether local contrast is equalized for the model.
    """
    _, nuclear, cell = prepare(image, clahe=clahe)
    if image.rgb or image.nuclear is None or image.cell is None:
        grey = np.round((nuclear + cell) * 255).astype(np.uint8)  # one of them is blank
        return np.repeat(grey[:, :, None], 3, axis=2)
    seen = np.empty((*image.shape, 3), np.uint8)
    for colour, tint in enumerate(_NUCLEAR_TINT):
        seen[..., colour] = np.round(np.minimum(_CELL_TINT * cell + tint * nuclear, 1) * 255)
    return seen


def _name_for(source: ImageSource) -> str:
    return f"{source.layer.name} as the model sees it"
