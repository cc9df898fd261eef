"""The newest plane that was read, so that no click reads it again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from napari_cellsam.types import Image

__all__ = ["PlaneCache"]


class PlaneCache:
    """Keeps one image; planes are large."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[Hashable, Image] | None = None

    def reader(self, key: Hashable, read: Callable[[], Image]) -> Callable[[], Image]:
        """Return what gives an image in another thread, reading it if it is not the newest.

        Parameters
        ----------
        key
            Name of the image.
        read
            Reads it.
        """

        def reader() -> Image:
            with self._lock:
                if self._kept is None or self._kept[0] != key:
                    self._kept = None  # frees the older one first
                    image = read()
                    image.image_id  # noqa: B018 - named here, where it may take its time
                    self._kept = key, image
                return self._kept[1]

        return reader

    def clear(self) -> None:
        """Keep nothing."""
        self._kept = None
