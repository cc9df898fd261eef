"""The connection to the model service, as the docks show it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Literal, TypeAlias

from psygnal import Signal as Event
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_cellsam.errors import (
    AuthenticationError,
    CellsamError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    VersionMismatchError,
)
from napari_cellsam.widgets._attempts import Attempts
from napari_cellsam.widgets._connecting import connect_as, make_ready, model_of, place_of, told
from napari_cellsam.widgets._preferences import Preferences, PreferenceStore

if TYPE_CHECKING:
    from napari_cellsam.service.client import Client
    from napari_cellsam.service.home import HomeDecoding
    from napari_cellsam.service.messages import ServiceInfo
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._attempts import Attempt
    from napari_cellsam.widgets._jobs import Jobs, Report

    AnyClient: TypeAlias = Client | HomeDecoding

__all__ = ["Connection", "State"]

State = Literal["off", "starting", "ready", "failed"]

_FATAL = (ServiceUnavailableError, ServiceTimeoutError, AuthenticationError, VersionMismatchError)
_OFF = "The model service is off."
_TYPING_MS = 800  # after the last change of the preferences, which come letter by letter
_CLOSING_S = 1.0


class _Knock(QObject):
    """By which other threads ask the GUI thread for a new attempt."""

    asked = Signal()


class Connection:
    """Connects to the service that the preferences name, and keeps connected.

    Belongs to the GUI thread; `client` is for the threads in which requests wait. ``changed`` is emitted when state or
    text change, ``noted`` with a note about a token.

    Parameters
    ----------
    jobs
        Where it works. Its own, which it closes: whoever cancels all jobs of a session does not mean this one.
    store
        Says which service and model. When it changes, the connection follows.
    make_client
        Makes a client of what the preferences say; may take its time, and is called in other threads.

    Attributes
    ----------
    state, text
        How it is, as a word and as a line for the user.
    error
        What went wrong, while the state is ``"failed"``.
    info
        What the service is; None until it has answered.
    seconds_to_ready
        From the start to the model's being ready; None until then.
    """

    changed = Event()
    noted = Event(str)

    def __init__(
        self, jobs: Jobs, store: PreferenceStore, make_client: Callable[[Preferences], AnyClient] | None = None
    ) -> None:
        self._jobs, self._store = jobs, store
        self._make_client = make_client or connect_as
        self.state: State = "off"
        self.text = _OFF
        self.error: CellsamError | None = None
        self.info: ServiceInfo | None = None
        self.seconds_to_ready: float | None = None
        self._closed = False
        self._preferences = store.value
        self._weights: dict[Hashable, str] = {}  # known last, by what a connection depends on
        self._n_swapped = 0
        self._begun_s = 0.0
        self._knock = _Knock()
        self._knock.asked.connect(self._on_asked, Qt.ConnectionType.QueuedConnection)
        self._attempts = Attempts(self._knock.asked.emit)
        self._typing = QTimer()
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(self.reconnect)
        store.changed.connect(self._on_preferences)

    @property
    def client(self) -> AnyClient:
        """The way to the service. Other threads wait here until it is made; after a failure this tries again.

        Raises
        ------
        ServiceUnavailableError
            If the connection is off; or on the GUI thread, which must not wait, while the client is being made.
        CellsamError
            If it cannot be made.
        """
        return self._attempts.client()

    @property
    def answering(self) -> Hashable:
        """What answers: the same for as long as the same picture and question have the same answer.

        It is another one with another service or model, and when a model is found to have other weights; connecting
        anew changes nothing.
        """
        return (*_service_of(self._preferences), self._n_swapped)

    def start(self) -> None:
        """Connect in the background, and make the model ready; does nothing if that is under way or done."""
        if self.state in ("off", "failed"):
            self.reconnect()

    def reconnect(self) -> None:
        """Connect anew, with the preferences as they are now; requests under way are cancelled."""
        if self._closed:
            return
        self._typing.stop()
        attempt = self._attempts.begin()
        self._preferences, self._begun_s = self._store.value, time.perf_counter()
        self.info = self.seconds_to_ready = None
        self._set("starting", f"Connecting to the model service on {place_of(self._preferences)} …")
        self._jobs.submit(
            self._work_on(attempt, self._preferences),
            on_done=self._done,
            on_error=self._fail,
            on_report=self._heard,
            topic="connection",
        )

    def look_again(self) -> None:
        """Ask the service anew what it is, such as which models it has; the connection stays."""
        if self.state != "ready":
            return
        client = self.client
        self._jobs.submit(
            lambda call, report: client.info(call=call),  # noqa: ARG005
            on_done=self._on_info,
            on_error=self.failed,
            topic="info",
        )

    def sign_in(self, token: str) -> None:
        """Remember the token of the server that the preferences name, and connect with it."""
        from napari_cellsam.widgets import _secrets

        server = self._store.value.server

        def done(note: str | None) -> None:
            if note:
                self.noted.emit(note)
            self.reconnect()

        self._jobs.submit(
            lambda call, report: _secrets.remember(server, token),  # noqa: ARG005 - nobody cancels a keyring
            on_done=done,
            on_error=lambda error: self.noted.emit(told(error)),
            topic="token",
        )

    def failed(self, error: CellsamError) -> None:
        """Take note of a request that failed; if the service is gone, whoever wants a client next tries again."""
        if self.state == "ready" and isinstance(error, _FATAL):
            self._fail(error)

    def close(self) -> None:
        """Let go of the service for good, and wake whoever waits for it; takes two seconds at most."""
        if self._closed:
            return
        self._closed = True
        self._store.changed.disconnect(self._on_preferences)
        self._typing.stop()
        self._typing.deleteLater()
        client = self._attempts.close()
        self._knock.deleteLater()
        self._jobs.close()
        self.info = self.seconds_to_ready = None
        self._set("off", _OFF)
        if client is not None:
            closing = threading.Thread(target=client.close, name="napari-cellsam closing", daemon=True)
            closing.start()  # ending a process takes a while
            closing.join(_CLOSING_S)

    def _work_on(self, attempt: Attempt, preferences: Preferences) -> Callable[[Call, Report], ServiceInfo]:
        """Return what makes a client and waits for its model, in the thread of a job."""

        def work(call: Call, report: Report) -> ServiceInfo:
            try:
                client = self._attempts.fulfil(attempt, lambda: self._make_client(preferences))
                return make_ready(client, preferences.model, call, report)
            except CellsamError:
                raise
            except Exception as error:
                report(ServiceUnavailableError(f"the connection broke over {type(error).__name__}: {error}"))
                raise  # for napari to show

        return work

    def _on_info(self, info: ServiceInfo) -> None:
        self._learn(info)
        self.changed.emit()

    def _heard(self, news: ServiceInfo | ServiceUnavailableError) -> None:
        if isinstance(news, ServiceUnavailableError):
            self._fail(news)
            return
        self._learn(news)
        self._set("starting", f"Loading {model_of(news, self._preferences.model).name} on {news.device} …")

    def _done(self, info: ServiceInfo) -> None:
        self._learn(info)
        self.seconds_to_ready = time.perf_counter() - self._begun_s
        parts = (
            f"{model_of(info, self._preferences.model).name} on {info.device}",
            place_of(self._preferences),
            f"ready after {self.seconds_to_ready:.1f} s",
        )
        self._set("ready", " · ".join(parts))

    def _learn(self, info: ServiceInfo) -> None:
        """Take note of what the service is, and of whether its model is still the one that it was."""
        self.info = info
        service, chosen = _service_of(self._preferences), self._preferences.model
        weights = next((model.weights_id for model in info.models if chosen in ("", model.name)), "")
        if weights and self._weights.setdefault(service, weights) != weights:
            self._weights[service] = weights
            self._n_swapped += 1

    def _fail(self, error: CellsamError) -> None:
        self._attempts.spend()
        self._set("failed", told(error), error)

    def _on_asked(self) -> None:
        if self._attempts.is_asked_for:
            self.reconnect()

    def _on_preferences(self, preferences: Preferences) -> None:
        """Follow the preferences once they rest."""
        if self.state == "off" or _service_of(preferences) == _service_of(self._preferences):
            self._typing.stop()
        else:
            self._typing.start()

    def _set(self, state: State, text: str, error: CellsamError | None = None) -> None:
        self.error = error
        if (state, text) != (self.state, self.text):
            self.state, self.text = state, text
            self.changed.emit()


def _service_of(preferences: Preferences) -> tuple[str, str, str]:
    """Return what a connection depends on."""
    return preferences.server, preferences.model, preferences.decode_at_home if preferences.server else ""
