"""The training jobs of a service: from a request with corrected pictures to a new model."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import msgspec

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.models.registry import check_free, find_model, is_registered
from napari_cellsam.models.steps import Aside, Step
from napari_cellsam.service.convert_lessons import lessons_of
from napari_cellsam.service.messages import Trained
from napari_cellsam.service.running import Job, JobSteps
from napari_cellsam.service.turns import Urgency

if TYPE_CHECKING:
    from napari_cellsam.service.limits import Limits
    from napari_cellsam.service.messages import TrainModel
    from napari_cellsam.service.model_pool import ModelPool
    from napari_cellsam.service.ticket import Ticket
    from napari_cellsam.training.retraining import Retraining

__all__ = ["TrainingJobs"]

TrainingSteps = Generator[Step | Future[Any], Any, Trained]


class TrainingJobs:
    """Makes the jobs of trainings, and ends them early when asked to.

    Parameters
    ----------
    models
        Of the service; a new model is offered from then on.
    limits
        What is refused.
    allowed
        Whether clients may train: that takes the device's time, and disk, from all.
    """

    def __init__(self, models: ModelPool, limits: Limits, allowed: bool) -> None:
        self._models, self._limits = models, limits
        self.allowed = allowed
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], str] = {}  # hashes of what was asked for, by client and name of the model
        self._stops: dict[Ticket, tuple[str, threading.Event]] = {}

    def make(self, request: TrainModel, ticket: Ticket) -> Job:
        """Return the job of a training.

        A client that asks again for what it has had made, because the answer was lost on the way, is told of that.

        Raises
        ------
        UnsupportedTaskError
            If clients may not train here.
        ModelError
            If there is no such parent, or the new model's name is taken or cannot be one.
        """
        if not self.allowed:
            raise UnsupportedTaskError(
                "this service does not train for its clients. Whoever runs it can start it with --allow-training; or "
                "train on this machine, or with: napari-cellsam finetune"
            )
        parent = self._models.resolve(request.model)
        if (ticket.client_id, request.name) not in self._made:
            check_free(request.name)
        stop = self._register(ticket, request.name)
        requests = [request]  # emptied when it begins: its pictures are not kept twice for hours

        def begin(_: Sequence[Any]) -> JobSteps:
            return [(yield from self._steps(requests, parent, ticket.client_id, stop))]

        return Job(ticket, Urgency.TRAINING, begin)

    def stop(self, client_id: str, name: str) -> bool:
        """End a training early, with the best so far; return whether the client has one of that name."""
        with self._lock:
            trainings = list(self._stops.items())
        named = [stop for ticket, (its_name, stop) in trainings if (ticket.client_id, its_name) == (client_id, name)]
        for stop in named:
            stop.set()
        return bool(named)

    def forget(self, ticket: Ticket) -> None:
        """Forget the training of a ticket that is over, or was refused after all."""
        with self._lock:
            self._stops.pop(ticket, None)

    def _register(self, ticket: Ticket, name: str) -> threading.Event:
        """Return the event by which a training is ended; it is known until its ticket is over."""
        stop = threading.Event()
        with self._lock:
            self._stops[ticket] = name, stop
        ticket.on_end(self.forget)
        return stop

    def _steps(self, requests: list[TrainModel], parent: str, client_id: str, stop: threading.Event) -> TrainingSteps:
        task: Retraining = yield Aside(lambda: self._task(requests.pop(), parent))
        asked: str = yield Aside(lambda: _hash(task))
        key = client_id, task.name
        if self._made.get(key) == asked and is_registered(task.name):
            record = find_model(task.name).training
            if record is not None:
                self._models.offer(task.name)
                return Trained(name=task.name, record=record)
        from napari_cellsam.training.retraining import retrain_steps

        check_free(task.name)
        self._made[key] = asked  # now: the client may go while the model is written
        record = yield from retrain_steps(task, stop.is_set)
        self._models.offer(task.name)
        return Trained(name=task.name, record=record)

    def _task(self, request: TrainModel, parent: str) -> Retraining:
        """Return what a request asks for; loads what training needs, so this is no work for the device's thread."""
        from napari_cellsam.models.loading import choose_device
        from napari_cellsam.training.retraining import Retraining

        device, precision = choose_device(self._models.device), self._models.precision
        return Retraining(request.name, parent, lessons_of(request, self._limits), request.options, device, precision)


def _hash(task: Retraining) -> str:
    """Return a hash of all that a training depends on but its name."""
    from napari_cellsam.training.lessons import picture_hash

    pictures = [list(map(picture_hash, part)) for part in (task.lessons.train, task.lessons.val)]
    return hashlib.sha256(msgspec.json.encode([task.parent, pictures, task.options])).hexdigest()
