"""The connection to a service: the one on this machine, or a server by its URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellsam.errors import AuthenticationError, OptionError
from napari_cellsam.service.client import Client

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Transport

__all__ = ["TOKEN_VARIABLE", "connect", "read_token"]

TOKEN_VARIABLE = "NAPARI_CELLSAM_TOKEN"  # noqa: S105 - the name of a variable


def connect(server: str | None = None, token_file: str | Path | None = None, model: str = "") -> Client:
    """Connect to a model service.

    Nothing is sent yet; `Client.info` shows whether the service answers.

    Parameters
    ----------
    server
        URL such as ``https://gpu.example.org``; None for a service on this machine, which is started in the background
        and ends with the last client.
    token_file
        File with the server's token; the environment variable ``NAPARI_CELLSAM_TOKEN`` when None.
    model
        Which of the service's models answers; its first one when empty.

    Raises
    ------
    AuthenticationError
        If there is no token, or the file cannot be read.
    OptionError
        If the URL is not one or holds a password, or a token is given without a server.
    """
    return Client(_to_this_machine(token_file) if server is None else _to_server(server, token_file), model)


def read_token(token_file: str | Path | None = None) -> str:
    """Read the token of a server.

    Parameters
    ----------
    token_file
        Its first line counts that is neither empty nor a comment (``#``); ``name:`` before the token is skipped. None
        for the environment variable ``NAPARI_CELLSAM_TOKEN``.

    Raises
    ------
    AuthenticationError
        If there is none.
    """
    if token_file is None:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise AuthenticationError(
                f"the server wants a token: give a token file (--token-file), or set the environment variable "
                f"{TOKEN_VARIABLE}; whoever runs the server has one"
            )
        return token
    try:
        text = Path(token_file).expanduser().read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AuthenticationError(f"no token can be read from {token_file}: {error}") from error
    lines = (line.strip() for line in text.splitlines())
    token = next((line for line in lines if line and not line.startswith("#")), "").rpartition(":")[2].strip()
    if not token:
        raise AuthenticationError(f"{token_file} holds no token; expected a line with one")
    return token


def _to_server(server: str, token_file: str | Path | None) -> Transport:
    from napari_cellsam.service.address import Address
    from napari_cellsam.service.http_transport import HttpTransport

    Address.parse(server)  # before a token is looked for
    return HttpTransport(server, read_token(token_file))


def _to_this_machine(token_file: str | Path | None) -> Transport:
    from napari_cellsam.service.local import local_service

    if token_file is not None:
        raise OptionError("a token file is for a server; give the server's URL too")
    return local_service().acquire()
