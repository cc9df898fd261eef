"""The command ``serve``: the model service for this machine or a whole lab."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cellsam.cli.segment import Precision
from napari_cellsam.errors import CellsamError, ServiceUnavailableError

if TYPE_CHECKING:
    from napari_cellsam.engine import Model
    from napari_cellsam.service.auth import Tokens
    from napari_cellsam.service.serve import Listening

__all__ = ["serve"]

_logger = logging.getLogger(__name__)
_TOKEN_VARIABLE = "NAPARI_CELLSAM_TOKEN"  # noqa: S105 - the name of a variable
_DEFAULT_PORT = 8765


class LogFormat(StrEnum):
    """Choices of ``--log-format``."""

    text = "text"
    json = "json"


def serve(  # noqa: PLR0913 - each argument is an option of the command
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines connect.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = _DEFAULT_PORT,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File of accepted tokens, one a line (token, or name:token); read again when it changes."),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", help="Model to offer, the first is the default; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Type of numbers on the device.")] = Precision.auto,
    certificate: Annotated[Path | None, typer.Option(help="Certificate for TLS, in PEM format.")] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the certificate, in PEM format.")] = None,
    allow_training: Annotated[
        bool, typer.Option("--allow-training", help="Let clients have models trained, which all can use then.")
    ] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="Show Prometheus metrics at /metrics.")] = False,
    max_body_mib: Annotated[int, typer.Option(min=1, help="Largest request.")] = 1024,
    max_pixels: Annotated[int, typer.Option(min=1, help="Most pixels of one image.")] = 400_000_000,
    max_prompts: Annotated[int, typer.Option(min=1, help="Most prompts in one request.")] = 20_000,
    max_waiting: Annotated[int, typer.Option(min=1, help="Most requests that wait, of all clients.")] = 512,
    max_connections: Annotated[int, typer.Option(min=1, help="Most open connections.")] = 1024,
    image_cache_mib: Annotated[int, typer.Option(min=1, help="Memory for images; as much for a training's.")] = 2048,
    feature_cache_mib: Annotated[int, typer.Option(min=1, help="Memory of the device for encoded images.")] = 512,
    disk_cache_mib: Annotated[int, typer.Option(min=0, help="Disk for encoded images; 0 for none.")] = 4096,
    grace_s: Annotated[float, typer.Option(min=0, help="Time for requests under way at the end.")] = 10.0,
    log_format: Annotated[LogFormat, typer.Option(help="Lines for people, or JSON.")] = LogFormat.text,
) -> None:
    """Answer napari-cellsam clients until stopped; every one needs a token."""
    from napari_cellsam.service.core import Service
    from napari_cellsam.service.limits import Limits
    from napari_cellsam.service.logs import set_up_logs
    from napari_cellsam.service.model_pool import ModelPool
    from napari_cellsam.service.observing import Metrics
    from napari_cellsam.service.serve import ServeOptions, listening

    set_up_logs(log_format.value)
    options = ServeOptions(host, port, certificate, key, grace_s)
    limits = Limits(
        max_body_bytes=max_body_mib * 2**20,
        max_pixels=max_pixels,
        max_prompts=max_prompts,
        max_waiting=max_waiting,
        max_connections=max_connections,
        image_bytes=image_cache_mib * 2**20,
        lesson_bytes=image_cache_mib * 2**20,
        feature_bytes=feature_cache_mib * 2**20,
        disk_bytes=disk_cache_mib * 2**20,
    )
    tokens, where = _tokens(token_file)
    _check(models or (), device)
    pool = ModelPool(models or (), device, precision.value, limits)
    figures = Metrics() if metrics else None
    with (
        _stopped_by_signals() as stop,
        Service(pool, limits, trains=allow_training, observer=figures) as service,
        listening(service, tokens, options, figures) as server,
    ):
        _say(server, where, options.certificate is not None, host)
        pool.load().add_done_callback(_tell_failure)  # the first request will not wait for it
        while not (stop.wait(0.2) or server.wait(0) or service.broken.is_set()):
            pass
        typer.echo("Stopping: requests under way are answered or refused.", err=True)
    if service.broken.is_set():
        raise ServiceUnavailableError("the device has failed, and only a new process can use it again; start it anew")


def _tell_failure(loading: Future[Model]) -> None:
    """Log why a model could not be loaded; the service goes on, and tries again at the first request."""
    error = None if loading.cancelled() else loading.exception()
    if error is not None:
        known = isinstance(error, CellsamError)
        _logger.error("the first model could not be loaded: %s", error, exc_info=None if known else error)


def _check(models: Sequence[str], device: str) -> None:
    """Raise now what would otherwise be told to the first client."""
    from napari_cellsam.models.loading import choose_device
    from napari_cellsam.models.registry import find_weights

    for name in models:
        find_weights(name)
    choose_device(device)


def _tokens(token_file: Path | None) -> tuple[Tokens, str]:
    """Return the accepted tokens, and where people find them."""
    from napari_cellsam.service.auth import FixedTokens, TokenFile, check_token, make_token_file
    from napari_cellsam.settings import config_dir

    if token_file is not None:
        return TokenFile(token_file), f"--token-file {token_file}"
    if _TOKEN_VARIABLE in os.environ:
        where = f"the environment variable {_TOKEN_VARIABLE}"
        return FixedTokens((check_token(os.environ[_TOKEN_VARIABLE].strip(), where),)), where
    path = config_dir() / "server.token"
    make_token_file(path)
    return TokenFile(path), f"--token-file {path}"


def _say(server: Listening, where: str, secure: bool, host: str) -> None:
    """Print where the server listens and how to connect."""
    from napari_cellsam.service.serve import is_loopback

    typer.echo(f"Listening on {server.url}")
    url = server.url
    for anywhere in ("0.0.0.0", "[::]"):  # noqa: S104 - all addresses of this machine, but none of them
        url = url.replace(f"//{anywhere}:", f"//{socket.gethostname()}:")
    typer.echo(f"Connect with: napari-cellsam segment IMAGE --server {url} {where}")
    if not secure and not is_loopback(host):
        typer.echo(
            "warning: without --certificate and --key, images and the token cross the network in clear text; use TLS "
            "or an SSH tunnel",
            err=True,
        )


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Set an event at the first SIGINT or SIGTERM (on Windows also Ctrl-Break) instead of ending the process."""
    stop = threading.Event()
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
