"""The batch of prompts: many cells asked for at once, written as one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari_cellsam.widgets._asking import Asking
from napari_cellsam.widgets._batch import place_batch
from napari_cellsam.widgets._shape_prompts import DrawnPrompt

if TYPE_CHECKING:
    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.errors import CellsamError
    from napari_cellsam.types import Mask
    from napari_cellsam.widgets._jobs import Job
    from napari_cellsam.widgets._session import Session

__all__ = ["PromptBatch"]

_AT_ONCE = 12  # prompts in one question; napari takes some 20 ms to draw so many cells


class PromptBatch:
    """Asks for the cells of prompts, a few at a time, and writes each answer when it comes; all of it is one step.

    Parameters
    ----------
    session
        Whose labels.
    plane
        Where in the stack.
    drawn
        What is asked.
    title
        Of the step, with the number of prompts: ``"3 boxes"``.
    ended
        Called when all is written or was taken back (True), or when it failed (False).
    """

    def __init__(
        self,
        session: Session,
        plane: Plane,
        drawn: Sequence[DrawnPrompt],
        title: str,
        ended: Callable[[bool], None] | None = None,
    ) -> None:
        self._session, self._plane, self._title, self._ended = session, plane, title, ended
        self._waiting = list(drawn)
        self._group = object()
        self._topic = f"prompts {id(self._group)}"  # of its own: several batches may be under way
        self._n_made = 0
        self._job: Job[Any] | None = None

    @property
    def running(self) -> bool:
        """Whether answers are still awaited."""
        return self._job is not None and self._job.running

    def ask(self) -> None:
        """Ask for the next cells.

        Raises
        ------
        CellsamError
            If the plane cannot be read.
        """
        drawn, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]

        def done(masks: list[Mask]) -> None:
            self._write(drawn, masks)

        asking, prompts = Asking(self._session), [each.prompt for each in drawn]
        self._job = asking.decode(
            self._plane, prompts, done, failed=self._failed, on_taken_back=self._taken_back, topic=self._topic
        )

    def _write(self, drawn: Sequence[DrawnPrompt], masks: Sequence[Mask]) -> None:
        shape = self._session.target.shape
        for each, mask in zip(drawn, masks, strict=True):
            cell, by_hand = each.outcome(mask, shape)
            made = place_batch(
                self._session,
                self._plane,
                [(each.prompt, cell)],
                self._title,
                origin="manual" if by_hand else "prompted",
                group=self._group,
            )
            self._n_made += len(made)
        if self._waiting:
            self.ask()
            return
        self._session.say(f"{self._n_made} of {self._title} became {'a cell' if self._n_made == 1 else 'cells'}.")
        self._end(True)

    def _taken_back(self) -> bool:
        """Ask for no more; return whether cells were made already, which are a step of the history."""
        self._waiting.clear()
        self._end(True)
        return self._n_made > 0

    def _failed(self, error: CellsamError) -> None:
        self._end(False)
        self._session.failed(error)

    def _end(self, well: bool) -> None:
        self._job = None
        if self._ended is not None:
            self._ended(well)
