"""The warming of a service: a model is loaded, and used once, before anyone waits for it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.service.client import Client
from napari_cellsam.types import Image, Prompt, SegmentOptions

if TYPE_CHECKING:
    from napari_cellsam.service.home import HomeDecoding
    from napari_cellsam.service.local_transport import LocalTransport
    from napari_cellsam.service.transport import Call

__all__ = ["Warming", "use_once"]

_SIDE = 128


class Warming:
    """Load a model in the background by asking for cells of a picture without any, and by a click on it.

    Parameters
    ----------
    transport
        To the service; closed at the end. Closing it before ends the warming.
    model
        Name of the model; the first one when empty.
    """

    def __init__(self, transport: LocalTransport, model: str) -> None:
        self.transport = transport
        self.future: Future[None] = Future()
        """Done when the model is ready, or with the error for which it cannot be."""
        self._model = model

    def start(self) -> None:
        """Begin, and return at once."""
        threading.Thread(target=self._run, name="warming of the local service", daemon=True).start()

    def _run(self) -> None:
        """Ask, and hand errors to whoever holds the future."""
        if not self.future.set_running_or_notify_cancel():
            self.transport.close()
            return
        try:
            with Client(self.transport, self._model) as client:
                use_once(client)
        except Exception as error:  # noqa: BLE001 - handed to whoever holds the future
            self.future.set_exception(error)
        else:
            self.future.set_result(None)


def use_once(client: Client | HomeDecoding, *, call: Call | None = None) -> None:
    """Make a model do a little of all that it can, and wait for it: the model is loaded and ready to answer then.

    Parameters
    ----------
    client
        Of the model.
    call
        By which another thread cancels it.
    """
    image = Image.from_array(np.zeros((_SIDE, _SIDE), np.uint8))
    with suppress(UnsupportedTaskError):  # a model without a detector is loaded by then too
        client.detect(image, call=call)
    middle = Prompt(inside=np.array([[_SIDE / 2, _SIDE / 2]], np.float32))
    client.segment_prompts(image, [middle], SegmentOptions(diameter=_SIDE / 4), call=call)
