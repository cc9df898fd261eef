"""The attempts to get a client: one counts at a time, and whoever wants a client waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeAlias

from napari_cellsam.errors import RequestCancelledError, ServiceUnavailableError

if TYPE_CHECKING:
    from napari_cellsam.service.client import Client
    from napari_cellsam.service.home import HomeDecoding

    AnyClient: TypeAlias = Client | HomeDecoding
    Attempt: TypeAlias = Future[AnyClient]

__all__ = ["Attempts"]


class Attempts:
    """Hands clients from the thread that makes them to the threads that want them.

    Made by the thread that must not wait.

    Parameters
    ----------
    ask
        Called, in any thread, when someone wants a client and the last attempt is spent: a new one is to be begun.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._newest: Attempt | None = None
        self._begun: Attempt | None = None
        self._spent = False
        self._client: AnyClient | None = None
        self._owner = threading.get_ident()

    @property
    def is_asked_for(self) -> bool:
        """Whether someone waits for an attempt that has not begun."""
        return self._newest is not None and self._newest is not self._begun

    def begin(self) -> Attempt:
        """Return the attempt that is worked on from now on: the one that someone waits for already, or a new one."""
        with self._lock:
            if self._newest is None or self._newest is self._begun:
                self._newest = Future()
            self._begun, self._spent = self._newest, False
            return self._newest

    def spend(self) -> None:
        """Take note that the attempt has failed, or its client is of no use any more."""
        with self._lock:
            self._spent = True

    def client(self) -> AnyClient:
        """Wait for the client of the newest attempt.

        Raises
        ------
        ServiceUnavailableError
            If none was begun; or in the thread that must not wait, if it would have to.
        CellsamError
            If the client could not be made.
        """
        while True:
            attempt = self._wanted()
            try:
                return attempt.result()
            except RequestCancelledError:
                if attempt is self._newest:
                    raise  # otherwise another one has taken its place

    def fulfil(self, attempt: Attempt, make: Callable[[], AnyClient]) -> AnyClient:
        """Make a client, and hand it to all who wait for an attempt.

        Raises
        ------
        RequestCancelledError
            If another attempt took the place of this one meanwhile; the client is closed.
        """
        try:
            client = make()
        except BaseException as error:
            with self._lock:
                _fail(attempt, error)
            raise
        with self._lock:
            is_wanted = attempt is self._newest
            useless = self._client if is_wanted else client
            if is_wanted:
                self._client = client
                attempt.set_result(client)
        if useless is not None:
            useless.close()  # after the new one is made, so that a service on this machine goes on
        if not is_wanted:
            changed = RequestCancelledError("the connection was changed meanwhile")
            with self._lock:
                _fail(attempt, changed)
            raise changed
        return client

    def close(self) -> AnyClient | None:
        """Wake whoever waits, for good, and return the client that is to be closed."""
        with self._lock:
            attempt, self._newest, self._begun = self._newest, None, None
            client, self._client = self._client, None
            if attempt is not None:
                _fail(attempt, ServiceUnavailableError("the connection to the model service was closed"))
        return client

    def _wanted(self) -> Attempt:
        """Return the attempt to wait for; ask for a new one if the last one is spent."""
        with self._lock:
            if self._newest is None:
                raise ServiceUnavailableError("the model service is off; open a CellSAM dock to start it")
            if self._spent:
                self._newest, self._spent = Future(), False
                self._ask()
            attempt = self._newest
        if not attempt.done() and threading.get_ident() == self._owner:
            raise ServiceUnavailableError("the model service is starting; try again in a moment")
        return attempt


def _fail(attempt: Attempt, error: BaseException) -> None:
    """Let those who wait for an attempt see why it failed, unless it is over."""
    if not attempt.done():
        attempt.set_exception(error)
