"""The connection to the model service, as the docks show it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Literal, TypeAlias

from psygnal import Signal as Event
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_cellsam.errors import (
    AuthenticationError,
    CellsamError,
    RequestCancelledError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    VersionMismatchError,
)
from napari_cellsam.widgets._connecting import connect_as, model_of, place_of, told
from napari_cellsam.widgets._preferences import Preferences, PreferenceStore

if TYPE_CHECKING:
    from napari_cellsam.service.client import Client
    from napari_cellsam.service.home import HomeDecoding
    from napari_cellsam.service.messages import ServiceInfo
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Jobs, Report

    AnyClient: TypeAlias = Client | HomeDecoding

__all__ = ["Connection", "State"]

State = Literal["off", "starting", "ready", "failed"]

_TOPIC = "connection"
_FATAL = (ServiceUnavailableError, ServiceTimeoutError, AuthenticationError, VersionMismatchError)
_TYPING_MS = 800  # after the last change of the preferences, which come letter by letter
_CLOSING_S = 1.0


class _Knock(QObject):
    """By which other threads ask the GUI thread to connect anew."""

    asked = Signal()


class Connection:
    """Connects to the service that the preferences name, and keeps connected.

    Belongs to the GUI thread; `client` alone is for the threads in which requests wait. ``changed`` is emitted when
    state or text change, ``noted`` with a note about something that the user asked for.

    Parameters
    ----------
    jobs
        Where it works. Its own, which it closes: whoever cancels all jobs of a session does not mean this one.
    store
        Says which service and model. When it changes, the connection follows.
    make_client
        Makes a client of what the preferences say; may take its time, and is called in other threads.
    """

    changed = Event()
    noted = Event(str)

    def __init__(
        self, jobs: Jobs, store: PreferenceStore, make_client: Callable[[Preferences], AnyClient] | None = None
    ) -> None:
        self._jobs, self._store = jobs, store
        self._make_client = make_client or connect_as
        self.state: State = "off"
        self.text = "The model service is off."
        self.error: CellsamError | None = None
        self.info: ServiceInfo | None = None
        self.seconds_to_ready: float | None = None
        self._lock = threading.Lock()
        self._attempt: Future[AnyClient] | None = None  # the newest, by which threads wait for a client
        self._begun: Future[AnyClient] | None = None  # the newest that a job works on
        self._spent = False  # whether whoever wants a client next needs a new attempt
        self._client: AnyClient | None = None
        self._preferences = store.value
        self._closed = False
        self._gui_thread = threading.get_ident()
        self._knock = _Knock()
        self._knock.asked.connect(self._on_asked, Qt.ConnectionType.QueuedConnection)
        self._typing = QTimer()
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(self._follow)
        store.changed.connect(self._on_preferences)

    @property
    def client(self) -> AnyClient:
        """The way to the service. Other threads wait here until it is made; after a failure this tries again.

        Raises
        ------
        ServiceUnavailableError
            If the connection is off; or on the GUI thread, which must not wait, while it is being made.
        CellsamError
            If it cannot be made.
        """
        while True:
            attempt = self._wanted()
            try:
                return attempt.result()
            except RequestCancelledError:
                if attempt is self._attempt:
                    raise  # otherwise another one took its place

    def start(self) -> None:
        """Connect in the background, and make the model ready; does nothing if that is under way or done."""
        if self.state in ("off", "failed"):
            self._begin()

    def reconnect(self) -> None:
        """Connect anew, with the preferences as they are now; requests under way are cancelled."""
        self._begin()

    def sign_in(self, token: str) -> None:
        """Remember the token of the server that the preferences name, and connect with it."""
        from napari_cellsam.widgets import _secrets

        server = self._store.value.server

        def done(note: str | None) -> None:
            if note:
                self.noted.emit(note)
            self._begin()

        self._jobs.submit(
            lambda call, report: _secrets.remember(server, token),  # noqa: ARG005 - a keyring is not asked twice
            on_done=done,
            on_error=lambda error: self.noted.emit(told(error)),
            topic="token",
        )

    def failed(self, error: CellsamError) -> None:
        """Take note of a request that failed; if the service is gone, whoever wants a client next tries again."""
        if self.state == "ready" and isinstance(error, _FATAL):
            self._fail(error)

    def close(self) -> None:
        """Let go of the service and wake whoever waits for it, for good; takes two seconds at most."""
        if self._closed:
            return
        self._closed = True
        self._store.changed.disconnect(self._on_preferences, missing_ok=True)
        self._typing.stop()
        self._typing.deleteLater()
        with self._lock:
            attempt, self._attempt, self._begun = self._attempt, None, None
            client, self._client = self._client, None
            if attempt is not None and not attempt.done():
                attempt.set_exception(ServiceUnavailableError("the connection to the model service was closed"))
            self._knock.deleteLater()
        self._jobs.close()
        self._set("off", "The model service is off.")
        if client is not None:
            closing = threading.Thread(target=client.close, name="napari-cellsam closing", daemon=True)
            closing.start()  # ending a process takes a while
            closing.join(_CLOSING_S)

    # --- attempts: one at a time is worked on, and whoever wants a client waits for the newest

    def _wanted(self) -> Future[AnyClient]:
        """Return the attempt to wait for; ask for a new one if the last one is spent."""
        with self._lock:
            if self._attempt is None:
                raise ServiceUnavailableError("the model service is off; open a CellSAM dock to start it")
            if self._spent:
                self._attempt, self._spent = Future(), False
                self._knock.asked.emit()
            attempt = self._attempt
        if not attempt.done() and threading.get_ident() == self._gui_thread:
            raise ServiceUnavailableError("the model service is starting; try again in a moment")
        return attempt

    def _on_asked(self) -> None:
        if self._attempt is not None and self._attempt is not self._begun:
            self._begin()

    def _begin(self) -> None:
        """Begin the attempt that someone waits for already, or a new one."""
        if self._closed:
            return
        with self._lock:
            attempt = self._attempt
            if attempt is None or attempt is self._begun:
                attempt = Future()
            self._attempt = self._begun = attempt
            self._spent = False
        preferences, begun = self._store.value, time.perf_counter()
        self._preferences = preferences
        self._typing.stop()
        self.info = self.seconds_to_ready = None

        def work(call: Call, report: Report) -> ServiceInfo:
            try:
                return _made_ready(self._obtain(attempt, preferences), preferences.model, call, report)
            except CellsamError:
                raise
            except Exception as error:
                report(ServiceUnavailableError(f"the connection broke over {type(error).__name__}: {error}"))
                raise  # for napari to show

        def heard(news: ServiceInfo | ServiceUnavailableError) -> None:
            if isinstance(news, ServiceUnavailableError):
                self._fail(news)
            else:
                self.info = news
                self._set("starting", f"Loading {model_of(news, preferences.model).title} on {news.device} …")

        def done(info: ServiceInfo) -> None:
            self.info, self.seconds_to_ready = info, time.perf_counter() - begun
            self._set("ready", _ready(info, preferences, self.seconds_to_ready))

        self._set("starting", f"Connecting to the model service on {place_of(preferences)} …")
        self._jobs.submit(work, on_done=done, on_error=self._fail, on_report=heard, topic=_TOPIC)

    def _obtain(self, attempt: Future[AnyClient], preferences: Preferences) -> AnyClient:
        """Make a client and hand it to all who wait, in the thread of a job."""
        try:
            client = self._make_client(preferences)
        except BaseException as error:
            with self._lock:
                if not attempt.done():
                    attempt.set_exception(error)
            raise
        with self._lock:
            is_wanted = attempt is self._attempt
            former, left = (self._client, client) if is_wanted else (client, self._client)
            self._client = left
            if is_wanted:
                attempt.set_result(client)
            elif not attempt.done():
                attempt.set_exception(RequestCancelledError("the connection was changed meanwhile"))
        if former is not None:
            former.close()  # after the new one is made, so that a service on this machine goes on
        if not is_wanted:
            raise RequestCancelledError("the connection was changed meanwhile")
        return client

    def _fail(self, error: CellsamError) -> None:
        with self._lock:
            self._spent = True
        self._set("failed", told(error), error)

    # --- the preferences

    def _on_preferences(self, preferences: Preferences) -> None:
        """Follow the preferences once they rest."""
        if self.state == "off" or _service_of(preferences) == _service_of(self._preferences):
            self._typing.stop()
        else:
            self._typing.start()

    def _follow(self) -> None:
        if self.state != "off":
            self._begin()

    def _set(self, state: State, text: str, error: CellsamError | None = None) -> None:
        if (state, text) != (self.state, self.text):
            self.state, self.text, self.error = state, text, error
            self.changed.emit()


def _service_of(preferences: Preferences) -> tuple[str, str, str]:
    """Return what a connection depends on."""
    return preferences.server, preferences.model, preferences.decode_at_home if preferences.server else ""


def _made_ready(client: AnyClient, name: str, call: Call, report: Report) -> ServiceInfo:
    """Wait until a model is loaded, and return what the service is then; report what it is before."""
    from napari_cellsam.service.warming import use_once

    info = client.info(call=call)
    if model_of(info, name).loaded:
        return info
    report(info)
    use_once(client, call=call)
    return client.info(call=call)


def _ready(info: ServiceInfo, preferences: Preferences, seconds: float) -> str:
    model = model_of(info, preferences.model)
    return f"{model.title} on {info.device} · {place_of(preferences)} · ready after {seconds:.1f} s"
