"""The bytes of requests and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from napari_cellsam.errors import LimitExceededError, MessageError, VersionMismatchError
from napari_cellsam.service.failures import failure_of
from napari_cellsam.service.messages import PROTOCOL_VERSION, Envelope, Frame, Reply, Request

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Message

__all__ = ["MAX_FRAME_BYTES", "FrameReader", "decode_envelope", "decode_request", "encode_frame", "encode_request"]

Decoded = TypeVar("Decoded")
MAX_FRAME_BYTES = 2**30
"""Longest frame that is sent."""

_LENGTH_BYTES = 4


class _Head(msgspec.Struct):
    """What every version of an envelope has."""

    protocol: int


_ENCODER = msgspec.msgpack.Encoder()
_HEADS = msgspec.msgpack.Decoder(_Head)
_ENVELOPES = msgspec.msgpack.Decoder(Envelope)
_REQUESTS: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Request)
_FRAMES: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Frame)


def encode_request(request: Request, client_id: str, request_id: str, slot: str | None = None) -> bytes:
    """Return the body in which a request travels; the parameters are as in `Envelope`.

    Raises
    ------
    MessageError
        If the request holds what no message can.
    LimitExceededError
        If it holds an array of 4 GiB or more.
    """
    envelope = Envelope(
        protocol=PROTOCOL_VERSION,
        client_id=client_id,
        request_id=request_id,
        slot=slot,
        request=msgspec.Raw(_encode(request)),
    )
    return _encode(envelope)


def decode_envelope(body: bytes) -> Envelope:
    """Return the envelope that a body holds; the request in it is not decoded yet.

    Raises
    ------
    VersionMismatchError
        If the sender speaks another version of the protocol.
    MessageError
        If the body is no envelope.
    """
    protocol = _decode(_HEADS, body, "the envelope of a request").protocol
    if protocol != PROTOCOL_VERSION:
        raise VersionMismatchError(_mismatch(protocol))
    return _decode(_ENVELOPES, body, "the envelope of a request")


def decode_request(envelope: Envelope) -> Request:
    """Return the request in an envelope.

    Raises
    ------
    MessageError
        If it is none.
    OptionError
        If its options are out of range.
    """
    request: Request = _decode(_REQUESTS, envelope.request, "a request")
    return request


def encode_frame(frame: Frame) -> bytes:
    """Return a frame of an answer: its length in four bytes, the highest first, then MessagePack.

    A reply that is too long becomes a failure that says so: the client must not wait for an answer that never comes.

    Raises
    ------
    LimitExceededError
        If a frame before the last is too long.
    MessageError
        If the frame holds what no message can.
    """
    try:
        content = _encode(frame)
        if len(content) > MAX_FRAME_BYTES:
            raise LimitExceededError(
                f"the answer takes {len(content)} bytes, and at most {MAX_FRAME_BYTES} are sent; ask for less at once"
            )
    except LimitExceededError as error:
        if not isinstance(frame, Reply):
            raise
        content = _encode(failure_of(error))
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


class FrameReader:
    """Cuts a stream of bytes into frames.

    Parameters
    ----------
    max_frame_bytes
        Longest frame that is taken.
    """

    def __init__(self, max_frame_bytes: int) -> None:
        self._max = max_frame_bytes
        self._waiting = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the frames that a further chunk completes.

        Raises
        ------
        MessageError
            If a frame is too long, or none.
        """
        self._waiting += chunk
        while len(self._waiting) >= _LENGTH_BYTES:
            length = int.from_bytes(self._waiting[:_LENGTH_BYTES], "big")
            if length > self._max:
                raise MessageError(f"the answer announces a frame of {length} bytes; at most {self._max} are taken")
            end = _LENGTH_BYTES + length
            if len(self._waiting) < end:
                return
            with memoryview(self._waiting) as waiting, waiting[_LENGTH_BYTES:end] as content:
                frame: Frame = _decode(_FRAMES, content, "a frame of an answer")
            del self._waiting[:end]
            yield frame


def _mismatch(protocol: int) -> str:
    """Return what to say to someone who speaks another version of the protocol."""
    from importlib.metadata import version

    older = "client's" if protocol < PROTOCOL_VERSION else "service's"
    return (
        f"the service speaks protocol {PROTOCOL_VERSION} (napari-cellsam {version('napari-cellsam')}), the client "
        f"protocol {protocol}; update napari-cellsam on the {older} machine: pip install --upgrade napari-cellsam"
    )


def _encode(message: Message) -> bytes:
    try:
        return _ENCODER.encode(message)
    except (UnicodeEncodeError, OverflowError) as error:
        raise MessageError(f"{type(message).__name__} holds a text or number that cannot be sent: {error}") from error
    except msgspec.EncodeError as error:
        raise LimitExceededError(
            f"{type(message).__name__} holds an array of 4 GiB or more, which cannot be sent at once; crop the image, "
            "or use a smaller type of pixels"
        ) from error


def _decode(decoder: msgspec.msgpack.Decoder[Decoded], data: bytes | memoryview | msgspec.Raw, what: str) -> Decoded:
    """Decode, and turn everything that can be wrong with bytes into our error."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, OverflowError, ValueError, TypeError) as error:
        raise MessageError(f"got bytes that are not {what}: {str(error)[:200]}") from error
