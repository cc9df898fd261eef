"""The service itself: requests in, frames out, whatever carries them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Self

from napari_cellsam.errors import (
    CellsamError,
    LimitExceededError,
    MessageError,
    ServiceBusyError,
    ServiceUnavailableError,
)
from napari_cellsam.service import convert
from napari_cellsam.service.codec import decode_request
from napari_cellsam.service.images import ImageCache
from napari_cellsam.service.jobs import JobMaker
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import (
    PROTOCOL_VERSION,
    Cancel,
    Cancelled,
    GetInfo,
    ImageKept,
    LimitsInfo,
    PutImage,
    Reply,
    ServiceInfo,
    StopTraining,
    TrainingStopped,
)
from napari_cellsam.service.observer import Guarded, ServiceObserver, Silent
from napari_cellsam.service.pulse import Pulse
from napari_cellsam.service.register import Register
from napari_cellsam.service.scheduler import CLOSING, Scheduler
from napari_cellsam.service.submission import Submission
from napari_cellsam.service.ticket import Ticket
from napari_cellsam.service.training_jobs import TrainingJobs

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Envelope, Frame, Request, Result
    from napari_cellsam.service.model_pool import ModelPool

__all__ = ["Service", "Submission"]

_logger = logging.getLogger(__name__)
_N_ASIDE, _N_QUICK = 4, 2  # threads, those of clicks apart: these do not wait for what whole images have done aside
_LAST_STEP_S = 10.0  # how long closing waits for a step that cannot be interrupted

# that `Service.submit` raises; all others come as frames
_REFUSALS = (ServiceBusyError, ServiceUnavailableError, MessageError, LimitExceededError)


class Service:
    """Answers requests with models on one device.

    Parameters
    ----------
    models
        What it offers; closed with the service.
    limits
        What it keeps, and what it refuses.
    private
        Whether it belongs to one user, and takes features computed elsewhere.
    trains
        Whether clients may have models trained; if it is private when None.
    observer
        Is told what it does.
    pulse_s
        Longest silence towards a client that waits.

    Attributes
    ----------
    broken
        Set when the device is lost or its thread has failed: only a new process can answer.
    """

    def __init__(
        self,
        models: ModelPool,
        limits: Limits | None = None,
        private: bool = False,
        *,
        trains: bool | None = None,
        observer: ServiceObserver | None = None,
        pulse_s: float = 2.0,
    ) -> None:
        self._models = models
        self.limits = limits or Limits()
        self._private = private
        self._observer = Guarded(observer or Silent())
        self._images = ImageCache(self.limits.image_bytes)
        self._aside = ThreadPoolExecutor(_N_ASIDE, thread_name_prefix="napari-cellsam aside")
        # images are unpacked one at a time: compressed ones may grow ten thousand times
        self._unpacking = ThreadPoolExecutor(1, thread_name_prefix="napari-cellsam images")
        self._quick = ThreadPoolExecutor(_N_QUICK, thread_name_prefix="napari-cellsam quick")
        self._scheduler = Scheduler(self._aside, self.limits, self._observer, urgent=self._quick)
        self._trainings = TrainingJobs(models, self.limits, private if trains is None else trains)
        self._jobs = JobMaker(models, self._images, self.limits, self._observer, self._trainings, private)
        self._register = Register(self.limits, self._observer)
        self._pulse = Pulse(
            self._register.tickets, self._scheduler.n_ahead, every_s=pulse_s, patience_s=self.limits.idle_timeout_s
        )
        self.broken = threading.Event()
        self._closing, self._closed = threading.Lock(), False
        self._worker = threading.Thread(target=self._work, name="napari-cellsam device", daemon=True)
        self._worker.start()
        self._pulse.start()

    def submit(self, envelope: Envelope, emit: Callable[[Frame], None]) -> Submission:
        """Take a request on.

        Decoding takes time in proportion to the request: not for the thread of an event loop.

        Parameters
        ----------
        envelope
            As it came in.
        emit
            Takes the frames of the answer, of which the last, and only that, is a `Reply` or a `Failure`; called by
            several threads, also before this returns, but by one at a time. It must be quick and not block; it may
            cancel, pause and submit.

        Raises
        ------
        ServiceBusyError, ServiceUnavailableError, MessageError, LimitExceededError
            If the request is not taken on; then `emit` is never called. All else that is wrong comes as a `Failure`.
        """
        ticket = _ticket(envelope.client_id, envelope.request_id, envelope.slot, emit)
        try:
            request = decode_request(envelope)
        except MessageError:
            raise
        except CellsamError as error:
            ticket.fail(error)
            return Submission(ticket, self._scheduler.wake)
        return self._take_on(request, ticket)

    def ask(
        self,
        request: Request,
        emit: Callable[[Frame], None],
        *,
        client_id: str,
        request_id: str,
        slot: str | None = None,
    ) -> Submission:
        """Take a request on that is not encoded; else as `submit`."""
        return self._take_on(request, _ticket(client_id, request_id, slot, emit))

    def info(self) -> ServiceInfo:
        """Return what the service is; may take as long as loading torch.

        Raises
        ------
        DeviceError
            If the machine does not have the device that was chosen.
        ServiceUnavailableError
            If the device is lost.
        """
        from napari_cellsam.service.device_report import report_on

        try:
            report = report_on(self._models.device)
        except ServiceUnavailableError as error:
            self._break(error)
            raise
        limits = self.limits
        return ServiceInfo(
            version=version("napari-cellsam"),
            protocol=PROTOCOL_VERSION,
            device=report.name,
            memory_bytes=report.memory_bytes,
            memory_used_bytes=report.memory_used_bytes,
            models=self._models.infos(),
            limits=LimitsInfo(
                max_body_bytes=limits.max_body_bytes,
                max_pixels=limits.max_pixels,
                max_prompts=limits.max_prompts,
                max_waiting=limits.max_waiting,
            ),
            private=self._private,
            trains=self._trainings.allowed,
        )

    def close(self, grace_s: float = 5.0) -> None:
        """Refuse what waits and what comes, let what runs end within the grace, and cancel the rest."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._register.refuse()
            self._scheduler.refuse()
            self._register.wait_until_empty(grace_s)
            self._scheduler.stop()
            for ticket in self._register.tickets():
                ticket.fail(ServiceUnavailableError(CLOSING))
            self._pulse.stop()
            for executor in (self._aside, self._quick, self._unpacking):
                executor.shutdown(wait=False, cancel_futures=True)
            self._worker.join(_LAST_STEP_S)
            self._models.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        """Own the device until the end."""
        try:
            while self._scheduler.turn():
                pass
        except Exception as error:  # noqa: BLE001 - it is logged and told
            self._break(error)

    def _break(self, error: Exception) -> None:
        """Take no more requests, and tell all rather than let them wait."""
        _logger.error("the device or its thread failed; the service takes no more requests", exc_info=error)
        self._register.refuse()
        for ticket in self._register.tickets():
            ticket.fail(error)
        self._scheduler.stop()
        self.broken.set()

    def _take_on(self, request: Request, ticket: Ticket) -> Submission:
        """Begin to answer a request, or say at once why not."""
        ticket.kind = str(request.__struct_config__.tag)
        submission = Submission(ticket, self._scheduler.wake)
        try:
            self._begin(request, ticket)
        except _REFUSALS:
            self._register.drop(ticket)
            self._trainings.forget(ticket)
            raise
        except CellsamError as error:
            self._register.fail(ticket, error)
        except Exception as error:
            _logger.exception("a request could not be begun")
            self._register.fail(ticket, error)
        return submission

    def _begin(self, request: Request, ticket: Ticket) -> None:
        if isinstance(request, Cancel):
            self._register.add(ticket)
            found = self._register.cancel(ticket.client_id, request.request_id)
            ticket.reply(Reply(result=Cancelled(found=found)))
        elif isinstance(request, StopTraining):
            self._register.add(ticket)
            ticket.reply(Reply(result=TrainingStopped(found=self._trainings.stop(ticket.client_id, request.name))))
        elif isinstance(request, GetInfo):
            self._errand(ticket, self.info, self._quick)
        elif isinstance(request, PutImage):
            self._errand(ticket, lambda: self._keep(request), self._unpacking)
        else:
            job = self._jobs.make(request, ticket)
            self._register.add(ticket)
            self._scheduler.submit(job)

    def _keep(self, request: PutImage) -> ImageKept:
        return ImageKept(
            image_id=self._images.put(convert.image_of(request, self.limits.max_pixels, self.limits.image_bytes))
        )

    def _errand(self, ticket: Ticket, work: Callable[[], Result], executor: Executor) -> None:
        """Answer a request without the device."""
        self._register.add(ticket, errand=True)
        try:
            executor.submit(_answer, ticket, work)
        except RuntimeError as error:  # it was shut down a moment ago
            raise ServiceUnavailableError(CLOSING) from error


def _ticket(client_id: str, request_id: str, slot: str | None, emit: Callable[[Frame], None]) -> Ticket:
    return Ticket(client_id, request_id, emit, slot=slot, clock=time.monotonic)


def _answer(ticket: Ticket, work: Callable[[], Result]) -> None:
    """Do what a request asks for, unless it is over already."""
    if ticket.is_over:
        return
    try:
        result = work()
    except CellsamError as error:
        ticket.fail(error)
    except Exception as error:
        _logger.exception("a request failed")
        ticket.fail(error)
    else:
        ticket.reply(Reply(result=result))
