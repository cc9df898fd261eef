"""Correcting: one key a correction, on the cell under the cursor, each one step of the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_cellsam import corrections
from napari_cellsam.editing.edits import Plane, erase, place
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import OptionError
from napari_cellsam.types import Mask, Prompt
from napari_cellsam.widgets._active_cell import box_of, inside_of, topic_of, window_of
from napari_cellsam.widgets._asking import Asking
from napari_cellsam.widgets._begun import WRONG_SECOND, Begun
from napari_cellsam.widgets._extent import Window, window_around
from napari_cellsam.widgets._rewriting import Corner, Crop, Rewriting
from napari_cellsam.widgets._split_places import along, landscape

if TYPE_CHECKING:
    from napari_cellsam.widgets._search_region import Region
    from napari_cellsam.widgets._session import Session

__all__ = ["Correcting"]

_HIGHEST = 2**32 - 1  # number of a cell that edits can hold
_MOST_PIECES = 8  # of a cell that is cut


class Correcting:
    """Changes cells that are there: the one under the cursor, and with it all that are selected, if it is one of them.

    A correction of two cells, or of two places, begins with the first call and is done with the second one. ``changed``
    is emitted when one begins, is done, or is let be.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session, self._rewriting = session, Rewriting(session)
        self._begun: Begun | None = None

    @property
    def begun(self) -> Begun | None:
        """What waits for its second place."""
        return self._begun

    def grow(self, y: float, x: float) -> None:
        """Grow a cell by a pixel."""
        self._one("grow", corrections.grow, y, x)

    def shrink(self, y: float, x: float) -> None:
        """Shrink a cell by a pixel."""
        self._one("shrink", corrections.shrink, y, x)

    def fill_holes(self, y: float, x: float) -> None:
        """Fill the holes of a cell."""
        self._one("fill holes of", corrections.fill, y, x)

    def smooth(self, y: float, x: float) -> None:
        """Smooth a cell's outline."""
        self._one("smooth", corrections.smooth, y, x)

    def keep_largest(self, y: float, x: float) -> None:
        """Keep only the largest piece of a cell."""
        self._one("keep the largest piece of", corrections.keep_largest, y, x)

    def delete(self, y: float, x: float) -> None:
        """Delete a cell."""
        cells = self._selected(y, x)
        if not cells:
            self._session.prompting.delete(y, x)
            return
        self.let_be()
        for label in cells:
            self._session.jobs.cancel(topic_of(label))  # or an answer on its way would bring it back
        self._rewriting.write_each(f"delete {len(cells)} cells", lambda crop, label, _: erase(crop, label), cells)

    def redo(self, y: float, x: float) -> None:
        """Let the model outline a cell anew."""
        cells = self._selected(y, x)
        if not cells:
            self._session.prompting.redo_with_model(y, x)
            return
        self.let_be()
        plane, prompts = self._session.plane, [Prompt(box=box_of(window)) for window in cells.values()]
        done = partial(self._redo, plane, cells, prompts)
        self._ask(plane, prompts, done, "outline the selection anew")

    def renumber(self, y: float, x: float) -> None:
        """Give a cell a number that no other one has."""
        self.let_be()
        label, window = self._rewriting.cell(y, x)
        number = self._session.target.take_number()

        def verb(crop: Crop, _: Corner) -> Crop:
            return corrections.renumber(crop, label, number)

        self._rewriting.write(f"renumber {label}", verb, [window], {number: label})

    def merge(self, y: float, x: float) -> None:
        """Begin to merge a cell, or merge this one with that which was begun with, whose number it gets.

        All that are selected are merged at once.
        """
        cells = self._selected(y, x)
        if cells:
            self.let_be()
            self._rewriting.write(
                f"merge {len(cells)} cells", lambda crop, _: corrections.merge(crop, list(cells)), list(cells.values())
            )
            return
        first = self._begin_or_go_on("merge", y, x, "the same key over a cell that belongs to it merges them")
        if first is None:
            return
        (one, first_window), (other, window) = self._rewriting.cell(*first.place), self._rewriting.cell(y, x)

        def verb(crop: Crop, _: Corner) -> Crop:
            return corrections.merge(crop, [one, other])

        self._rewriting.write(f"merge {one} and {other}", verb, [first_window, window])

    def swap(self, y: float, x: float) -> None:
        """Begin to swap the number of a cell, or swap it with that of the one that was begun with."""
        first = self._begin_or_go_on("swap", y, x, "the same key over another cell swaps their numbers")
        if first is None:
            return
        (one, first_window), (other, window) = self._rewriting.cell(*first.place), self._rewriting.cell(y, x)

        def verb(crop: Crop, _: Corner) -> Crop:
            return corrections.swap(crop, one, other)

        self._rewriting.write(f"swap {one} and {other}", verb, [first_window, window], {one: other, other: one})

    def split(self, y: float, x: float) -> None:
        """Begin to split a cell, or split it between this place and the one that was begun with.

        The model is asked for the part at each place, and its probabilities say where the parts meet.
        """
        first = self._begin_or_go_on("split", y, x, "the same key in the middle of its other part splits it")
        if first is None:
            return
        places = (first.place, (y, x))
        prompts = [Prompt(inside=[here], outside=[there]) for here, there in (places, places[::-1])]
        self._ask(first.plane, prompts, partial(self._split, first, (y, x)), f"split {first.label}")

    def cut(self, line_yx: Sequence[tuple[float, float]]) -> None:
        """Cut the cell of which most lies under a line, such as a stroke of the mouse.

        Raises
        ------
        OptionError
            If it lies over no cell, or does not part it.
        """
        self.let_be()
        line = np.asarray(line_yx, float)
        label, window = self._rewriting.cell(*self._most_under(line))
        numbers = self._free_numbers()

        def verb(crop: Crop, corner: Corner) -> Crop:
            return corrections.split_at_line(crop, label, line - corner, numbers)

        self._rewriting.write(f"cut {label}", verb, [window], dict.fromkeys(numbers, label))

    def clear(self, region: Region) -> None:
        """Take everything away that lies in a region of the plane that is shown."""
        self.let_be()
        y0, x0, y1, x1 = region.box
        inside = region.pixels()

        def verb(crop: Crop, _: Corner) -> Crop:
            return corrections.clear_region(crop, inside)

        self._rewriting.write("clear the region", verb, [(slice(y0, y1), slice(x0, x1))], margin=0)

    def go_on(self, y: float, x: float) -> None:
        """Do what was begun, at its second place."""
        if self._begun is not None:
            {"merge": self.merge, "swap": self.swap, "split": self.split}[self._begun.kind](y, x)

    def let_be(self) -> bool:
        """Forget what was begun; return whether something was."""
        begun, self._begun = self._begun, None
        if begun is not None:
            self.changed.emit()
        return begun is not None

    def close(self) -> None:
        """Forget what was begun."""
        self._begun = None

    # --- how they are done

    def _one(self, title: str, verb: Callable[[Crop, int], Crop], y: float, x: float) -> None:
        """Correct one cell."""
        self.let_be()
        label, window = self._rewriting.cell(y, x)
        cells = self._selected(y, x) or {label: window}
        what = str(label) if len(cells) == 1 else f"{len(cells)} cells"
        self._rewriting.write_each(f"{title} {what}", lambda crop, label, _: verb(crop, label), cells)

    def _selected(self, y: float, x: float) -> dict[int, Window]:
        """Return the selected cells, that at a place first; none if it is not one of at least two."""
        cells = self._session.selection.cells
        here = self._session.target.at(self._session.plane, round(y), round(x))
        if here not in cells or len(cells) < 2:
            return {}
        return {here: cells.pop(here), **cells}

    def _redo(self, plane: Plane, cells: dict[int, Window], prompts: list[Prompt], masks: list[Mask]) -> None:
        """Give cells the model's answers; those it sees nothing of stay."""
        answers = {label: (p, m) for label, p, m in zip(cells, prompts, masks, strict=True) if m.area}
        shape = self._session.target.shape
        windows = {label: window_around(shape, cells[label], window_of(mask)) for label, (_, mask) in answers.items()}

        def verb(crop: Crop, label: int, corner: Corner) -> Crop:
            if not (crop == label).any():  # it was deleted meanwhile
                return crop
            window = slice(corner[0], corner[0] + crop.shape[0]), slice(corner[1], corner[1] + crop.shape[1])
            outlined = place(erase(crop, label), inside_of(answers[label][1], window), label)
            return outlined if (outlined == label).any() else crop  # all of the answer lies on other cells

        def then(record: CellRecord) -> CellRecord:
            prompt, mask = answers[record.label]
            prompts = (*record.prompts, prompt)
            return replace(record, origin="prompted", predicted_iou=mask.score, prompts=prompts, reviewed=False)

        title = f"outline {len(windows)} cells anew"
        self._rewriting.write_each(title, verb, windows, plane=plane, then=then)

    def _ask(self, plane: Plane, prompts: Sequence[Prompt], done: Callable[[list[Mask]], None], topic: str) -> None:
        """Ask the model for masks, by an action that can be taken back."""
        Asking(self._session).decode(plane, prompts, done, on_taken_back=lambda: False, topic=topic)

    def _begin_or_go_on(self, kind: str, y: float, x: float, hint: str) -> Begun | None:
        """Return where a correction began whose second place this is; begin one, and return None, if there is none."""
        label, _ = self._rewriting.cell(y, x)
        plane, first = self._session.plane, self._begun
        if first is not None and (first.kind, first.plane) == (kind, plane) and self._is_there(first):
            if (first.label == label) != (kind == "split"):
                raise OptionError(WRONG_SECOND[kind].format(first=first.label))
            self.let_be()
            return first
        self._begun = Begun(kind, plane, label, (y, x))
        self._session.say(f"{kind.capitalize()} cell {label}: {hint}. Escape lets it be.")
        self.changed.emit()
        return None

    def _split(self, first: Begun, second: tuple[float, float], masks: list[Mask]) -> None:
        """Split a cell where the model's answers meet."""
        if not self._is_there(first):
            raise OptionError(f"Cell {first.label} has changed meanwhile; split it again.")
        label, window = self._rewriting.cell(*first.place, plane=first.plane)
        number = self._session.target.take_number()

        def verb(crop: Crop, corner: Corner) -> Crop:
            points = np.array([first.place, second]) - corner
            return corrections.split_at_points(crop, label, points, [number], landscape(masks, crop.shape, corner))

        self._rewriting.write(f"split {label}", verb, [window], {number: label}, plane=first.plane)

    def _is_there(self, begun: Begun) -> bool:
        y, x = begun.place
        return self._session.target.at(begun.plane, round(y), round(x)) == begun.label

    def _most_under(self, line: NDArray[np.float64]) -> tuple[float, float]:
        """Return a place of the cell of which a line covers most."""
        target, plane = self._session.target, self._session.plane
        places = along(line)
        labels = np.array([target.at(plane, round(y), round(x)) for y, x in places])
        if not labels.any():
            raise OptionError("The line lies over no cell; draw it across one.")
        there, counts = np.unique(labels[labels > 0], return_counts=True)
        most = there[counts.argmax()]
        y, x = places[int(np.flatnonzero(labels == most)[0])]
        return float(y), float(x)

    def _free_numbers(self) -> list[int]:
        """Return numbers that no cell has, as many as a layer of small numbers has left."""
        target = self._session.target
        first, most = target.take_number(), min(int(np.iinfo(target.layer.data.dtype).max), _HIGHEST)
        return [number for number in range(first, first + _MOST_PIECES) if number <= most]
