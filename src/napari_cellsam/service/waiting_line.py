"""The waiting line: jobs that have not begun."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from napari_cellsam.errors import ServiceBusyError
from napari_cellsam.service.running import MOST_TOGETHER
from napari_cellsam.service.turns import Urgency

if TYPE_CHECKING:
    from napari_cellsam.service.limits import Limits
    from napari_cellsam.service.running import Job
    from napari_cellsam.service.ticket import Ticket

__all__ = ["WaitingLine"]


class WaitingLine:
    """Keeps jobs in the order in which they came. Whoever has it makes sure that one thread at a time uses it.

    Parameters
    ----------
    limits
        How many may wait.
    tell_length
        Called with the number of jobs whenever that changes.
    """

    def __init__(self, limits: Limits, tell_length: Callable[[int], None]) -> None:
        self._limits, self._tell_length = limits, tell_length
        self._jobs: list[Job] = []
        self._n_jobs = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def add(self, job: Job) -> list[Job]:
        """Put a job at the end; return those of the same client and slot, which it replaces.

        Raises
        ------
        ServiceBusyError
            If too many jobs wait already.
        """
        replaced = [other for other in self._jobs if _same_slot(other.ticket, job.ticket)]
        kept = [other for other in self._jobs if other not in replaced]
        self._check_room(job, kept)
        self._n_jobs += 1
        job.number = self._n_jobs
        self._set([*kept, job])
        return replaced

    def take(self, job: Job) -> list[Job]:
        """Take a job out, with those that can be done together with it."""
        together, weight = [job], job.weight
        for other in self._jobs:
            joins = other is not job and job.group is not None and other.group == job.group
            if joins and weight + other.weight <= MOST_TOGETHER and not other.ticket.is_over:
                together.append(other)
                weight += other.weight
        self._set([other for other in self._jobs if other not in together])
        return together

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Put jobs that were taken out where they were."""
        self._set(sorted([*self._jobs, *jobs], key=lambda job: job.number))

    def remove(self, ticket: Ticket) -> None:
        """Take out the job of a ticket, if it is here."""
        if any(job.ticket is ticket for job in self._jobs):
            self._set([job for job in self._jobs if job.ticket is not ticket])

    def clear(self) -> list[Job]:
        """Take out all jobs."""
        jobs = self._jobs
        self._set([])
        return jobs

    def n_ahead(self, ticket: Ticket) -> int | None:
        """Return how many jobs here go before that of a ticket; None if it is not here."""
        mine = next((job for job in self._jobs if job.ticket is ticket), None)
        if mine is None:
            return None
        return sum((job.urgency, job.number) < (mine.urgency, mine.number) for job in self._jobs)

    def _set(self, jobs: list[Job]) -> None:
        self._jobs = jobs
        self._tell_length(len(jobs))

    def _check_room(self, job: Job, waiting: list[Job]) -> None:
        """Refuse a job if too many wait."""
        n_trainings = sum(other.urgency is Urgency.TRAINING for other in waiting)
        if job.urgency is Urgency.TRAINING and n_trainings >= self._limits.max_waiting_trainings:
            raise ServiceBusyError(f"{n_trainings} trainings wait already, and no more may; try again later")
        of_client = sum(other.ticket.client_id == job.ticket.client_id for other in waiting)
        for n, most, whose in (
            (len(waiting), self._limits.max_waiting, "the service's"),
            (of_client, self._limits.max_waiting_per_client, "this client's"),
        ):
            if n >= most:
                raise ServiceBusyError(f"{n} of {whose} requests wait already, and no more may; try again later")


def _same_slot(one: Ticket, other: Ticket) -> bool:
    return one.slot is not None and (one.client_id, one.slot) == (other.client_id, other.slot)
