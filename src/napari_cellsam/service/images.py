"""The images that a service keeps."""

from __future__ import annotations

import threading
from collections import OrderedDict

from napari_cellsam.errors import LimitExceededError
from napari_cellsam.types import Image

__all__ = ["ImageCache"]


class ImageCache:
    """Keeps images by the names of their content; those that were used least recently go first.

    Any thread may use it.

    Parameters
    ----------
    max_bytes
        Of all images together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._images: OrderedDict[str, Image] = OrderedDict()
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        """What the images take."""
        return self._n_bytes

    def __len__(self) -> int:
        return len(self._images)

    def put(self, image: Image) -> str:
        """Keep an image, and return its name, which is computed here.

        Raises
        ------
        LimitExceededError
            If it is larger than all that may be kept.
        """
        n_bytes = image.pixels.nbytes
        if n_bytes > self._max_bytes:
            raise LimitExceededError(
                f"got an image of {n_bytes} bytes; this service keeps {self._max_bytes}. Crop the image, or raise the "
                "service's limit"
            )
        name = image.image_id
        with self._lock:
            if name not in self._images:
                self._images[name] = image
                self._n_bytes += n_bytes
            self._images.move_to_end(name)
            while self._n_bytes > self._max_bytes:
                _, oldest = self._images.popitem(last=False)
                self._n_bytes -= oldest.pixels.nbytes
        return name

    def get(self, image_id: str) -> Image | None:
        """Return an image, or None if it is not here."""
        with self._lock:
            image = self._images.get(image_id)
            if image is not None:
                self._images.move_to_end(image_id)
            return image
