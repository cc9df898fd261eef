"""Measuring: the size, shape and intensity of every cell, in another thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.errors import OutputError, RequestCancelledError
from napari_cellsam.export.measurements import write_columns
from napari_cellsam.measure import measure_cells
from napari_cellsam.widgets._features import table_of
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._measured import CellKey, Measurements

if TYPE_CHECKING:
    from napari_cellsam.editing.actions import Action
    from napari_cellsam.editing.edits import CropEdit, Plane
    from napari_cellsam.service.transport import Call
    from napari_cellsam.types import Image
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._ledger import Ledger
    from napari_cellsam.widgets._ledgers import Ledgers
    from napari_cellsam.widgets._session import Session

__all__ = ["Measuring"]

_TOPIC, _SAVING = "measure", "save measurements"


@dataclass(frozen=True)
class _Advanced:
    share: float


class Measuring:
    """Measures the cells of the labels layer, in all planes.

    What was measured of a cell is forgotten when the cell changes, and when an action that changed it is undone; so
    nothing is ever shown that is not true any more. ``changed`` is emitted with progress, when a run begins or ends,
    and when something was forgotten.

    Parameters
    ----------
    session
        Whose cells.
    ledgers
        Where the labels layers are, and what is done to them.
    """

    changed = Signal()

    def __init__(self, session: Session, ledgers: Ledgers) -> None:
        self._session = session
        self._measured: dict[Hashable, Measurements] = {}
        self._touched: set[CellKey] = set()  # while a run is under way
        self._running_on: Hashable = None
        self.share = 0.0
        """How much of a run is done, 0 to 1."""
        ledgers.began.connect(self._began)

    @property
    def running(self) -> bool:
        """Whether cells are being measured."""
        return self._session.jobs.running(_TOPIC)

    @property
    def saving(self) -> bool:
        """Whether a table is being written."""
        return self._session.jobs.running(_SAVING)

    @property
    def current(self) -> Measurements | None:
        """What was measured of the cells that are worked on; None where nothing was."""
        if not self._session.has_target:
            return None
        return self._measured.get(self._session.target.layer.unique_id)

    def run(self) -> None:
        """Measure all cells, where they are found in any plane.

        Raises
        ------
        NoImageError
            If there are no cells.
        """
        session = self._session
        if not session.has_target or session.source is None:
            raise NoImageError("There are no cells to measure yet: let the model find some, or click on them.")
        target, source = session.settled, session.source
        key, readers = target.layer.unique_id, [(plane, source.reader(plane)) for plane in session.planes()]
        self._running_on, self._touched, self.share = key, set(), 0.0

        def labels_of(plane: Plane) -> np.ndarray[Any, Any]:
            return np.array(target.layer.data[plane] if plane else target.layer.data)  # a copy: work goes on meanwhile

        session.jobs.submit(
            partial(_measure, labels_of, readers, source.pixel_size_um),
            on_done=partial(self._done, key),
            on_error=session.failed,
            on_report=self._heard,
            topic=_TOPIC,
        )
        self.changed.emit()

    def cancel(self) -> None:
        """Stop measuring; what was measured before stays."""
        self._session.jobs.cancel(_TOPIC)
        self._running_on = None
        self.changed.emit()

    def save(self, path: Path, overwrite: bool = False) -> None:
        """Write what is known of all cells as CSV, with what was measured.

        Parameters
        ----------
        path
            Where to.
        overwrite
            Whether a file that is there already is replaced.

        Raises
        ------
        OutputError
            If nothing was measured yet.
        """
        session, measured = self._session, self.current
        if measured is None:
            raise OutputError("Nothing was measured yet: measure the cells first.")
        records = list(session.cells)

        def work(call: Call, report: Report) -> Path:  # noqa: ARG001
            columns = table_of(records, measured)
            columns = {"label": columns.pop("index")} | columns
            if not any(columns["plane"]):
                del columns["plane"]
            write_columns(path, {name: [_told(value) for value in row] for name, row in columns.items()}, overwrite)
            return path

        session.jobs.submit(work, on_done=self._saved, on_error=session.failed, topic=_SAVING)

    def close(self) -> None:
        """Let go; what was measured is forgotten."""
        self._session.jobs.cancel(_TOPIC)
        self._session.jobs.cancel(_SAVING)
        self._measured.clear()

    def _heard(self, news: _Advanced) -> None:
        self.share = news.share
        self.changed.emit()

    def _done(self, key: Hashable, measured: Measurements) -> None:
        self._measured[key] = kept = measured.without(self._touched)
        self._running_on = None
        changed = len(measured.rows) - len(kept.rows)
        tail = f" {changed} changed meanwhile: measure again to have them too." if changed else ""
        self._session.say(f"{len(kept.rows)} cells were measured; the table is in the features of the layer.{tail}")
        self.changed.emit()

    def _saved(self, path: Path) -> None:
        self._session.say(f"The measurements were saved as {path}.")
        self.changed.emit()

    def _began(self, ledger: Ledger, empty: bool) -> None:  # noqa: ARG002 - the signal's
        """Follow what is done to another labels layer."""
        key = ledger.target.layer.unique_id
        ledger.did.connect(lambda kind, action: self._did(key, action))  # noqa: ARG005 - the signal's
        ledger.target.replaced.connect(lambda: self._replaced(key))
        ledger.closed.connect(lambda: self._measured.pop(key, None))

    def _did(self, key: Hashable, action: Action) -> None:
        """Forget the cells whose pixels an action has changed."""
        if key not in self._measured and key != self._running_on:
            return
        cells = _cells_of(action.edits)
        if key == self._running_on:
            self._touched |= cells
        self._forget(key, lambda measured: measured.without(cells))

    def _replaced(self, key: Hashable) -> None:
        """Forget all cells of a layer that was given another array."""
        if key == self._running_on:
            self.cancel()
        self._forget(key, lambda measured: measured.without(list(measured.rows)))

    def _forget(self, key: Hashable, left: Callable[[Measurements], Measurements]) -> None:
        before = self._measured.get(key)
        if before is None:
            return
        self._measured[key] = after = left(before)
        if after is not before:
            self.changed.emit()


def _cells_of(edits: Iterable[CropEdit]) -> set[CellKey]:
    """Return the cells that gain or lose pixels; quick, where most edits are of one cell and there are thousands."""
    cells: set[CellKey] = set()
    for edit in edits:
        for values in (edit.before, edit.after):
            labels = values.tolist() if values.size == 1 else np.unique(values).tolist()
            cells.update((edit.plane, label) for label in labels if label)
    return cells


def _measure(
    labels_of: Callable[[Plane], np.ndarray[Any, Any]],
    readers: list[tuple[Plane, Callable[[], Image]]],
    pixel_size_um: tuple[float, float] | None,
    call: Call,
    report: Report,
) -> Measurements:
    """Measure plane by plane, until it is cancelled."""
    planes = {}
    for number, (plane, read) in enumerate(readers):

        def heard(done: int, total: int, number: int = number) -> None:
            if call.cancelled:
                raise RequestCancelledError("measuring was cancelled")
            report(_Advanced((number + done / max(total, 1)) / len(readers)))

        heard(0, 1)
        labels = labels_of(plane)
        image = read() if labels.any() else None
        planes[plane] = measure_cells(labels, image, pixel_size_um, heard)
    return Measurements.of(planes)


def _told(value: Any) -> Any:
    """Return a value as it stands in a CSV: nothing for what is not known."""
    return "" if isinstance(value, float) and np.isnan(value) else value
