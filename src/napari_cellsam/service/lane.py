"""The lane: one kept-alive connection to a service, which another thread can break."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import OptionError, ServiceUnavailableError

if TYPE_CHECKING:
    import httpx

__all__ = ["BrokenLaneError", "Lane", "Timeouts"]

_PART_BYTES = 2**18
# shorter than a service keeps a silent connection, so that it is not closed under a request
_KEEP_ALIVE_S = 15.0
_PROXY_VARIABLES = frozenset({"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})


class BrokenLaneError(ServiceUnavailableError):
    """The connection was not made or broke, so that asking again may help."""


@dataclass(frozen=True)
class Timeouts:
    """How long a client waits.

    Attributes
    ----------
    connect_s
        For a connection.
    idle_s
        For a sign of life while a request runs; a service that works or queues gives one every other second.
    total_s
        For the whole request, or None for as long as it shows signs of life.
    """

    connect_s: float = 5.0
    idle_s: float = 30.0
    total_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("connect_s", "idle_s", "total_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise OptionError(f"time-out {name} is {value}; expected more than 0 seconds")


class Lane:
    """One kept-alive connection, on which one request goes at a time.

    Parameters
    ----------
    url
        Where requests are posted.
    headers
        Sent with each.
    trust
        Which certificates are believed.
    trust_env
        Whether the environment's proxies are used.

    Raises
    ------
    OptionError
        If these cannot be used.
    """

    def __init__(self, url: str, headers: Mapping[str, str], trust: ssl.SSLContext, *, trust_env: bool) -> None:
        import httpx

        self._url = url
        try:
            self._http = httpx.Client(
                headers=dict(headers),
                limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_ALIVE_S),
                verify=trust,
                trust_env=trust_env,
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:  # nothing else of it is the user's
            raise _no_proxy(error) from error
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._rests_since = time.time()
        self.broken = False

    def post(
        self, body: bytes, check: Callable[[], None], timeouts: Timeouts
    ) -> AbstractContextManager[httpx.Response]:
        """Post a body and return the answer, to be read within the context.

        Parameters
        ----------
        body
            What is sent.
        check
            Called between parts of the body; what it raises ends the request.
        timeouts
            ``connect_s`` and ``idle_s`` count.
        """
        import httpx

        return self._http.stream(
            "POST",
            self._url,
            content=_parts(body, check),
            headers={"Content-Length": str(len(body))},
            timeout=httpx.Timeout(timeouts.idle_s, connect=timeouts.connect_s),
            extensions={"trace": self._notice},
        )

    @property
    def is_stale(self) -> bool:
        """Whether it has rested for so long that the service may have closed it.

        By the time of day: a computer that sleeps stops the other clock, and does not hear that a connection ends.
        """
        return not 0 <= time.time() - self._rests_since <= _KEEP_ALIVE_S

    def rest(self) -> None:
        """Note that nothing is asked on it from now on."""
        self._rests_since = time.time()

    def cut(self) -> None:
        """Break the connection from any thread: who reads or writes on it fails at once. It cannot be used again."""
        with self._lock:
            self.broken = True
            self._shut()

    def close(self) -> None:
        """Close the connection, in the thread that used it last."""
        self.broken = True
        self._http.close()

    def _notice(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the socket of a new connection, or of the encrypted one on top of it."""
        if not event.endswith(("connect_tcp.complete", "start_tls.complete")):
            return
        with self._lock:
            self._socket = info["return_value"].get_extra_info("socket")
            if self.broken:  # while it was connecting
                self._shut()

    def _shut(self) -> None:
        """Wake who waits for the socket: closing it in another thread would not."""
        if self._socket is not None:
            with suppress(OSError):  # closed already
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _no_proxy(error: Exception) -> OptionError:
    """Return the error for what the environment says of proxies."""
    named = [name for name in os.environ if name.upper() in _PROXY_VARIABLES]
    return OptionError(
        f"the proxies of {', '.join(sorted(named)) or 'the system'} cannot be used ({error}); correct or unset them. "
        "NO_PROXY takes names and single addresses, and a proxy at socks5:// needs: pip install 'httpx[socks]'"
    )


def _parts(body: bytes, check: Callable[[], None]) -> Iterator[bytes]:
    """Yield a body in parts."""
    view = memoryview(body)
    for start in range(0, len(view), _PART_BYTES):
        check()
        yield bytes(view[start : start + _PART_BYTES])
