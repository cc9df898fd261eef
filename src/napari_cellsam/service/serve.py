"""The running of a server: in a thread of its own, until it is closed."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellsam.errors import OptionError, ServiceUnavailableError
from napari_cellsam.service.auth import FixedTokens

if TYPE_CHECKING:
    import uvicorn

    from napari_cellsam.service.auth import Tokens
    from napari_cellsam.service.core import Service
    from napari_cellsam.service.observing import Metrics

__all__ = ["Listening", "ServeOptions", "is_loopback", "listening"]

_logger = logging.getLogger(__name__)
_BACKLOG = 512
_STARTING_S = 30.0


@dataclass(frozen=True)
class ServeOptions:
    """Where and how a server listens.

    Attributes
    ----------
    host, port
        The port is chosen by the system when 0.
    certificate, key
        PEM files for TLS; both or none.
    grace_s
        How long requests under way may take when the server is closed.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    grace_s: float = 5.0

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise OptionError("TLS needs a certificate and its key; got one of them")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise OptionError(f"there is no file {path}; expected a certificate or key in PEM format")
        if not 0 <= self.port < 2**16:
            raise OptionError(f"port is {self.port}; expected 0 to 65535")


class Listening:
    """A server that listens.

    Attributes
    ----------
    url, port
        Where.
    """

    def __init__(self, server: uvicorn.Server, listener: socket.socket, options: ServeOptions) -> None:
        self.port: int = listener.getsockname()[1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.url = f"{'https' if options.certificate else 'http'}://{host}:{self.port}"
        self._server = server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener,), name="napari-cellsam server", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the server has ended; return whether it has."""
        return self._ended.wait(timeout_s)

    def wait_until_started(self) -> None:
        """Wait until connections are answered.

        Raises
        ------
        ServiceUnavailableError
            If that does not come to be.
        """
        pause, waited = 0.005, 0.0
        while not self._server.started and waited < _STARTING_S and not self._ended.wait(pause):
            waited += pause
        if not self._server.started:
            raise ServiceUnavailableError("the server did not start; its log says why")

    def stop(self) -> None:
        """Take no further connections, and end when requests under way are over."""
        self._server.should_exit = True

    def _run(self, listener: socket.socket) -> None:
        try:
            self._server.run(sockets=[listener])
        except SystemExit:  # uvicorn's way to say that it could not start, which it has logged
            _logger.error("the server did not start")
        finally:
            listener.close()
            self._ended.set()


@contextmanager
def listening(
    service: Service,
    tokens: Sequence[str] | Tokens,
    options: ServeOptions | None = None,
    metrics: Metrics | None = None,
) -> Iterator[Listening]:
    """Let a service listen; at the end, requests under way are answered within the grace or refused, and it is closed.

    Parameters
    ----------
    service
        What answers; closed at the end.
    tokens
        Which tokens are accepted.
    options
        Where it listens: a free port of 127.0.0.1 when None.
    metrics
        Observer of the service, shown at ``/metrics``.

    Raises
    ------
    OptionError
        If the address cannot be listened on, or the certificate cannot be used.
    """
    options = options or ServeOptions()
    listener = _bind(options.host, options.port)
    try:
        server = _make_server(
            service, FixedTokens(tokens) if isinstance(tokens, Sequence) else tokens, options, metrics
        )
    except BaseException:
        listener.close()
        raise
    running = Listening(server, listener, options)
    try:
        running.wait_until_started()
        yield running
    finally:
        running.stop()
        service.close(options.grace_s)
        running.wait()


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make_server(service: Service, tokens: Tokens, options: ServeOptions, metrics: Metrics | None) -> uvicorn.Server:
    import ssl

    import uvicorn

    from napari_cellsam.service.http_protocol import quiet_closing
    from napari_cellsam.service.server import make_app

    limits = service.limits
    config = uvicorn.Config(
        make_app(service, tokens, metrics),
        http=quiet_closing(limits.idle_timeout_s),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=max(1, round(limits.idle_timeout_s)),
        timeout_graceful_shutdown=max(1, round(options.grace_s + 2)),
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise OptionError(f"the certificate {options.certificate} cannot be used: {error}") from error
    return uvicorn.Server(config)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # The protocol must be named: asyncio sends small parts at once (TCP_NODELAY) only where it is, which otherwise
        # costs 40 ms an answer.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _no_address(host, port, error) from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _no_address(host, port, error) from error
    return listener


def _no_address(host: str, port: int, error: OSError) -> OptionError:
    return OptionError(f"cannot listen on {host} port {port}: {error}; choose another --host or --port")
