"""The features of the frames that a model looked at: in memory, else from a store, else encoded."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.data.prepare import prepare
from napari_cellsam.errors import OptionError
from napari_cellsam.models.feature_store import MemoryStore
from napari_cellsam.models.steps import Aside, Steps, run_steps
from napari_cellsam.types import AbsentImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.geometry import Frame
    from napari_cellsam.models.backend import Backend
    from napari_cellsam.models.feature_store import Arrays, FeatureStore
    from napari_cellsam.types import Image

__all__ = ["FrameFeatures", "Prepared", "cut_region"]

_logger = logging.getLogger(__name__)
_FORMAT = 1  # of what backends pack
_PRECISIONS = ("float32", "bfloat16")  # in which another machine may have computed
_PREPARED_BYTES = 64 * 2**20  # beside the newest one, which is always kept

Prepared = tuple["NDArray[np.float32]", Any]
"""A prepared image ``(3, Y, X)`` and what its regions share."""

_Key = tuple[str, bool, "Frame"]


@dataclass(eq=False)
class _Kept:
    """Features in memory, and whether the store was given them."""

    features: Any
    stored: bool = False


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
        Features that stay in the device's memory, and as much again of those that another machine has computed.

    Raises
    ------
    OptionError
        If there is a store, but no name to keep features of these weights apart from others by.
    """

    def __init__(
        self, backend: Backend, weights_id: str = "", store: FeatureStore | None = None, max_bytes: int = 128 * 2**20
    ) -> None:
        if store is not None and not weights_id:
            raise OptionError("got a store for features, but no weights_id; features of other weights would be answers")
        self._backend = backend
        self._weights_id = weights_id
        self._store = store
        self._max_bytes = max_bytes
        self._encoded: OrderedDict[_Key, _Kept] = OrderedDict()
        self._prepared: OrderedDict[tuple[str, bool], Prepared] = OrderedDict()
        self._brought = MemoryStore(max_bytes)

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
        kept = self._remembered(key, detecting) or (yield from self._recalled(key, detecting))
        if kept is None:
            pixels, shared = prepared or (yield from self.prepare_steps(image, clahe=clahe))
            yield None
            kept = _Kept(self._backend.encode(cut_region(pixels, frame.region), frame.size, shared))
            self._remember(key, kept)
        if keep and self._store is not None and not kept.stored:
            self._store.put(self.key(*key), self._backend.pack(kept.features))
            kept.stored = True
        return kept.features

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
        self._prepared.pop(key, None)  # another request may have done the same meanwhile
        while self._prepared and pixels.nbytes + sum(p.nbytes for p, _ in self._prepared.values()) > _PREPARED_BYTES:
            self._prepared.popitem(last=False)
        self._prepared[key] = made
        return made

    def stored_steps(self, *parts: object) -> Steps[Arrays | None]:
        """Get what another machine or the store has of something that `key` names; None if neither has it."""
        for precision in (self._backend.precision, *_PRECISIONS):
            brought = self._brought.get(self._key_at(precision, *parts))
            if brought is not None:
                return brought
        store = self._store
        if store is None:
            return None
        found: Arrays | None = yield Aside(lambda: store.get(self.key(*parts)))
        return found

    def has_steps(self, image: Image | AbsentImage, frame: Frame, *, clahe: bool) -> Steps[bool]:
        """Find out whether prompts in a frame can be decoded without encoding it."""
        key = image.image_id, clahe, frame
        return (self._remembered(key, detecting=False) or (yield from self._recalled(key, detecting=False))) is not None

    def key(self, *parts: object) -> str:
        """Return the name of something that depends on these parts, the weights and the precision."""
        return self._key_at(self._backend.precision, *parts)

    def packed(self, image: Image | AbsentImage, frame: Frame, features: Any, *, clahe: bool) -> tuple[str, Arrays]:
        """Return features as a store keeps them, with their key."""
        return self.key(image.image_id, clahe, frame), self._backend.pack(features)

    def keep(self, key: str, arrays: Arrays) -> None:
        """Put something else that was computed into the store, if there is one."""
        if self._store is not None:
            self._store.put(key, arrays)

    def put(self, entries: Iterable[tuple[str, Arrays]]) -> int:
        """Keep in memory what another machine with these weights has computed, in whatever precision.

        Parameters
        ----------
        entries
            Keys and arrays as `packed` returns them there. Those of other weights are never found.

        Returns
        -------
        int
            How many are small enough to be kept.
        """
        n_taken = 0
        for key, arrays in entries:
            self._brought.put(key, arrays)
            n_taken += self._brought.get(key) is not None
        return n_taken

    def forget(self) -> None:
        """Drop all that is kept in memory."""
        self._encoded.clear()
        self._prepared.clear()
        self._brought = MemoryStore(self._max_bytes)

    def _key_at(self, precision: str, *parts: object) -> str:
        text = repr((_FORMAT, self._weights_id, precision, *parts))
        return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()

    def _remembered(self, key: _Key, detecting: bool) -> _Kept | None:
        kept = self._encoded.get(key)
        if kept is None or (detecting and not self._backend.detects_from(kept.features)):
            return None
        self._encoded.move_to_end(key)
        return kept

    def _recalled(self, key: _Key, detecting: bool) -> Steps[_Kept | None]:
        """Get features from the store into memory."""
        arrays = yield from self.stored_steps(*key)
        if arrays is None or (detecting and not self._backend.detects_from(arrays)):
            return None
        features = self._backend.unpack(arrays)
        if features is None:
            _logger.warning("features that were kept are not this model's; they are computed again")
            return None
        kept = _Kept(features, stored=True)
        self._remember(key, kept)
        return kept

    def _remember(self, key: _Key, kept: _Kept) -> None:
        """Keep features, and drop those that were not used for longest.

        All are measured again each time, for some grow when they are used.
        """
        self._encoded.pop(key, None)
        sizes = {old: self._backend.n_bytes(other.features) for old, other in self._encoded.items()}
        total = sum(sizes.values()) + self._backend.n_bytes(kept.features)
        for old, size in sizes.items():
            if total <= self._max_bytes:
                break
            del self._encoded[old]
            total -= size
        self._encoded[key] = kept


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
