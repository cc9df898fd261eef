"""The steps in which a model works, between which other work may go first."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from napari_cellsam.types.finetuning import TrainingProgress

if TYPE_CHECKING:
    from napari_cellsam.types import Cell

__all__ = ["Advance", "Aside", "Found", "Step", "Steps", "for_each", "run_steps"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEMS_OF_STEP = 64


@dataclass(frozen=True, eq=False)
class Aside:
    """Work without the device, which may be done elsewhere meanwhile; the steps go on with what it returns."""

    work: Callable[[], Any]


@dataclass(frozen=True)
class Advance:
    """How far the work has come.

    Attributes
    ----------
    stage
        What is being done, in a word or two for the user.
    done, total
        In tiles; ``total`` may grow.
    """

    stage: str
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Found:
    """Cells that are final: no later step changes or repeats them."""

    cells: tuple[Cell, ...]


Step = Aside | Advance | Found | TrainingProgress | None
"""What a model yields: None only lets others go first."""

Steps = Generator[Step, Any, Result]
"""Work in steps of some 50 ms on a laptop's processor; closing it cancels it."""


def for_each(items: Sequence[Item], work: Callable[[Item], Result]) -> Steps[list[Result]]:
    """Do the same short work on each of many items; others may go first between every few dozen."""
    results = []
    for i, item in enumerate(items):
        if i and i % _ITEMS_OF_STEP == 0:
            yield None
        results.append(work(item))
    return results


def run_steps(steps: Steps[Result], on_step: Callable[[Step], None] | None = None) -> Result:
    """Do all steps here and now.

    Parameters
    ----------
    steps
        The work.
    on_step
        Called with each step but `Aside`.

    Returns
    -------
    Result
        What the steps return at their end.
    """
    answer: Any = None
    error: Exception | None = None
    with closing(steps):  # whatever happens: they may have something to put away
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                result: Result = end.value
                return result
            answer = error = None
            if isinstance(step, Aside):
                try:
                    answer = step.work()
                except Exception as failure:  # noqa: BLE001 - it is raised where the steps wait for the answer
                    error = failure
            elif on_step:
                on_step(step)
