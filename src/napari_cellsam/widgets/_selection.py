"""The selection: cells of a plane on which a correction acts together."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.errors import CellsamError, OptionError
from napari_cellsam.widgets._extent import Window, extent_of
from napari_cellsam.widgets._frames import Frames

if TYPE_CHECKING:
    from napari_cellsam.widgets._ledgers import Ledgers
    from napari_cellsam.widgets._search_region import Region
    from napari_cellsam.widgets._session import Session

__all__ = ["Selection"]

_COLOUR = "#06d6a0"
_LATER_MS = 20


class Selection:
    """Keeps which cells of the plane that is shown are selected, and frames them.

    What another step takes away is selected no more, and neither is anything when another plane is shown or another
    layer written into. ``changed`` is emitted when other cells are framed.

    Parameters
    ----------
    session
        What is looked at.
    ledgers
        Of its labels layers.
    """

    changed = Signal()

    def __init__(self, session: Session, ledgers: Ledgers) -> None:
        self._session, self._ledgers = session, ledgers
        self._place: Hashable = None  # layer and plane of the cells
        self._windows: dict[int, Window] = {}
        self._framed: dict[int, Window] = {}
        self._stale = False  # a step was done since the windows were found
        self._frames = Frames(session, "selected cells", _COLOUR, "selection")
        self._later = QTimer(interval=_LATER_MS, singleShot=True)  # napari goes through its layers as it tells of 3D
        self._later.timeout.connect(self._refresh)
        ledgers.changed.connect(self._on_step)
        session.changed.connect(self._follow)

    @property
    def cells(self) -> dict[int, Window]:
        """The selected cells' numbers, and where they are."""
        self._look_again()
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
        windows = self.cells
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
        was = bool(self.cells)
        self._set({})
        return was

    def close(self) -> None:
        """Take the frames away, and listen no more."""
        self._session.changed.disconnect(self._follow)
        self._ledgers.changed.disconnect(self._on_step)
        self._later.stop()
        self._later.deleteLater()
        self._windows = {}
        self._frames.close()

    def _set(self, windows: dict[int, Window]) -> None:
        self._place, self._windows, self._stale = self._find_place(), windows, False
        self._draw()

    def _draw(self) -> None:
        if self._windows != self._framed:
            self._framed = self._windows
            self._frames.show(list(self._windows.values()))
            self.changed.emit()

    def _find_place(self) -> Hashable:
        """Return the layer that is written into, and the plane that is seen; None in 3D, where none is."""
        session = self._session
        if session.source is None or not session.has_target:
            return None
        try:
            return session.target.layer.unique_id, session.plane
        except CellsamError:
            return None

    def _on_step(self) -> None:
        self._stale = True

    def _follow(self) -> None:
        if self._framed and not self._later.isActive():
            self._later.start()

    def _refresh(self) -> None:
        """Frame what is selected now; cells that a run changes, when it has ended."""
        if self._session.automatic.running and self._find_place() == self._place:
            return
        try:
            self._look_again()
        except CellsamError as error:
            self._windows = {}
            self._session.say(str(error), "warning")
        self._draw()

    def _look_again(self) -> None:
        """Drop what is not there any more, and follow what has another extent."""
        if not self._windows:
            return
        if self._find_place() != self._place:
            self._windows = {}
        elif self._stale:
            self._windows = self._find_windows()
        self._stale = False

    def _find_windows(self) -> dict[int, Window]:
        target, plane, found = self._session.target, self._session.plane, {}
        for label, window in self._windows.items():
            own = np.argwhere(target.read(plane, window) == label)
            if len(own):
                y, x = own[0] + [part.start for part in window]
                now = extent_of(target, plane, int(y), int(x))
                if now is not None:
                    found[label] = now[1]
        return found
