"""The features of the frames that a model looked at last."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.data.prepare import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.geometry import Frame
    from napari_cellsam.models.backend import Backend
    from napari_cellsam.types import Image

__all__ = ["FrameFeatures", "cut_region"]


class FrameFeatures:
    """Encode frames of images, and keep the last few.

    Parameters
    ----------
    backend
        The network on its device.
    n_kept
        Frames whose features stay in memory.
    """

    def __init__(self, backend: Backend, n_kept: int = 6) -> None:
        self._backend = backend
        self._n_kept = n_kept
        self._encoded: OrderedDict[tuple[str, bool, Frame], Any] = OrderedDict()
        self._prepared: tuple[tuple[str, bool], NDArray[np.float32], Any] | None = None

    def of(self, image: Image, frame: Frame, *, clahe: bool) -> Any:
        """Return the backend's features of a frame of an image."""
        key = image.image_id, clahe, frame
        if key in self._encoded:
            self._encoded.move_to_end(key)
            return self._encoded[key]
        while len(self._encoded) >= self._n_kept:
            self._encoded.popitem(last=False)
        prepared, shared = self._prepare(image, clahe)
        features = self._backend.encode(cut_region(prepared, frame.region), frame.size, shared)
        self._encoded[key] = features
        return features

    def forget(self) -> None:
        """Drop all that is kept."""
        self._encoded.clear()
        self._prepared = None

    def _prepare(self, image: Image, clahe: bool) -> tuple[NDArray[np.float32], Any]:
        """Return the prepared image and what its regions share; the newest one is kept."""
        key = image.image_id, clahe
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = None  # frees the older one first
            prepared = prepare(image, clahe=clahe)
            self._prepared = key, prepared, self._backend.measure(prepared)
        return self._prepared[1:]


def cut_region(prepared: NDArray[np.float32], region: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Return a region of a prepared image.

    Parameters
    ----------
    prepared
        ``(C, Y, X)``.
    region
        ``(y0, x0, y1, x1)``, the end excluded; zeros where it reaches beyond the image.
    """
    y0, x0, y1, x1 = region
    height, width = prepared.shape[1:]
    inner = max(y0, 0), max(x0, 0), min(y1, height), min(x1, width)
    if inner == region:
        return prepared[:, y0:y1, x0:x1]
    result = np.zeros((len(prepared), y1 - y0, x1 - x0), prepared.dtype)
    if inner[0] < inner[2] and inner[1] < inner[3]:
        top, left, bottom, right = inner
        result[:, top - y0 : bottom - y0, left - x0 : right - x0] = prepared[:, top:bottom, left:right]
    return result
