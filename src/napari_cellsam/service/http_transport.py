"""The transport over HTTP, to a service in another process or on another machine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_cellsam.errors import (
    AuthenticationError,
    CellsamError,
    OptionError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from napari_cellsam.service.address import Address
from napari_cellsam.service.auth import can_be_sent
from napari_cellsam.service.certificates import believed
from napari_cellsam.service.codec import encode_request
from napari_cellsam.service.errand import Errand
from napari_cellsam.service.lane import BrokenLaneError, Lane, Timeouts
from napari_cellsam.service.lanes import Lanes
from napari_cellsam.service.messages import Cancel
from napari_cellsam.service.squeezing import squeeze
from napari_cellsam.service.transport import Call

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Frame, Request, Result

__all__ = ["HttpTransport", "Timeouts"]

_PAUSES_S = (0.0, 0.2, 0.6, 1.5)  # before each further attempt; the first only replaces a connection gone stale
_CANCEL_S = 2.0  # how long a service has to end a cancelled request itself
_REQUESTS = "/v1/requests"
_HEADERS = {"Content-Type": "application/x-msgpack", "Accept-Encoding": "identity"}

_logger = logging.getLogger(__name__)


class HttpTransport:
    """A way to a service over HTTP. Any number of threads may send at once, each on a connection of its own.

    Every request may be sent twice without harm, so one is sent again when the connection breaks under it.

    Parameters
    ----------
    url
        Such as ``https://gpu.example.org`` or ``http://127.0.0.1:8765``.
    token
        What the service asks for.
    timeouts
        How long to wait.
    retries
        How often a request is sent again when the service cannot be reached or the connection breaks; at most 4.
    trust_env
        Whether the environment's proxies (``HTTPS_PROXY``, ``NO_PROXY``) are used; None for all hosts but this machine.
    verify
        Whether an ``https`` server's certificate is checked, or the file of a certificate to believe as well.

    Raises
    ------
    OptionError
        If the URL is not one or holds a password, or the certificate cannot be read.
    AuthenticationError
        If the token is empty or could not be one.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        retries: int = 3,
        trust_env: bool | None = None,
        verify: bool | str | Path = True,
    ) -> None:
        self._address = Address.parse(url)
        if not can_be_sent(token):
            raise AuthenticationError("the token is empty or has characters that no token has; check where it is from")
        if not 0 <= retries <= len(_PAUSES_S):
            raise OptionError(f"retries is {retries}; expected 0 to {len(_PAUSES_S)}")
        if not self._address.is_secure and not self._address.is_loopback:
            _logger.warning(
                "%s is not encrypted: images and the token can be read on the way. Use https or an SSH tunnel.",
                self._address.url,
            )
        self._timeouts, self._retries = timeouts, retries
        self._lanes = Lanes(
            partial(
                Lane,
                self._address.url + _REQUESTS,
                {**_HEADERS, "Authorization": f"Bearer {token}"},
                trust=believed(self._address, verify),
                trust_env=not self._address.is_loopback if trust_env is None else trust_env,
            )
        )
        self._client_id = uuid4().hex
        self._lock = threading.Lock()
        self._closed = False
        self._errands: set[Errand] = set()
        self._cancels: set[threading.Thread] = set()

    @property
    def url(self) -> str:
        """Where the service listens."""
        return self._address.url

    def send(
        self,
        request: Request,
        *,
        slot: str | None = None,
        call: Call | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Result:
        """Send a request and wait for its result, as `Transport` says.

        Raises
        ------
        ServiceUnavailableError
            If the service cannot be reached, or broke off every time.
        ServiceTimeoutError
            If it gave no sign of life, or no answer within ``total_s``.
        OptionError
            If the environment's proxies cannot be used.
        CellsamError
            As the service failed.
        """
        with self._begun() as errand, self._clock(errand):
            if call is not None:
                call.on_cancel(partial(self._cancel, errand))
            try:
                errand.check()
                return self._insist(request if self._address.is_loopback else squeeze(request), slot, errand, on_frame)
            finally:
                if call is not None:
                    call.on_cancel(None)

    def close(self) -> None:
        """Cancel all requests under way and close all connections."""
        with self._lock:
            self._closed = True
            errands, cancels = tuple(self._errands), tuple(self._cancels)
        for errand in errands:
            errand.stop()
            errand.cut()  # which a service takes for a cancel
        self._lanes.close()
        for errand in errands:
            if errand.thread is not threading.current_thread():
                errand.wait(_CANCEL_S)
        for thread in cancels:
            thread.join(2 * _CANCEL_S)

    @contextmanager
    def _begun(self) -> Iterator[Errand]:
        """Keep a new errand where `close` finds it."""
        errand = Errand()
        with self._lock:
            if self._closed:
                raise ServiceUnavailableError(f"the connection to {self.url} was closed; make a new one")
            self._errands.add(errand)
        try:
            yield errand
        finally:
            errand.end()
            with self._lock:
                self._errands.discard(errand)

    def _insist(
        self, request: Request, slot: str | None, errand: Errand, on_frame: Callable[[Frame], None] | None
    ) -> Result:
        """Send a request, again if need be, until an answer or the time-out comes."""

        def pass_on(frame: Frame) -> None:
            errand.check()  # no news for who has cancelled
            if on_frame:
                on_frame(frame)

        for attempt in range(self._retries + 1):
            if attempt:
                errand.pause(_PAUSES_S[attempt - 1])
            try:
                result = self._attempt(request, slot, errand, pass_on)
                errand.check()
                return result
            except BrokenLaneError as error:
                errand.check()
                broken = error
            except CellsamError:
                errand.check()  # what came of stopping it is no news
                raise
        raise ServiceUnavailableError(
            f"the service at {self.url} cannot be reached ({broken}); check that it runs and that the URL is right"
        ) from broken

    def _attempt(
        self,
        request: Request,
        slot: str | None,
        errand: Errand,
        on_frame: Callable[[Frame], None] | None = None,
        timeouts: Timeouts | None = None,
    ) -> Result:
        """Send a request once."""
        from napari_cellsam.service.http_answer import read_answer, translated

        timeouts = timeouts or self._timeouts
        errand.request_id = uuid4().hex
        body = encode_request(request, self._client_id, errand.request_id, slot)
        with self._lanes.lend() as lane:
            errand.take(lane)
            try:
                with translated(self.url, timeouts), lane.post(body, errand.check, timeouts) as response:
                    return read_answer(response, on_frame)
            finally:
                errand.take(None)

    @contextmanager
    def _clock(self, errand: Errand) -> Iterator[None]:
        """Stop an errand when its whole time is over."""
        total_s = self._timeouts.total_s
        if total_s is None:
            yield
            return
        timer = threading.Timer(total_s, self._expire, (errand, total_s))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self, errand: Errand, total_s: float) -> None:
        """Let an errand end because it took too long."""
        if errand.stop(ServiceTimeoutError(f"the service at {self.url} gave no answer within {total_s:g} s")):
            errand.cut()

    def _cancel(self, errand: Errand) -> None:
        """Let an errand end, in another thread: who cancels does not wait."""
        if not errand.stop():
            return
        thread = threading.Thread(target=self._end_there, args=(errand,), name="napari-cellsam cancel", daemon=True)
        with self._lock:
            self._cancels.add(thread)
            thread.start()

    def _end_there(self, errand: Errand) -> None:
        """Tell the service to end a request; if that does not help soon, break its connection."""
        give_up = monotonic() + _CANCEL_S
        try:
            with self._begun() as own:
                if errand.request_id:
                    self._attempt(
                        Cancel(request_id=errand.request_id), None, own, timeouts=Timeouts(_CANCEL_S, _CANCEL_S)
                    )
        except CellsamError as error:
            _logger.debug("a cancel did not arrive: %s", error)
        if not errand.wait(max(give_up - monotonic(), 0)):
            errand.cut()
        with self._lock:
            self._cancels.discard(threading.current_thread())
