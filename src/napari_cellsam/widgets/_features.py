"""What cells know of themselves, as the features of their labels layer, and their colours."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_cellsam.editing.records import CellRecord
from napari_cellsam.widgets._jobs import Jobs

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap
    from pandas import DataFrame

    from napari_cellsam.errors import CellsamError
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._measured import Measurements
    from napari_cellsam.widgets._session import Session

__all__ = ["COLOURINGS", "ColourBy", "Features", "colours_of", "legend_of", "table_of"]

ColourBy = Literal["label", "origin", "reviewed", "detector_score", "predicted_iou"]
COLOURINGS: dict[ColourBy, str] = {
    "label": "Each its own",
    "origin": "Origin",
    "reviewed": "Review",
    "detector_score": "Detector's score",
    "predicted_iou": "Predicted IoU",
}
"""What cells can be coloured by, and what that is called."""

# Okabe and Ito's colours, and a scale between two of them: told apart with any kind of colour vision
_ORIGINS = {"automatic": "#56b4e9", "prompted": "#e69f00", "edited": "#cc79a7", "manual": "#009e73"}
_REVIEWS = {"accepted": "#009e73", "still to review": "#e69f00"}
_UNKNOWN = "#999999"
_SCALE = ("#d55e00", "#f0e442", "#0072b2")
_N_STEPS = 64  # few colours, so that napari draws them as bytes

_LEAST_MS = 300
_SHARE = 0.05  # of the GUI thread's time, at most
_COLUMNS = ("index", "plane", "origin", "detector_score", "predicted_iou", "n_prompts", "reviewed")


class Features:
    """Keeps the features and the colours of the labels layer as its cells are, a moment later.

    The table is made in another thread, and only when a cell has changed. Columns that are not ours stay.
    ``changed`` is emitted when the layer shows the newest.

    Parameters
    ----------
    session
        Whose cells.
    measured
        Gives what was measured of the cells of the labels layer, or None; further columns come of it.
    """

    changed = Signal()

    def __init__(self, session: Session, measured: Callable[[], Measurements | None] = lambda: None) -> None:
        self._session, self._measured, self._jobs = session, measured, Jobs()
        self._columns: dict[Hashable, set[str]] = {}  # of each layer, that we have put there
        self._by: ColourBy = "label"
        self._shown: dict[Hashable, Hashable] = {}
        self._own_colours: dict[Hashable, Any] = {}
        self._took_ms: deque[float] = deque(maxlen=2)
        self._timer = QTimer(interval=_LEAST_MS, singleShot=True)
        self._timer.timeout.connect(self._show)
        session.changed.connect(self._later)
        session.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def by(self) -> ColourBy:
        """What cells are coloured by."""
        return self._by

    @property
    def waiting(self) -> bool:
        """Whether the layer does not show the newest yet."""
        return bool(self._timer.isActive() or self._jobs.n_running)

    def colour_by(self, by: ColourBy) -> None:
        """Colour cells by what they know."""
        self._by = by
        self._show()

    def close(self) -> None:
        """Follow the cells no more; colours and features stay as they are."""
        self._session.changed.disconnect(self._later)
        self._session.viewer.layers.events.removed.disconnect(self._on_removed)
        self._timer.stop()
        self._timer.deleteLater()
        self._jobs.close()

    def _later(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _show(self) -> None:
        """Let the layer have features and colours, if those that it has are old."""
        session = self._session
        if not session.has_target:
            return
        layer, records, by = session.target.layer, tuple(session.cells), self._by
        extra = self._measured()
        state = by, records, extra  # a record is never changed: another one takes its place
        if self._shown.get(layer.unique_id) == state:
            return
        table, former = layer.features, self._columns.setdefault(layer.unique_id, set())

        def work(call: Call, report: Report) -> tuple[DataFrame, DirectLabelColormap | None]:  # noqa: ARG001
            return _joined(table, table_of(records, extra), former), None if by == "label" else colours_of(records, by)

        def done(made: tuple[DataFrame, DirectLabelColormap | None]) -> None:
            if layer.unique_id not in self._columns:
                return  # it was closed meanwhile
            self._shown[layer.unique_id] = state
            former.update(() if extra is None else extra.names)
            self._put(layer, *made)

        self._jobs.submit(work, on_done=done, on_error=self._failed, topic=str(layer.unique_id))

    def _put(self, layer: Labels, table: DataFrame, colours: DirectLabelColormap | None) -> None:
        begun_s = time.perf_counter()
        layer.features = table
        key = layer.unique_id
        if colours is not None:
            self._own_colours.setdefault(key, layer.colormap)
            layer.colormap = colours
        elif key in self._own_colours:
            layer.colormap = self._own_colours.pop(key)
        self._took_ms.append(1000 * (time.perf_counter() - begun_s))  # every pixel of a large layer is coloured anew
        took_ms = min(self._took_ms) if len(self._took_ms) == 2 else 0.0  # the first colouring compiles, for seconds
        self._timer.setInterval(max(_LEAST_MS, round(took_ms / _SHARE)))
        self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        """Forget a layer that is closed."""
        for known in (self._columns, self._shown, self._own_colours):
            known.pop(event.value.unique_id, None)

    def _failed(self, error: CellsamError) -> None:
        self._session.failed(error)


def table_of(cells: Iterable[CellRecord], extra: Measurements | None = None) -> dict[str, list[Any]]:
    """Return the features of all cells, one row a cell; ``index`` is the cell's number, as napari wants it.

    Parameters
    ----------
    cells
        Those that something is known of.
    extra
        Further columns; cells that only these know have a row as well.
    """
    known = {(record.plane, record.label): record for record in cells}
    if extra is not None:
        known = {key: CellRecord(key[1], key[0]) for key in extra.rows} | known
    records = sorted(known.values(), key=lambda record: (record.label, record.plane))
    columns: tuple[list[Any], ...] = (
        [record.label for record in records],
        [" ".join(map(str, record.plane)) for record in records],
        [record.origin for record in records],
        [_number(record.detector_score) for record in records],
        [_number(record.predicted_iou) for record in records],
        [len(record.prompts) for record in records],
        [record.reviewed for record in records],
    )
    table = dict(zip(_COLUMNS, columns, strict=True))
    return table if extra is None else table | extra.columns_of((record.plane, record.label) for record in records)


def colours_of(cells: Iterable[CellRecord], by: ColourBy) -> DirectLabelColormap:
    """Return a colour for each cell, by what it knows."""
    from napari.utils.colormaps import DirectLabelColormap

    palette = _palette()
    colours: dict[int | None, Any] = {None: palette[_UNKNOWN], 0: np.zeros(4, np.float32)}
    for record in cells:
        if by == "origin":
            colours[record.label] = palette[_ORIGINS[record.origin]]
        elif by == "reviewed":
            colours[record.label] = palette[_REVIEWS["accepted" if record.reviewed else "still to review"]]
        else:
            value = getattr(record, by)
            step = _UNKNOWN if value is None else round(float(np.clip(value, 0, 1)) * (_N_STEPS - 1))
            colours[record.label] = palette[step]
    return DirectLabelColormap(color_dict=colours)


def legend_of(by: ColourBy) -> str:
    """Return what the colours mean, as a line of rich text; empty where each cell has its own."""
    if by == "label":
        return ""
    named = {"origin": _ORIGINS, "reviewed": _REVIEWS}.get(by)
    if named:
        return " ".join(f"{_patch(colour)}&nbsp;{name}" for name, colour in named.items())
    low, middle, high = map(_patch, _SCALE)
    return f"0 {low}{middle}{high} 1 &nbsp; {_patch(_UNKNOWN)} not known"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _patch(colour: str) -> str:
    return f'<span style="color: {colour}">■</span>'


def _palette() -> dict[Any, Any]:
    """Return red, green, blue and opacity by colour, and by step of the scale."""
    named = {
        name: np.array([*(int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1], np.float32)
        for name in (*_ORIGINS.values(), *_SCALE, _UNKNOWN)
    }
    stops = np.stack([named[name] for name in _SCALE])
    at = np.linspace(0, len(stops) - 1, _N_STEPS)
    scale = np.stack([np.interp(at, range(len(stops)), channel) for channel in stops.T], axis=1).astype(np.float32)
    return named | dict(enumerate(scale))


def _joined(there: DataFrame, ours: dict[str, list[Any]], former: Collection[str] = ()) -> DataFrame:
    """Return our columns with those that someone else has put beside them; former ones of ours go."""
    import pandas as pd

    table = pd.DataFrame(ours)
    others = [name for name in there.columns if name not in ours and name not in former]
    if not others:
        return table
    theirs = there[others].assign(index=there["index"] if "index" in there.columns else range(len(there)))
    return table.merge(theirs.drop_duplicates("index"), on="index", how="outer", sort=True)
