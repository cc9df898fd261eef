"""The scheduler: one device, many jobs, in steps."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import CellsamError, RequestReplacedError, ServiceUnavailableError
from napari_cellsam.models.steps import Advance, Aside, Found
from napari_cellsam.service import convert
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.lost_device import loss_of_device
from napari_cellsam.service.messages import CellsFound, Learning, Progress
from napari_cellsam.service.observer import ServiceObserver, Silent
from napari_cellsam.service.running import Job, Running
from napari_cellsam.service.turns import Turns, Urgency
from napari_cellsam.service.waiting_line import WaitingLine
from napari_cellsam.types.finetuning import TrainingProgress

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Frame
    from napari_cellsam.service.ticket import Ticket

__all__ = ["CLOSING", "Scheduler"]

_logger = logging.getLogger(__name__)
_MOST_RUNNING = {Urgency.PROMPT: 16, Urgency.SOON: 8, Urgency.RUN: 4, Urgency.TRAINING: 1}
_MOST_BEGUN = 2  # times as many, with those whose receivers read slowly: each of them keeps its image in memory
CLOSING = "the service is shutting down; try again when it is back"


class Scheduler:
    """Let jobs take turns at the device, step by step.

    Any thread may submit and cancel; `turn` is called by the one thread that owns the device. What of a job needs no
    device is done by an executor meanwhile. Jobs that can be done together, and wait together, are.

    Parameters
    ----------
    executor, urgent
        Do what needs no device, the second one of prompts, which wait for no other job there; None for the first one.
    limits
        How many jobs may wait.
    observer
        Is told of the queue.
    turns
        Who is next.
    """

    def __init__(
        self,
        executor: Executor,
        limits: Limits | None = None,
        observer: ServiceObserver | None = None,
        turns: Turns | None = None,
        *,
        urgent: Executor | None = None,
    ) -> None:
        self._executor, self._urgent = executor, urgent or executor
        self._observer = observer or Silent()
        self._turns = turns or Turns()
        self._changed = threading.Condition()
        self._waiting = WaitingLine(limits or Limits(), self._observer.queue_length)
        self._running: list[Running] = []
        self._refusing = False
        self._stopped = False

    def submit(self, job: Job) -> None:
        """Let a job wait for its first turn; it takes the place of its client's waiting job of the same slot.

        Raises
        ------
        ServiceBusyError
            If too many jobs wait already.
        ServiceUnavailableError
            If the service is shutting down.
        """
        with self._changed:
            if self._refusing:
                raise ServiceUnavailableError(CLOSING)
            replaced = self._waiting.add(job)
            self._changed.notify_all()
        for other in replaced:
            other.ticket.fail(RequestReplacedError("a newer request took the place of this one before it began"))
        job.ticket.on_end(lambda _: self._job_ended(job))

    def n_ahead(self, ticket: Ticket) -> int:
        """Return how many jobs go before a waiting one, as things are now; 0 if it runs."""
        with self._changed:
            n_waiting = self._waiting.n_ahead(ticket)
            return 0 if n_waiting is None else n_waiting + len(self._running)

    def wake(self) -> None:
        """Look again who can go on; after a ticket was paused, or is not any more."""
        with self._changed:
            self._changed.notify_all()

    def refuse(self) -> None:
        """Take no more jobs, and end those that wait."""
        with self._changed:
            self._refusing = True
            waiting = self._waiting.clear()
            self._changed.notify_all()
        for job in waiting:
            job.ticket.fail(ServiceUnavailableError(CLOSING))

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until nothing runs any more; return whether that came."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running and not self._waiting, timeout_s)

    def stop(self) -> None:
        """End what runs too, after its step under way; `turn` returns False from then on."""
        self.refuse()
        with self._changed:
            running = list(self._running)
            self._stopped = True
            self._changed.notify_all()
        for one in running:
            one.fail(ServiceUnavailableError(CLOSING))

    def turn(self, *, wait: bool = True) -> bool:
        """Do one step of the job whose turn it is; only the thread that owns the device may call this.

        What is wrong with a job is told to who asked for it.

        Parameters
        ----------
        wait
            Whether to wait for one.

        Returns
        -------
        bool
            False if there is none, or the scheduler was stopped: then no job is left.

        Raises
        ------
        ServiceUnavailableError
            If the device is lost, so that no job can be done any more.
        """
        with self._changed:
            chosen = self._choose()
            while chosen is None and wait and not self._stopped:
                self._changed.wait()
                chosen = self._choose()
        if chosen is None:
            return False
        if chosen.is_over or self._stopped:
            self._close(chosen)
        else:
            self._step(chosen)
        return True

    def _choose(self) -> Running | None:
        """Return what is to be stepped or closed next."""
        over = next((one for one in self._running if self._stopped or (one.is_over and one.give_up_aside())), None)
        if over is not None or self._stopped:
            return over
        ready = [one for one in self._running if not one.parked and not one.is_paused]
        candidates: list[Job | Running] = [*ready, *self._startable()]
        chosen = self._turns.choose(candidates)
        return self._start(chosen) if isinstance(chosen, Job) else chosen

    def _startable(self) -> Iterable[Job]:
        """Return the waiting jobs that may begin.

        What could have been done together with a job that runs waits for its end, and goes on with what that computed:
        begun now, it would compute the same.
        """
        n_begun = Counter(one.urgency for one in self._running)
        n_held = Counter(one.urgency for one in self._running if one.is_paused)
        busy = {one.group for one in self._running if one.is_light and not one.is_paused} - {None}
        for job in self._waiting:
            n, most = n_begun[job.urgency], _MOST_RUNNING[job.urgency]
            has_room = n - n_held[job.urgency] < most and n < _MOST_BEGUN * most
            if has_room and job.group not in busy and not job.ticket.is_paused:
                yield job

    def _start(self, job: Job) -> Running:
        """Take a job out of the queue, with those that can be done together with it."""
        together = self._waiting.take(job)
        now = time.monotonic()
        for other in together:
            self._observer.stage_done("wait", now - other.came_at)
        self._turns.note(job.urgency, [other.ticket.client_id for other in together[1:]])
        running = Running(together)
        self._running.append(running)
        return running

    def _step(self, running: Running) -> None:
        """Do one step of a job, and whatever follows from it."""
        begun = time.perf_counter()
        try:
            step = running.step()
            frame = _frame_of(step)
        except StopIteration as end:
            self._forget(running)
            running.reply(end.value)
        except Exception as error:  # noqa: BLE001 - it is logged, and told to who asked
            self._failed(running, error)
        else:
            self._follow(running, step, frame)
        finally:
            self._observer.stage_done("device", time.perf_counter() - begun)

    def _follow(self, running: Running, step: object, frame: Frame | None) -> None:
        """Do what a step asks for."""
        if isinstance(step, Aside):
            executor = self._urgent if running.urgency is Urgency.PROMPT else self._executor
            self._park(running, lambda: running.note_aside(executor.submit(self._timed, step.work)))
        elif isinstance(step, Future):
            self._park(running, lambda: step)
        elif frame is not None:
            running.tell(frame)

    def _park(self, running: Running, begin: Callable[[], Future[Any]]) -> None:
        """Give a job no turns until something is done elsewhere."""
        with self._changed:
            running.parked = True
        try:
            future = begin()
        except RuntimeError as error:  # the executor was shut down
            _logger.debug("work aside was refused: %s", error)
            self._unpark(running, None, ServiceUnavailableError(CLOSING))
        else:
            future.add_done_callback(lambda done: self._done_aside(running, done))

    def _done_aside(self, running: Running, future: Future[Any]) -> None:
        if future.cancelled():
            self._unpark(running, None, ServiceUnavailableError(CLOSING))
            return
        error = future.exception()
        self._unpark(running, None if error else future.result(), error)

    def _unpark(self, running: Running, answer: object, error: BaseException | None) -> None:
        with self._changed:
            running.answer, running.error, running.parked = answer, error, False
            self._changed.notify_all()

    def _timed(self, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        try:
            return work()
        finally:
            self._observer.stage_done("aside", time.perf_counter() - begun)

    def _failed(self, running: Running, error: Exception) -> None:
        """End a job that raised; of several together each is tried alone, so that it kills only itself."""
        self._close(running)
        if isinstance(error, CellsamError):
            _logger.debug("a request failed: %s", error)
        else:
            _logger.error("a request failed", exc_info=error)
        loss = loss_of_device(error)
        if loss is not None:
            running.fail(loss)
            raise loss from error
        if len(running.jobs) == 1:
            running.fail(error)
            return
        with self._changed:
            if not self._refusing:
                self._waiting.put_back(job.alone() for job in running.jobs if not job.ticket.is_over)
                self._changed.notify_all()
                return
        running.fail(ServiceUnavailableError(CLOSING))

    def _close(self, running: Running) -> None:
        """End the steps of a job."""
        self._forget(running)
        try:
            running.close()
        except Exception:
            _logger.exception("a request failed as it was closed")

    def _forget(self, running: Running) -> None:
        with self._changed:
            self._running.remove(running)
            self._changed.notify_all()

    def _job_ended(self, job: Job) -> None:
        """Take a job that is over out of the queue, or have what runs of it closed."""
        with self._changed:
            self._waiting.remove(job.ticket)
            self._changed.notify_all()


def _frame_of(step: object) -> Frame | None:
    """Return what the client hears of a step."""
    if isinstance(step, Advance):
        return Progress(stage=step.stage, done=step.done, total=step.total)
    if isinstance(step, Found):
        return CellsFound(cells=tuple(map(convert.cell_data, step.cells))) if step.cells else None
    return Learning(progress=step) if isinstance(step, TrainingProgress) else None
