"""The handshake between a process and the local service that it starts: one line of JSON each way."""

from __future__ import annotations

from importlib.metadata import version

import msgspec

from napari_cellsam.errors import MessageError, ServiceUnavailableError
from napari_cellsam.service.messages import Failure

__all__ = ["VERSION", "ChildOptions", "Hello", "Ready", "check_version", "decode_answer", "decode_hello", "encode"]

VERSION = version("napari-cellsam")
"""Of this program when it began; what is installed may change while it runs."""


class ChildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a local service offers, and on which device.

    Attributes
    ----------
    models
        Names of models, the first one being the default; all that this machine has when empty.
    device, precision
        As for `napari_cellsam.load_model`.
    """

    models: tuple[str, ...] = ()
    device: str = "auto"
    precision: str = "auto"


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """What the child reads from its standard input: never from arguments or environment, which others can see.

    Attributes
    ----------
    token
        That the service is to ask for.
    parent_pid
        The process with which it is to end.
    version
        Of the parent's program.
    options
        What it is to offer.
    """

    token: str
    parent_pid: int
    version: str = ""
    options: ChildOptions = ChildOptions()


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """What the child writes to its standard output once it listens on this port of 127.0.0.1.

    Attributes
    ----------
    port
        Chosen by the system.
    pid
        Of the service itself; a launcher may stand between it and its parent.
    """

    port: int
    pid: int


_hello: msgspec.json.Decoder[Hello] = msgspec.json.Decoder(Hello)
_answer: msgspec.json.Decoder[Ready | Failure] = msgspec.json.Decoder(Ready | Failure)


def encode(message: Hello | Ready | Failure) -> bytes:
    """Return a message as a line."""
    return msgspec.json.encode(message) + b"\n"


def decode_hello(line: bytes) -> Hello:
    """Return what the parent said.

    Raises
    ------
    MessageError
        If it said something else.
    """
    try:
        return _hello.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # the line holds a token, so it is not shown
        raise MessageError(
            "expected one line with token and parent on the standard input; start it from Python with"
            " napari_cellsam.service.local.LocalService, or use napari-cellsam serve"
        ) from error


def check_version(hello: Hello) -> None:
    """Refuse a parent of another version: it was updated while it runs, and only that on the disk is the new one.

    Raises
    ------
    ServiceUnavailableError
        If it is one.
    """
    if hello.version != VERSION:
        raise ServiceUnavailableError(
            f"napari-cellsam {VERSION} was installed while this program runs with {hello.version or 'an earlier one'}; "
            "close the program and start it again"
        )


def decode_answer(line: bytes) -> Ready | Failure:
    """Return what the child said.

    Raises
    ------
    MessageError
        If it said something else.
    """
    try:
        return _answer.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"the local model service began with {line[:200]!r} instead of its port") from error
