"""What waits for the device, and what runs on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import ServiceInternalError
from napari_cellsam.models.steps import Step
from napari_cellsam.service.messages import Reply
from napari_cellsam.service.turns import Urgency

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Frame, Result
    from napari_cellsam.service.ticket import Ticket

__all__ = ["MOST_TOGETHER", "Job", "JobSteps", "Running"]

MOST_TOGETHER = 256
"""Weight of jobs that are done together at most: more takes so long that a click should not have to wait for it."""

JobSteps = Generator[Step | Future[Any], Any, "Sequence[Result]"]
"""Steps that end with one result per ask; one that is a future goes on with what that brings."""


@dataclass(eq=False)
class Job:
    """A request that waits for the device.

    Attributes
    ----------
    ticket
        Who asked.
    urgency
        Its class.
    begin
        Makes the steps for any number of asks that can be done together.
    ask
        What `begin` takes of this request.
    group
        Jobs of the same group, which have the same `begin`, can be done together; None for none.
    weight
        How much is asked; what weighs a lot is done alone.
    number
        The lower, the earlier it came.
    """

    ticket: Ticket
    urgency: Urgency
    begin: Callable[[Sequence[Any]], JobSteps]
    ask: Any = None
    group: Hashable | None = None
    weight: int = 1
    number: int = 0
    came_at: float = field(default_factory=time.monotonic)

    @property
    def clients(self) -> tuple[str, ...]:
        """Who waits for it."""
        return (self.ticket.client_id,)

    def alone(self) -> Job:
        """Return the same job, to be done without others."""
        return replace(self, group=None)


class Running:
    """Jobs that have begun, done together.

    Parameters
    ----------
    jobs
        All of one group; the first one's urgency and number are those of all.

    Attributes
    ----------
    parked
        Whether something is done elsewhere, for which it waits.
    answer, error
        What came of that.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = tuple(jobs)
        self.urgency, self.number = jobs[0].urgency, jobs[0].number
        self.parked = False
        self.answer: object = None
        self.error: BaseException | None = None
        self._steps: JobSteps | None = None
        self._aside: Future[Any] | None = None

    @property
    def clients(self) -> tuple[str, ...]:
        """Who waits for it."""
        return tuple(job.ticket.client_id for job in self.jobs)

    @property
    def group(self) -> Hashable | None:
        """The group of all jobs."""
        return self.jobs[0].group

    @property
    def is_light(self) -> bool:
        """Whether others may have to wait for it."""
        return sum(job.weight for job in self.jobs) <= MOST_TOGETHER

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return all(job.ticket.is_over for job in self.jobs)

    @property
    def is_paused(self) -> bool:
        """Whether its only receiver wants no frames for now."""
        return len(self.jobs) == 1 and self.jobs[0].ticket.is_paused

    def step(self) -> Step | Future[Any]:
        """Do the next step; StopIteration has the results."""
        if self._steps is None:
            self._steps = self.jobs[0].begin([job.ask for job in self.jobs])
        answer, error = self.answer, self.error
        self.answer = self.error = None
        return self._steps.send(answer) if error is None else self._steps.throw(error)

    def note_aside(self, future: Future[Any]) -> Future[Any]:
        """Note what is done for it alone while it is parked; return that."""
        self._aside = future
        return future

    def give_up_aside(self) -> bool:
        """Give up what has not begun aside; return whether nothing is being done for it there any more."""
        return self._aside is None or self._aside.cancel() or self._aside.done()

    def tell(self, frame: Frame) -> None:
        """Send a frame to all who wait."""
        for job in self.jobs:
            job.ticket.tell(frame)

    def reply(self, results: Sequence[Result]) -> None:
        """Send each its result."""
        if len(results) != len(self.jobs):
            self.fail(ServiceInternalError(f"{len(self.jobs)} requests together had {len(results)} results"))
            return
        for job, result in zip(self.jobs, results, strict=True):
            job.ticket.reply(Reply(result=result))

    def fail(self, error: BaseException) -> None:
        """Tell all who wait why there is no answer."""
        for job in self.jobs:
            job.ticket.fail(error)

    def close(self) -> None:
        """End the steps where they are."""
        if self._steps is not None:
            self._steps.close()
