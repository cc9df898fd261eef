"""The HTTP face of a service, as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from napari_cellsam.errors import (
    AuthenticationError,
    CellsamError,
    LimitExceededError,
    MessageError,
    ServiceBusyError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    VersionMismatchError,
)
from napari_cellsam.service.body import Body, ClientGoneError
from napari_cellsam.service.codec import decode_envelope, encode_frame
from napari_cellsam.service.failures import failure_of
from napari_cellsam.service.intake import Intake
from napari_cellsam.service.observing import CONTENT_TYPE as METRICS_TYPE
from napari_cellsam.service.outbox import Outbox

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from napari_cellsam.service.auth import Tokens
    from napari_cellsam.service.core import Service, Submission
    from napari_cellsam.service.observing import Metrics

__all__ = ["CONTENT_TYPE", "make_app"]

CONTENT_TYPE = "application/x-msgpack"

_logger = logging.getLogger(__name__)
_STATUS: dict[type[CellsamError], int] = {
    AuthenticationError: 401,
    MessageError: 400,
    LimitExceededError: 413,
    VersionMismatchError: 426,
    ServiceBusyError: 429,
    ServiceTimeoutError: 408,
    ServiceUnavailableError: 503,
}
_HEADERS = {401: {"www-authenticate": "Bearer"}, 426: {"upgrade": "napari-cellsam"}, 429: {"retry-after": "1"}}
_GONE = 499  # for the log alone: nobody is there to hear it
_ROOM_S = 10.0  # less than a client waits before it gives up sending


def make_app(service: Service, tokens: Tokens, metrics: Metrics | None = None) -> Starlette:
    """Return the application.

    Parameters
    ----------
    service
        What it speaks for.
    tokens
        Who is let in, everywhere but at ``/healthz``, which says nothing of the service but that it is there.
    metrics
        What is shown at ``/metrics``; without it there is no such page.
    """
    face = _Face(service, tokens, metrics)
    routes = [Route("/healthz", face.health), Route("/v1/info", face.info)]
    if metrics is not None:
        routes.append(Route("/metrics", face.metrics))
    routes.append(Route("/v1/requests", _Requests(face), methods=["POST"]))
    return Starlette(routes=routes)


@dataclass(frozen=True)
class _Face:
    """The pages of a service."""

    service: Service
    tokens: Tokens
    figures: Metrics | None

    def let_in(self, request: Request) -> str:
        """Return the name of the token that a request shows.

        Raises
        ------
        AuthenticationError
            If it shows none, or one that is not accepted.
        """
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise AuthenticationError(
                "this service wants a token: send it as Authorization: Bearer TOKEN (--token-file, or the environment "
                "variable NAPARI_CELLSAM_TOKEN)"
            )
        name = self.tokens.name_of(token.strip())
        if name is None:
            raise AuthenticationError("this service does not accept the token; ask whoever runs it for a valid one")
        return name

    async def health(self, request: Request) -> Response:  # noqa: ARG002 - anyone may ask
        """Say that the process is there and answers, and whether it still can."""
        if self.service.broken.is_set():
            return JSONResponse({"status": "the device has failed"}, 503)
        return JSONResponse({"status": "ok"})

    async def info(self, request: Request) -> Response:
        """Say what the service is, in JSON."""
        try:
            self.let_in(request)
            info = await asyncio.to_thread(self.service.info)
        except CellsamError as error:
            return _refusal_in_json(error)
        return Response(msgspec.json.encode(info), media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """Show the figures."""
        try:
            self.let_in(request)
            if self.figures is None:
                return Response(status_code=404)
            page = await asyncio.to_thread(self.figures.page, self.service.info)
        except CellsamError as error:
            return _refusal_in_json(error)
        return Response(page, media_type=METRICS_TYPE)


class _Requests:
    """Takes requests, and streams the frames of their answers."""

    def __init__(self, face: _Face) -> None:
        self._face = face
        limits = face.service.limits
        self._intake = Intake(max(limits.image_bytes, limits.max_body_bytes), min(_ROOM_S, limits.body_timeout_s))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.monotonic()
        request = Request(scope, receive)
        body = Body(request, self._face.service.limits)
        fields: dict[str, Any] = {"status": 200, "gone": False}
        try:
            try:
                fields["token"] = self._face.let_in(request)
                async with AsyncExitStack() as room:
                    await room.enter_async_context(self._intake.room_for(body.announced_bytes()))
                    outbox, submission = await self._take_on(body, fields)
                    if submission.is_training:  # how many of those there are is bounded by the service
                        await room.aclose()
                    if not await self._stream(outbox, submission, receive, send):
                        raise ClientGoneError
            except CellsamError as error:
                fields |= {"status": _status_of(error), "error": type(error).__name__}
                await _refuse(error, body, send)
        except ClientGoneError:
            fields |= {"status": _GONE, "gone": True}
        finally:
            fields["seconds"] = round(time.monotonic() - begun, 4)
            _logger.info("request", extra={"fields": fields})

    async def _take_on(self, body: Body, fields: dict[str, Any]) -> tuple[Outbox, Submission]:
        """Take a request on; note in the fields for the log what it was."""
        outbox = Outbox(asyncio.get_running_loop())
        content = await body.read()
        envelope = decode_envelope(content)
        fields |= {"client": envelope.client_id[:8], "request": envelope.request_id[:8], "bytes": len(content)}
        submission = await asyncio.to_thread(self._face.service.submit, envelope, outbox.put)
        outbox.belong_to(submission)
        return outbox, submission

    async def _stream(self, outbox: Outbox, submission: Submission, receive: Receive, send: Send) -> bool:
        """Send frames up to the last; return whether the client was there to the end. If not, the work is cancelled."""
        patience_s = self._face.service.limits.idle_timeout_s
        headers = [(b"content-type", CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            last = False
            while not last:
                coming = asyncio.ensure_future(outbox.get())
                await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    return False
                content, last = coming.result()
                sending = send({"type": "http.response.body", "body": content, "more_body": not last})
                await asyncio.wait_for(sending, patience_s)
        except (OSError, TimeoutError):
            return False
        else:
            return True
        finally:
            gone.cancel()
            submission.cancel()


async def _until_gone(receive: Receive) -> None:
    """Wait until the client closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(error: CellsamError, body: Body, send: Send) -> None:
    """Answer with why a request is not taken on, once the rest of its body is in."""
    status = _status_of(error)
    content = encode_frame(failure_of(error))
    headers = {"content-type": CONTENT_TYPE, "content-length": str(len(content)), **_HEADERS.get(status, {})}
    if not await body.discard():
        headers["connection"] = "close"
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})


def _refusal_in_json(error: CellsamError) -> Response:
    status = _status_of(error)
    failure = failure_of(error)
    return JSONResponse({"error": failure.error, "message": failure.message}, status, headers=_HEADERS.get(status, {}))


def _status_of(error: CellsamError) -> int:
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 503)
