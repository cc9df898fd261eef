"""The stability of cells: whether the model outlines the same when it is asked a little differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellsam.editing.doubts import CellMeasure, jittered
from napari_cellsam.editing.edits import Plane
from napari_cellsam.types import Mask, Prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._session import Session

__all__ = ["Stability", "overlap"]

_TOPIC = "stability"
_MOST_CELLS = 300
_AT_ONCE = 16  # cells in one request


class Stability:
    """Asks the model for the boxes beside each cell's own, in the background.

    A cell's stability is the mean IoU of the answers with the cell as it is. ``changed`` is emitted when more is known.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[tuple[Plane, int], float] = {}

    def known(self, plane: Plane, label: int) -> float | None:
        """Return the stability of a cell, 0 to 1; None where it is not known."""
        return self._known.get((plane, label))

    def start(self, cells: Sequence[tuple[Plane, CellMeasure]]) -> None:
        """Find out about some cells, the first ones first; earlier answers are forgotten."""
        self._known.clear()
        session = self._session
        cells = cells[:_MOST_CELLS]
        target, options = session.target, session.options
        readers = {plane: session.image_reader(plane) for plane, _ in cells}

        def work(call: Call, report: Report) -> None:
            for plane, read in readers.items():
                of_plane = [measure for where, measure in cells if where == plane]
                for start in range(0, len(of_plane), _AT_ONCE):
                    if call.cancelled:
                        return
                    part = of_plane[start : start + _AT_ONCE]
                    prompts = [Prompt(box=box) for measure in part for box in jittered(measure.window)]
                    masks = session.client.segment_prompts(read(call), prompts, options, call=call)
                    there = np.asarray(target.layer.data[plane])
                    report((plane, [_stability_of(m, masks[4 * i : 4 * i + 4], there) for i, m in enumerate(part)]))

        session.jobs.submit(work, on_done=lambda _: None, on_error=session.failed, on_report=self._heard, topic=_TOPIC)

    def stop(self) -> None:
        """Find out no more."""
        self._session.jobs.cancel(_TOPIC)

    def _heard(self, news: tuple[Plane, list[tuple[int, float]]]) -> None:
        plane, values = news
        self._known.update({(plane, label): value for label, value in values})
        self.changed.emit()


def _stability_of(measure: CellMeasure, masks: Sequence[Mask], labels: NDArray[Any]) -> tuple[int, float]:
    """Return a cell's number, and the mean IoU of masks with it."""
    return measure.label, float(np.mean([overlap(mask, measure, labels) for mask in masks]))


def overlap(mask: Mask, measure: CellMeasure, labels: NDArray[Any]) -> float:
    """Return the intersection over union of a mask with a cell of a label image ``(Y, X)``."""
    if mask.area == 0:
        return 0.0
    y, x = mask.corner
    top, left = max(y, 0), max(x, 0)
    crop = mask.crop[top - y :, left - x :]
    under = labels[top : top + crop.shape[0], left : left + crop.shape[1]] == measure.label
    common = int(np.count_nonzero(under & crop[: under.shape[0], : under.shape[1]]))
    return common / (mask.area + measure.area - common)
