"""The client that the preferences ask for, made in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cellsam.errors import (
    AuthenticationError,
    CellsamError,
    ModelNotFoundError,
    OptionError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from napari_cellsam.service.client import Client
    from napari_cellsam.service.home import HomeDecoding
    from napari_cellsam.service.messages import ModelInfo, ServiceInfo
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Report
    from napari_cellsam.widgets._preferences import Preferences

__all__ = ["connect_as", "make_ready", "model_of", "place_of", "told"]


def connect_as(preferences: Preferences) -> Client | HomeDecoding:
    """Return a client of the service that the preferences name; nothing is sent yet.

    A service on this machine starts in the background. The keyring may ask the user to unlock it, so this may wait.

    Raises
    ------
    OptionError
        If the server's URL is not one.
    AuthenticationError
        If the server's token is not known.
    """
    from napari_cellsam.service.client import Client
    from napari_cellsam.service.connect import connect
    from napari_cellsam.service.home import HomeDecoding
    from napari_cellsam.service.http_transport import HttpTransport
    from napari_cellsam.widgets import _secrets

    if not preferences.server:
        return connect(model=preferences.model)
    token = _secrets.token_for(preferences.server)
    if token is None:
        raise AuthenticationError(f"the token of {preferences.server} is not known")
    remote = Client(HttpTransport(preferences.server, token), preferences.model)
    if preferences.decode_at_home == "server":
        return remote
    return HomeDecoding(remote, connect(model=preferences.model), preferences.decode_at_home)


def make_ready(client: Client | HomeDecoding, model: str, call: Call, report: Report) -> ServiceInfo:
    """Wait until a model is loaded, and return what the service is then; report what it is before.

    Parameters
    ----------
    client
        Of the service.
    model
        Name; the service's first one when empty.
    call
        By which the waiting is cancelled.
    report
        Called with a `ServiceInfo` if the model is not loaded yet.

    Raises
    ------
    CellsamError
        If the service does not answer, or the model cannot be had.
    """
    from napari_cellsam.service.warming import use_once

    info = client.info(call=call)
    if model_of(info, model).loaded:
        return info
    report(info)
    use_once(client, call=call)
    return client.info(call=call)


def model_of(info: ServiceInfo, name: str) -> ModelInfo:
    """Return what a service says of a model, its first one if no name is given.

    Raises
    ------
    ModelNotFoundError
        If it does not have it.
    """
    for model in info.models:
        if name in ("", model.name):
            return model
    known = ", ".join(model.name for model in info.models) or "none"
    raise ModelNotFoundError(f"the service has no model {name!r}; it has {known}")


def place_of(preferences: Preferences) -> str:
    """Return where the service runs, for the user; never a password that someone has typed into a URL."""
    from napari_cellsam.service.address import Address

    if not preferences.server:
        return "this machine"
    try:
        return Address.parse(preferences.server).url
    except OptionError:
        return "the server"


def told(error: CellsamError) -> str:
    """Return one line for the user: what went wrong, and what to do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = lines[0]
    if text.endswith(":") and len(lines) > 1:  # the last words of a process end with what it died of
        text = f"{text} {lines[-1]}"
    text = f"{text[:1].upper()}{text[1:]}".rstrip(".;:") + "."
    if isinstance(error, AuthenticationError):
        return f"{text} Enter the server's token, or set NAPARI_CELLSAM_TOKEN."
    if isinstance(error, ServiceUnavailableError | ServiceTimeoutError):
        return f"{text} The next action tries again."
    return text
