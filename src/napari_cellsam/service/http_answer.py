"""The answer to a request over HTTP, read as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx

from napari_cellsam.errors import (
    AuthenticationError,
    LimitExceededError,
    MessageError,
    ServiceBusyError,
    ServiceError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from napari_cellsam.service.codec import FrameReader
from napari_cellsam.service.failures import error_of
from napari_cellsam.service.lane import BrokenLaneError, Timeouts
from napari_cellsam.service.messages import Failure, Reply

if TYPE_CHECKING:
    from napari_cellsam.service.messages import Frame, Result

__all__ = ["CONTENT_TYPE", "MAX_FRAME_BYTES", "read_answer", "translated"]

CONTENT_TYPE = "application/x-msgpack"
MAX_FRAME_BYTES = 2**30
"""Largest frame that is read; memory is taken as it comes, not as it is announced."""

_STATUS_ERRORS: dict[int, tuple[type[ServiceError], str]] = {
    401: (AuthenticationError, "it does not accept the token; ask whoever runs it for a valid one"),
    403: (AuthenticationError, "access is forbidden; ask whoever runs it for a valid token"),
    407: (AuthenticationError, "a proxy on the way wants a password; set NO_PROXY for this host, or use an SSH tunnel"),
    413: (
        LimitExceededError,
        "the request is too large; crop the image, or raise the limit of the service or its proxy",
    ),
    429: (ServiceBusyError, "it has too much to do; try again later"),
}
_GATEWAY = (502, 503, 504)


@contextmanager
def translated(url: str, timeouts: Timeouts) -> Iterator[None]:
    """Turn the errors of a request into ours.

    Parameters
    ----------
    url
        Where it goes.
    timeouts
        By which it goes.

    Raises
    ------
    BrokenLaneError
        If asking again may help.
    ServiceUnavailableError
        If the service cannot be reached.
    ServiceTimeoutError
        If it does not go on.
    """
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ServiceUnavailableError(
            f"{url} took no connection within {timeouts.connect_s:g} s; check the URL, the firewall and the network"
        ) from error
    except httpx.TimeoutException as error:
        raise ServiceTimeoutError(
            f"the service at {url} gave no sign of life for {timeouts.idle_s:g} s; it is frozen or the network is down"
        ) from error
    except httpx.HTTPError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ServiceUnavailableError(
                f"the certificate of {url} is not to be believed ({error}); if it is the lab's own, set SSL_CERT_FILE "
                "to the file of the certificate that signed it"
            ) from error
        raise BrokenLaneError(f"{type(error).__name__}: {error}") from error


def read_answer(response: httpx.Response, on_frame: Callable[[Frame], None] | None) -> Result:
    """Read frames up to the last.

    Parameters
    ----------
    response
        With its body still to come.
    on_frame
        Called with each frame before the last.

    Raises
    ------
    CellsamError
        As the service failed.
    BrokenLaneError
        If the answer ends before its last frame.
    MessageError
        If it is not the answer of a service.
    """
    if response.headers.get("content-type", "").partition(";")[0].strip() != CONTENT_TYPE:
        raise _status_error(response)
    reader = FrameReader(MAX_FRAME_BYTES)
    chunks = response.iter_raw()
    for chunk in chunks:
        for frame in reader.feed(chunk):
            if isinstance(frame, Reply | Failure):
                with suppress(httpx.HTTPError):  # read to the end, so that the connection can be used again
                    next(chunks, None)
                return _result_of(frame)
            if on_frame:
                on_frame(frame)
    raise BrokenLaneError("the answer ended before its last part")


def _result_of(frame: Reply | Failure) -> Result:
    """Return the result of a last frame, or raise what it tells."""
    if isinstance(frame, Failure):
        raise error_of(frame)
    return frame.result


def _status_error(response: httpx.Response) -> ServiceError:
    """Return what a status means that some program on the way sent, or another service than ours."""
    status = response.status_code
    if status in _GATEWAY:
        return BrokenLaneError(f"status {status}: a proxy on the way reaches no service")
    if status in _STATUS_ERRORS:
        error, meaning = _STATUS_ERRORS[status]
        return error(f"the service answered with status {status}: {meaning}")
    kind = response.headers.get("content-type", "no type")[:100]
    return MessageError(
        f"the server answered with status {status} and {kind!r}, which is not what a napari-cellsam service sends; "
        "check the URL and what listens there"
    )
