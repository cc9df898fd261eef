"""The features of the frames that a model looked at: in memory, else from a store, else encoded."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.data.prepare import prepare
from napari_cellsam.models.steps import Aside, Steps, run_steps
from napari_cellsam.types import AbsentImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.geometry import Frame
    from napari_cellsam.models.backend import Backend
    from napari_cellsam.models.feature_store import Arrays, FeatureStore
    from napari_cellsam.types import Image

__all__ = ["FrameFeatures", "Prepared", "cut_region"]

_FORMAT = 1  # of what backends pack
_PREPARED_BYTES = 256 * 2**20

Prepared = tuple["NDArray[np.float32]", Any]
"""A prepared image ``(3, Y, X)`` and what its regions share."""


class FrameFeatures:
    """Encode frames of images, and keep what was used last.

    Parameters
    ----------
    backend
        The network on its device.
    weights_id
        Name of the weights; features of other weights or precision have other keys.
    store
        Where features for prompts are kept beside memory.
    max_bytes
        Features that stay in the device's memory.
    """

    def __init__(
        self, backend: Backend, weights_id: str = "", store: FeatureStore | None = None, max_bytes: int = 128 * 2**20
    ) -> None:
        self._backend = backend
        self._weights_id = weights_id
        self._store = store
        self._max_bytes = max_bytes
        self._encoded: OrderedDict[tuple[str, bool, Frame], tuple[Any, int]] = OrderedDict()
        self._n_bytes = 0
        self._prepared: OrderedDict[tuple[str, bool], Prepared] = OrderedDict()

    def of(self, image: Image | AbsentImage, frame: Frame, *, clahe: bool) -> Any:
        """Return the backend's features of a frame of an image."""
        return run_steps(self.steps(image, frame, clahe=clahe))

    def steps(
        self,
        image: Image | AbsentImage,
        frame: Frame,
        *,
        clahe: bool,
        prepared: Prepared | None = None,
        detecting: bool = True,
        keep: bool = False,
    ) -> Steps[Any]:
        """Get the backend's features of a frame in steps.

        Parameters
        ----------
        image, frame
            What is looked at.
        clahe
            Whether local contrast is equalized.
        prepared
            The prepared image where the caller has it; else it is prepared when it is needed.
        detecting
            Whether a detection is to be made from them.
        keep
            Whether they go into the store too.

        Raises
        ------
        ImageNotCachedError
            If pixels are needed, and the image is absent.
        """
        key = image.image_id, clahe, frame
        features = self._remembered(key, detecting)
        if features is not None:
            return features
        packed = self._stored(key, detecting)
        if packed is not None:
            features = self._backend.unpack(packed)
        else:
            pixels, shared = prepared or (yield from self.prepare_steps(image, clahe=clahe))
            yield None
            features = self._backend.encode(cut_region(pixels, frame.region), frame.size, shared)
            if keep and self._store is not None:
                self._store.put(self.key(*key), self._backend.pack(features))
        self._remember(key, features)
        return features

    def prepare_steps(self, image: Image | AbsentImage, *, clahe: bool) -> Steps[Prepared]:
        """Prepare an image aside; the newest ones are kept."""
        key = image.image_id, clahe
        if key in self._prepared:
            self._prepared.move_to_end(key)
            return self._prepared[key]
        if isinstance(image, AbsentImage):
            image.need()
        pixels: NDArray[np.float32] = yield Aside(lambda: prepare(image, clahe=clahe))
        made = pixels, self._backend.measure(pixels)
        while self._prepared and pixels.nbytes + sum(p.nbytes for p, _ in self._prepared.values()) > _PREPARED_BYTES:
            self._prepared.popitem(last=False)
        self._prepared[key] = made
        return made

    def packed(self, image: Image | AbsentImage, frame: Frame, features: Any, *, clahe: bool) -> tuple[str, Arrays]:
        """Return features as a store keeps them, with their key."""
        return self.key(image.image_id, clahe, frame), self._backend.pack(features)

    def stored(self, key: str) -> Arrays | None:
        """Return what the store has under a key; None without a store."""
        return None if self._store is None else self._store.get(key)

    def has(self, image: Image | AbsentImage, frame: Frame, *, clahe: bool) -> bool:
        """Whether the features of a frame are in memory or in the store."""
        key = image.image_id, clahe, frame
        return key in self._encoded or self._stored(key, detecting=False) is not None

    def key(self, *parts: object) -> str:
        """Return the name of something that depends on these parts, the weights and the precision."""
        text = repr((_FORMAT, self._weights_id, self._backend.precision, *parts))
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def forget(self) -> None:
        """Drop all that is kept in memory."""
        self._encoded.clear()
        self._prepared.clear()
        self._n_bytes = 0

    def _remembered(self, key: tuple[str, bool, Frame], detecting: bool) -> Any:
        kept = self._encoded.get(key)
        if kept is None or (detecting and not self._backend.detects_from(kept[0])):
            return None
        self._encoded.move_to_end(key)
        return kept[0]

    def _stored(self, key: tuple[str, bool, Frame], detecting: bool) -> Arrays | None:
        packed = self.stored(self.key(*key))
        return None if packed is None or (detecting and not self._backend.detects_from(packed)) else packed

    def _remember(self, key: tuple[str, bool, Frame], features: Any) -> None:
        size = self._backend.n_bytes(features)
        self._n_bytes -= self._encoded.pop(key, (None, 0))[1]
        while self._encoded and self._n_bytes + size > self._max_bytes:
            self._n_bytes -= self._encoded.popitem(last=False)[1][1]
        self._encoded[key] = features, size
        self._n_bytes += size

    def put(self, entries: Iterable[tuple[str, Arrays]]) -> int:
        """Keep what another service has computed; return how many entries were taken."""
        n_taken = 0
        for key, arrays in entries:
            if self._store is not None:
                self._store.put(key, arrays)
                n_taken += 1
        return n_taken


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
