"""The memory of the detector's boxes: those of the planes that were visited last."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_cellsam.errors import ImageShapeError
from napari_cellsam.widgets._box_cells import BoxCells
from napari_cellsam.widgets._candidates import Candidates

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session

__all__ = ["BoxMemory"]


class BoxMemory:
    """Keeps boxes by what they belong to: the pixels, the plane, the labels layer, the model and its options.

    Parameters
    ----------
    session
        What is looked at.
    budget_bytes
        Memory for all of them; those that were used longest ago go first.
    """

    def __init__(self, session: Session, budget_bytes: int = 256 * 2**20) -> None:
        self._session, self._budget = session, budget_bytes
        self._kept: dict[Hashable, BoxCells] = {}  # the newest last
        self._key: Hashable = None

    @property
    def now(self) -> BoxCells | None:
        """The boxes of what was looked at last; None if they are not known."""
        return self._kept.get(self._key)

    def has_moved(self) -> bool:
        """Return whether something else is looked at by now."""
        return self._find_key() != self._key

    def follow(self) -> None:
        """Take what is looked at now."""
        self._key = self._find_key()
        if self._key in self._kept:
            self._kept[self._key] = self._kept.pop(self._key)

    def recall(self) -> None:
        """Do so because the user asks for boxes: those of which some were left out are forgotten, to make room."""
        self.follow()
        if self.now is not None and self.now.complete and self.now.candidates.n_left_out:
            self.clear()

    def begin(self) -> BoxCells:
        """Return empty boxes for what is looked at; at least half of the memory is theirs."""
        self.forget()
        used = sum(boxes.candidates.n_bytes for boxes in self._kept.values())
        while self._kept and used > self._budget // 2:
            used -= self._kept.pop(next(iter(self._kept))).candidates.n_bytes
        made = BoxCells(self._session, Candidates(self._session.plane, self._budget - used))
        self._kept[self._key] = made
        return made

    def forget(self) -> None:
        """Forget the boxes of what is looked at."""
        self._kept.pop(self._key, None)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def _find_key(self) -> Hashable:
        session = self._session
        if session.source is None or not session.has_target:
            return None
        options = replace(session.options, box_score=None, score_rule=None)  # the boxes have a threshold of their own
        asked = session.connection.answering, options
        try:
            return session.source.signature(), session.plane, session.target.layer.unique_id, asked
        except ImageShapeError:
            return None  # the window shows no plane at the moment
