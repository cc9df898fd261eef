"""Verifying: regions in which a person says that every cell is outlined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import Plane
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.errors import CellsamError
from napari_cellsam.widgets._extent import Window, window_around
from napari_cellsam.widgets._layers import same_layer
from napari_cellsam.widgets._search_region import Region

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_cellsam.widgets._session import Session

__all__ = ["Verifying"]

_COLOUR = (0.2, 0.8, 0.4, 1.0)
_OPACITY = 0.18
_ROWS_AT_ONCE = 256
_AROUND_PX = 256  # in which cells at the border of a region are seen whole


class Verifying:
    """Marks regions of the plane that is shown, one step of the history each, and shows what is marked.

    In a verified region what is no cell is background; outside of it, that is unknown. Cells of which at least half
    lies in a region that is verified count as reviewed.

    ``changed`` is emitted when the picture of it is shown or hidden.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer: Labels | None = None
        self._on = False
        session.changed.connect(self._follow)
        session.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def on(self) -> bool:
        """Whether the verified regions are shown."""
        return self._on

    @property
    def share(self) -> float:
        """Share of the plane that is verified, 0 to 1."""
        return float(self._marked().mean()) if self._session.has_target else 0.0

    @property
    def percent(self) -> int:
        """`share` in percent, rounded down, so that 100 is all of it."""
        return int(100 * self.share + 1e-9)

    def verify_image(self) -> None:
        """Every cell of the plane is outlined."""
        height, width = self._session.target.shape
        self.mark(Region((0, 0, height, width)), verified=True)

    def verify_view(self) -> None:
        """Every cell of what the window shows is outlined."""
        self.mark(Region(self._session.view()), verified=True)

    def unverify_image(self) -> None:
        """Nothing is said of the plane any more."""
        height, width = self._session.target.shape
        self.mark(Region((0, 0, height, width)), verified=False)

    def mark(self, region: Region, *, verified: bool) -> None:
        """Say that every cell of a region is outlined, or that this is not known."""
        session = self._session
        plane = session.plane
        y0, x0, y1, x1 = region.box
        window = (slice(y0, y1), slice(x0, x1))
        inside = region.pixels()
        mark = session.verified.changed(plane, window, inside, verified=verified)
        changes = self._reviewed(self._labels_in(plane, window, inside)) if verified else ()
        word = "verified" if verified else "not verified"
        if mark is None and not changes:
            session.say(f"This is {word} already.")
            return
        session.apply(Action(f"mark as {word}", (), changes, None, () if mark is None else (mark,)))
        session.say(f"{self.percent}% of the image is verified: what is no cell there is background.")

    def show(self) -> None:
        """Show the verified regions of the plane, in a layer of ours."""
        self._on = True
        self._follow()
        self.changed.emit()

    def hide(self) -> None:
        """Show them no more."""
        self._on = False
        self._remove()
        self.changed.emit()

    def close(self) -> None:
        """Listen no more."""
        self._session.changed.disconnect(self._follow)
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        self._on = False
        self._remove()

    def _labels_in(self, plane: Plane, window: Window, inside: NDArray[np.bool_]) -> Iterable[int]:
        """Return the cells in a region, or most of them in it."""
        target = self._session.settled
        pixels = np.asarray(target.layer.data[plane])
        if inside.shape == target.shape and inside.all():
            return _areas(pixels)
        rows, columns = (slice(part.start - _AROUND_PX, part.stop + _AROUND_PX) for part in window)
        around = window_around(target.shape, (rows, columns))
        labels = pixels[around]
        (top, left), (height, width) = (w.start - a.start for w, a in zip(window, around, strict=True)), inside.shape
        within = _areas(np.where(inside, labels[top : top + height, left : left + width], 0))
        areas = _areas(labels)
        return [label for label, area in within.items() if 2 * area >= areas[label]]

    def _reviewed(self, labels: Iterable[int]) -> tuple[RecordChange, ...]:
        """Return how cells become reviewed that a person says are right."""
        cells, plane = self._session.cells, self._session.plane
        pairs = ((cells.get(plane, label), CellRecord(label, plane)) for label in labels)
        return tuple(
            RecordChange(old, replace(old or new, reviewed=True))
            for old, new in pairs
            if old is None or not old.reviewed
        )

    def _marked(self) -> NDArray[np.bool_]:
        """Return the verified pixels of the plane that is shown."""
        return self._session.verified.of(self._session.plane)

    def _follow(self) -> None:
        """Show the plane as it is now."""
        source = self._session.source
        if not self._on:
            return
        if source is None or not self._session.has_target:
            self._remove()
            return
        try:
            marked = self._marked().astype(np.uint8)
        except CellsamError:
            return  # the window shows no plane at the moment
        if self._layer is None:
            self._add(marked)
        elif not np.array_equal(self._layer.data, marked):
            self._layer.data = marked

    def _add(self, marked: NDArray[np.uint8]) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        source, layers = self._session.source, self._session.viewer.layers
        assert source is not None  # noqa: S101 - looked at by `_follow`
        chosen, active = list(layers.selection), layers.selection.active
        self._layer = self._session.viewer.add_labels(
            marked,
            name=f"{source.layer.name} verified",
            opacity=_OPACITY,
            colormap=DirectLabelColormap(color_dict={None: _COLOUR, 0: (0, 0, 0, 0), 1: _COLOUR}),
            metadata={"napari-cellsam": {"verified": True}},
            **source.plane_placement,
        )
        layers.selection.clear()
        layers.selection.update(chosen)
        layers.selection.active = active

    def _remove(self) -> None:
        layer, self._layer = self._layer, None
        if layer is not None and any(same_layer(layer, there) for there in self._session.viewer.layers):
            self._session.viewer.layers.remove(layer)

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and same_layer(event.value, self._layer):
            self._layer, self._on = None, False
            self.changed.emit()


def _areas(labels: NDArray[np.integer[Any]]) -> dict[int, int]:
    """Return how many pixels each cell has."""
    highest = int(labels.max(initial=0))
    if highest > 4 * labels.size + 1024:  # a table of all numbers would be larger than the image
        numbers, areas = np.unique(labels, return_counts=True)
    else:
        table = np.zeros(highest + 1, np.int64)
        for top in range(0, len(labels), _ROWS_AT_ONCE):  # a copy of all of a large image would be larger still
            strip = np.maximum(labels[top : top + _ROWS_AT_ONCE], 0).ravel()
            table += np.bincount(strip.astype(np.int64), minlength=highest + 1)
        numbers = np.flatnonzero(table)
        areas = table[numbers]
    return {number: area for number, area in zip(numbers.tolist(), areas.tolist(), strict=True) if number > 0}
