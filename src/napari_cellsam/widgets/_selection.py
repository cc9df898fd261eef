"""The selection: cells of a plane on which a correction acts together."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_cellsam.errors import CellsamError, OptionError
from napari_cellsam.widgets._extent import Window, extent_of
from napari_cellsam.widgets._frames import Frames

if TYPE_CHECKING:
    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.widgets._search_region import Region
    from napari_cellsam.widgets._session import Session

__all__ = ["Selection"]

_COLOUR = "#06d6a0"


class Selection:
    """Keeps which cells of the plane that is shown are selected, and frames them.

    What another step takes away is selected no more, and neither is anything when another plane is shown. ``changed``
    is emitted when other cells are selected.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._plane: Plane = ()
        self._windows: dict[int, Window] = {}
        self._known: Hashable = None  # after which step the windows were so
        self._frames = Frames(session, "selected cells", _COLOUR, "selection")
        session.changed.connect(self._follow)

    @property
    def cells(self) -> dict[int, Window]:
        """The selected cells' numbers, and where they are."""
        return dict(self._windows)

    def toggle(self, y: float, x: float) -> None:
        """Select the cell at a place, or select it no more.

        Raises
        ------
        OptionError
            If there is none.
        """
        session = self._session
        found = extent_of(session.target, session.plane, round(y), round(x))
        if found is None:
            raise OptionError("There is no cell under the cursor to select.")
        label, window = found
        windows = dict(self._windows) if self._plane == session.plane else {}
        if windows.pop(label, None) is None:
            windows[label] = window
        self._set(windows)
        n = len(windows)
        session.say(
            f"{n} cells are selected; a key over one of them acts on all. Escape selects none."
            if n
            else "No cell is selected."
        )

    def select_in(self, region: Region) -> None:
        """Select all cells of which most lies in a region."""
        session = self._session
        y0, x0, y1, x1 = region.box
        inside = session.target.read(session.plane, (slice(y0, y1), slice(x0, x1)))
        ys, xs = np.nonzero(region.pixels() & (inside > 0))
        numbers, firsts, areas = np.unique(inside[ys, xs], return_index=True, return_counts=True)
        windows = {}
        for label, first, n_inside in zip(numbers.tolist(), firsts, areas.tolist(), strict=True):
            found = extent_of(session.target, session.plane, y0 + int(ys[first]), x0 + int(xs[first]))
            if found is None:
                continue
            n_all = np.count_nonzero(session.target.read(session.plane, found[1]) == label)
            if 2 * n_inside > n_all:
                windows[label] = found[1]
        self._set(windows)
        session.say(f"{len(windows)} cells are selected." if windows else "There are no cells in it.")

    def clear(self) -> bool:
        """Select nothing; return whether something was selected."""
        was = bool(self._windows)
        self._set({})
        return was

    def close(self) -> None:
        """Take the frames away, and listen no more."""
        self._session.changed.disconnect(self._follow)
        self._windows = {}
        self._frames.close()

    def _set(self, windows: dict[int, Window]) -> None:
        if windows:
            self._plane, self._known = self._session.plane, self._step()
        if windows != self._windows:
            self._windows = windows
            self._frames.show(list(windows.values()))
            self.changed.emit()

    def _is_shown(self) -> bool:
        """Return whether the plane of the selection is seen; in 3D none is."""
        session = self._session
        if session.source is None or not session.has_target:
            return False
        try:
            return session.plane == self._plane
        except CellsamError:
            return False

    def _step(self) -> Hashable:
        """Return what is another one after each step."""
        target, history = self._session.target, self._session.history
        return target.layer.unique_id, len(history), history.undo_title, history.redo_title

    def _follow(self) -> None:
        """Drop what is not there any more, and follow what has another extent."""
        session = self._session
        if not self._windows:
            return
        if not self._is_shown():
            self.clear()
            return
        known = self._step()
        if known == self._known:
            return
        self._known, found = known, {}
        for label, window in self._windows.items():
            own = np.argwhere(session.target.read(self._plane, window) == label)
            if len(own):
                y, x = own[0] + [part.start for part in window]
                now = extent_of(session.target, self._plane, int(y), int(x))
                if now is not None:
                    found[label] = now[1]
        self._set(found)
