"""The newest plane that was read, so that no click reads it again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Protocol

from napari_cellsam.errors import RequestCancelledError
from napari_cellsam.types import Image

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call

__all__ = ["PlaneCache", "PlaneReader"]


class PlaneReader(Protocol):
    """Gives the image of a plane, in any thread."""

    def __call__(self, call: Call | None = None) -> Image:
        """Return the image; a call that is cancelled already has nothing read.

        Raises
        ------
        RequestCancelledError
            If the call was cancelled before the image was begun to be read.
        """
        ...


class PlaneCache:
    """Keeps one image; planes are large."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[Hashable, Image] | None = None

    def reader(self, key: Hashable, read: Callable[[], Image]) -> PlaneReader:
        """Return what gives an image in another thread, reading it if it is not the newest.

        Parameters
        ----------
        key
            Name of the image.
        read
            Reads it.
        """

        def reader(call: Call | None = None) -> Image:
            with self._lock:
                if call is not None and call.cancelled:  # maybe while an older plane was read
                    raise RequestCancelledError("the plane is not wanted any more")
                kept = self._kept
                if kept is not None and kept[0] == key:
                    return kept[1]
                self._kept = kept = None  # frees the older one first
                image = read()
                image.image_id  # noqa: B018 - named here, where it may take its time
                self._kept = key, image
                return image

        return reader

    def clear(self) -> None:
        """Keep nothing."""
        self._kept = None
