"""The hover preview: the outline of the cell under the moving cursor, before it is clicked."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_cellsam.editing.edits import Plane
from napari_cellsam.errors import CellsamError, ImageShapeError, RequestCancelledError
from napari_cellsam.types import Mask, Prompt
from napari_cellsam.widgets._asking import Asking
from napari_cellsam.widgets._pace import Pace
from napari_cellsam.widgets._preview_outline import PreviewOutline

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session

__all__ = ["HoverPreview"]

_TOPIC = _SLOT = "hover"


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the cursor is, and on what picture."""

    picture: Hashable
    plane: Plane
    y: float
    x: float

    @property
    def pixel(self) -> tuple[int, int]:
        return round(self.y), round(self.x)


class HoverPreview:
    """Outlines the cell that a click would make.

    One question is under way at most; when it is answered, the newest position is asked for. Nothing is asked while the
    cursor lies on a cell, in the outline that is shown, or beyond the picture, nor during an automatic run. Where the
    model is too slow for it, the preview pauses by itself. A click on the very pixel that was asked for takes the mask
    that is shown. ``changed`` is emitted when it is turned on or off, or pauses.

    Parameters
    ----------
    session
        What is looked at.
    clock
        Returns seconds.
    """

    changed = Signal()

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._session, self._clock = session, clock
        self._asking = Asking(session)
        self._outline = PreviewOutline(session.viewer)
        self._pace = Pace(clock)
        self._chosen: bool | None = None  # since the preferences were changed last
        self._asked: _Place | None = None
        self._next: _Place | None = None
        self._shown: tuple[_Place, Mask] | None = None
        self._picture: Hashable = None
        self._told = self._closed = False
        session.changed.connect(self._follow)
        session.store.changed.connect(self._on_preferences)
        session.prompting.seen = self.seen
        self._outline.removed.connect(self._on_removed)

    @property
    def on(self) -> bool:
        """Whether cells are outlined under the cursor; as the user prefers until it is turned on or off."""
        return bool(self._session.preferences.hover) if self._chosen is None else self._chosen

    @property
    def paused(self) -> bool:
        """Whether it waits for the model to be quicker."""
        return self._pace.paused

    @property
    def latency_s(self) -> float | None:
        """Median time from asking to the answer; None before there are enough answers."""
        return self._pace.latency_s

    def set_on(self, on: bool) -> None:
        """Turn it on or off."""
        self._chosen = on
        self._pace.reset()
        self._follow()
        self.changed.emit()

    def toggle(self) -> None:
        """Turn it on if it is off, and off if it is on."""
        self.set_on(not self.on)
        self._session.say(f"The cell under the cursor is {'outlined' if self.on else 'not outlined'} before a click.")

    def moved(self, position: Sequence[float]) -> None:
        """Take note of where the cursor is now.

        Parameters
        ----------
        position
            In the world's coordinates, one per axis of the viewer.
        """
        place = self._place_at(position)
        self._next = None
        if place is None:
            self.hide()
        elif not self._shows(place):
            self._next = place
            self._ask_next()

    def left(self) -> None:
        """Take note that the cursor has left the picture."""
        self.hide()

    def hide(self) -> None:
        """Show nothing until the cursor moves again; an answer on its way is not shown."""
        self._asked = self._next = self._shown = None
        self._outline.hide()

    def seen(self, plane: Plane, y: float, x: float) -> Mask | None:
        """Return the mask that is shown, if it is the answer to a click at this very pixel."""
        if self._shown is None or not self._outline.visible:
            return None
        place, mask = self._shown
        same = (place.picture, place.plane, place.pixel) == (self._now(), plane, (round(y), round(x)))
        return mask if same else None

    def close(self) -> None:
        """Listen no more, and remove the layer; a second time changes nothing."""
        if self._closed:
            return
        self._closed = True
        self._session.changed.disconnect(self._follow)
        self._session.store.changed.disconnect(self._on_preferences)
        self._session.prompting.seen = None
        self._session.jobs.cancel(_TOPIC)
        self.hide()
        self._outline.close()

    # --- asking

    def _place_at(self, position: Sequence[float]) -> _Place | None:
        """Return the place under the cursor; None where nothing is to be outlined."""
        session = self._session
        wanted = self.on and session.clicking and session.source is not None and session.connection.state == "ready"
        if not wanted or session.automatic.running or self._pace.paused:
            return None
        y, x = session.to_yx(position)
        if not session.holds(y, x):
            return None
        try:
            plane = session.plane
        except ImageShapeError:
            return None  # the window shows no plane at the moment
        if session.has_target and session.target.at(plane, round(y), round(x)):
            return None
        return _Place(self._now(), plane, y, x)

    def _shows(self, place: _Place) -> bool:
        """Return whether the outline that is shown is the one for a place."""
        if self._shown is None:
            return False
        shown, mask = self._shown
        return (shown.picture, shown.plane) == (place.picture, place.plane) and _holds(mask, place)

    def _ask_next(self) -> None:
        place = self._next
        if place is None or self._session.jobs.running(_TOPIC):
            return
        self._asked, self._next, begun = place, None, self._clock()
        prompt = Prompt(inside=((place.y, place.x),))

        def done(masks: list[Mask]) -> None:
            self._answered(place, masks[0], self._clock() - begun)

        try:
            self._asking.decode(place.plane, [prompt], done, failed=self._failed, topic=_TOPIC, slot=_SLOT)
        except CellsamError as error:  # the plane cannot be read
            self._failed(error)

    def _answered(self, place: _Place, mask: Mask, seconds: float) -> None:
        current, self._asked = self._asked is place, None
        if self._pace.note(seconds):
            self._pause(seconds)
            return
        if current and place.picture == self._now():
            if mask.area == 0:
                self._shown = None
                self._outline.hide()
            elif self._next is None or _holds(mask, self._next):
                self._next = None
                self._show(place, mask)
        self._ask_next()

    def _show(self, place: _Place, mask: Mask) -> None:
        session = self._session
        if session.source is None or (session.has_target and session.target.at(place.plane, *place.pixel)):
            return
        self._shown = place, mask
        self._outline.show(mask, session.source)

    def _pause(self, seconds: float) -> None:
        self.hide()
        if not self._told:
            self._told = True
            self._session.say(
                f"Cells are not outlined under the cursor for now: the model takes {1000 * seconds:.0f} ms an answer."
            )
        self.changed.emit()

    def _failed(self, error: CellsamError) -> None:
        """Tell what went wrong, and let the user work in peace for a while."""
        self.hide()
        if not isinstance(error, RequestCancelledError):
            self._pace.pause()
            self._session.failed(error)

    # --- following

    def _now(self) -> Hashable:
        """Return what the answers depend on, beside the plane and the place."""
        source = self._session.source
        return (
            None if source is None else (source.signature(), self._session.options, self._session.connection.answering)
        )

    def _follow(self) -> None:
        """Keep to what is looked at."""
        session = self._session
        if not (self.on and session.clicking) or session.source is None:
            self._stop()
            return
        try:
            picture: Hashable = self._now(), session.plane
        except ImageShapeError:
            self.hide()
            return
        if picture != self._picture:
            self._picture = picture
            self._pace.reset()
            self.hide()
            self._outline.prepare(session.source)
        elif self._shown is not None and session.has_target:
            place, _ = self._shown
            if session.target.at(place.plane, *place.pixel):  # it is a cell by now
                self.hide()

    def _stop(self) -> None:
        self._session.jobs.cancel(_TOPIC)
        self.hide()
        self._outline.remove()

    def _on_preferences(self, *preferences: Any) -> None:  # noqa: ARG002 - they are asked when needed
        self._chosen = None
        self._follow()
        self.changed.emit()

    def _on_removed(self) -> None:
        """Take the removal of the layer for what it means."""
        self.set_on(False)


def _holds(mask: Mask, place: _Place) -> bool:
    """Return whether a place lies in a mask."""
    y, x = place.pixel[0] - mask.corner[0], place.pixel[1] - mask.corner[1]
    height, width = mask.crop.shape
    return bool(0 <= y < height and 0 <= x < width and mask.crop[y, x])
