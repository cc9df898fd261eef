"""The cells of the detector's boxes: written, taken away and outlined anew in the labels layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import CropEdit, edit_between, erase, place
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.errors import CellsamError
from napari_cellsam.widgets._extent import Window, extent_of, window_around

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.types import Mask, Prompt
    from napari_cellsam.widgets._candidates import Candidate, Candidates
    from napari_cellsam.widgets._session import Session
    from napari_cellsam.widgets._turn import Turn

__all__ = ["BoxCells", "Step", "Want"]

Want = Literal["place", "erase", "find"]
"""``"place"``: a cell is written; ``"erase"``: it is taken away; ``"find"``: one that is there is noted as its cell."""

_AT_ONCE = 12  # cells in one write
_SAME_SHARE = 0.5  # of a candidate's pixels that another cell must have to be taken for the same one


@dataclass(eq=False)
class Step:
    """A step of the history; its ``title`` names it."""

    title: str


@dataclass(eq=False)
class _Batch:
    edits: list[CropEdit] = field(default_factory=list)
    changes: list[RecordChange] = field(default_factory=list)


class BoxCells:
    """Keeps the cells of a plane as the boxes want them, a little at a time.

    Parameters
    ----------
    session
        Whose labels.
    candidates
        Of the plane that is shown.

    Attributes
    ----------
    complete
        Whether all candidates are known.
    """

    def __init__(self, session: Session, candidates: Candidates) -> None:
        self._session, self.candidates = session, candidates
        self.complete = False
        self._waiting: dict[int, tuple[Want, Step]] = {}
        self._failed: Step | None = None  # the step of which a cell could not be written

    @property
    def n_waiting(self) -> int:
        """Number of cells that wait to be written or taken away."""
        return len(self._waiting)

    def want(self, number: int, want: Want, step: Step) -> None:
        """Let a change wait, unless one of its step failed; the newest of a candidate counts."""
        self._waiting.pop(number, None)
        if want == "erase" or step is not self._failed:
            self._waiting[number] = (want, step)

    def is_waiting(self, number: int) -> bool:
        """Return whether a change of a candidate waits."""
        return number in self._waiting

    def clear(self) -> None:
        """Let nothing wait."""
        self._waiting.clear()

    def write(self, turn: Turn) -> None:
        """Make changes that wait, as many as there is time for in a turn."""
        while self._waiting and turn.goes_on():
            step = next(iter(self._waiting.values()))[1]
            numbers = [n for n, (_, of) in islice(self._waiting.items(), _AT_ONCE) if of is step]
            self._make(step, {number: self._waiting.pop(number)[0] for number in numbers})

    def remove(self, numbers: Sequence[int]) -> int:
        """Take away the cells of deleted boxes, as one step; return how many stay because a person touched them."""
        wants: dict[int, Want] = {}
        n_staying = 0
        for number in numbers:
            self._waiting.pop(number, None)
            if self.candidates.get(number) is None:
                continue
            record = self.candidates.record_of(number, self._session.cells)
            if record is None or not record.is_replaceable:
                self.candidates.dismiss(number)
                n_staying += record is not None
            else:
                wants[number] = "erase"
        self._make(Step("delete boxes"), wants)
        return n_staying

    def outline(self, candidate: Candidate, prompt: Prompt, mask: Mask) -> None:
        """Give a candidate's cell other pixels, as one step; it is made if it is not there."""
        session, plane = self._session, self.candidates.plane
        self._waiting.pop(candidate.number, None)
        old = self._extent(candidate)
        window = window_around(session.target.shape, _window(mask), *([] if old is None else [old]))
        under = session.target.read(plane, window)
        label = self._number_for(candidate)
        after = erase(under, label)
        inside = np.zeros(under.shape, bool)
        (y, x), (height, width) = mask.corner, mask.crop.shape
        top, left = y - window[0].start, x - window[1].start
        inside[top : top + height, left : left + width] = mask.crop
        after = place(after, inside, label)
        if not (after == label).any():
            session.say("Other cells fill this box; delete or move them first.")
            return
        score = None if candidate.by_hand else candidate.score
        record = CellRecord(label, plane, "prompted", score, float(mask.score), (prompt,))
        before = session.cells.get(plane, label)
        edit = edit_between(plane, (window[0].start, window[1].start), under, after)
        title = f"draw box of cell {label}" if before is None else f"move box of cell {label}"
        session.apply(Action(title, () if edit is None else (edit,), (RecordChange(before, record),)))

    def _make(self, step: Step, wants: Mapping[int, Want]) -> None:
        """Make changes; if the layer cannot hold one, those before it are made, and nothing waits any more."""
        batch, failure = _Batch(), None
        try:
            for number, want in wants.items():
                candidate = self.candidates.get(number)
                if candidate is not None:
                    self._add(batch, candidate, want)
        except CellsamError as error:
            self._failed, failure = step, error
            self._waiting.clear()
        self._apply(batch, step)
        if failure is not None:
            self._session.failed(failure)

    def _apply(self, batch: _Batch, step: Step) -> None:
        if batch.edits or batch.changes:
            self._session.apply(Action(step.title, tuple(batch.edits), tuple(batch.changes), step))

    def _add(self, batch: _Batch, candidate: Candidate, want: Want) -> None:
        """Note what a candidate wants."""
        record = self.candidates.record_of(candidate.number, self._session.cells)
        if want == "erase":
            self._take_away(batch, candidate, record)
        elif record is None:
            self._put(batch, candidate, find_only=want == "find")

    def _take_away(self, batch: _Batch, candidate: Candidate, record: CellRecord | None) -> None:
        if record is None or not record.is_replaceable:
            return
        window = self._extent(candidate)
        batch.changes.append(RecordChange(record, None))
        if window is not None:
            plane, corner = self.candidates.plane, (window[0].start, window[1].start)
            under = self._session.target.read(plane, window)
            edit = edit_between(plane, corner, under, erase(under, record.label))
            if edit is not None:
                batch.edits.append(edit)

    def _put(self, batch: _Batch, candidate: Candidate, *, find_only: bool) -> None:
        """Note how a candidate becomes a cell, or which one that is there it is."""
        plane, mask = self.candidates.plane, candidate.cell.mask
        under = self._session.target.read(plane, _window(mask))
        numbers, counts = np.unique(under[mask.crop], return_counts=True)
        if len(numbers) == 0:
            return
        most, count = int(numbers[counts.argmax()]), int(counts.max())
        n_free = int(counts[numbers == 0].sum())
        if most and count >= _SAME_SHARE * mask.area and self._session.cells.get(plane, most) is not None:
            self.candidates.link(candidate.number, most)
        elif not find_only and n_free >= _SAME_SHARE * mask.area:
            label = self._number_for(candidate)
            edit = edit_between(plane, mask.corner, under, place(under, mask.crop, label))
            if edit is not None:
                batch.edits.append(edit)
                record = CellRecord(label, plane, "automatic", candidate.score, float(mask.score))
                batch.changes.append(RecordChange(None, record))

    def _number_for(self, candidate: Candidate) -> int:
        """Return the number of a candidate's cell; it keeps it when it goes and comes again."""
        label = self.candidates.label_of(candidate.number)
        if label is None:
            label = self._session.target.take_number()
            self.candidates.link(candidate.number, label)
        return label

    def _extent(self, candidate: Candidate) -> Window | None:
        """Return where a candidate's cell is, near where it was proposed or drawn; None if it is not there."""
        record = self.candidates.record_of(candidate.number, self._session.cells)
        if record is None:
            return None
        windows = [_window(candidate.cell.mask)]
        windows += [_around(prompt.box_yxyx) for prompt in record.prompts if prompt.box_yxyx is not None]
        target, plane = self._session.target, self.candidates.plane
        window = window_around(target.shape, *windows)
        rows, columns = np.nonzero(target.read(plane, window) == record.label)
        if len(rows) == 0:
            return None
        found = extent_of(target, plane, int(rows[0]) + window[0].start, int(columns[0]) + window[1].start)
        return None if found is None else found[1]


def _window(mask: Mask) -> Window:
    (y, x), (height, width) = mask.corner, mask.crop.shape
    return slice(y, y + height), slice(x, x + width)


def _around(box: NDArray[Any]) -> Window:
    y0, x0, y1, x1 = np.asarray(box, float)
    return slice(int(np.floor(y0)), int(np.ceil(y1)) + 1), slice(int(np.floor(x0)), int(np.ceil(x1)) + 1)
