"""The store of features: what models have computed of images, in memory or on disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Arrays", "FeatureStore", "MemoryStore", "n_bytes_of"]

Arrays = dict[str, "NDArray[Any]"]
"""Arrays by name; float16 or float32."""


class FeatureStore(Protocol):
    """Keeps arrays under names that say all that they depend on. Any number of threads may use it."""

    def get(self, key: str) -> Arrays | None:
        """Return the arrays of a key, or None."""

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep arrays; they must not be written afterwards. It is no error if they cannot be kept."""


def n_bytes_of(arrays: Arrays) -> int:
    """Return the memory that arrays take."""
    return sum(array.nbytes for array in arrays.values())


class MemoryStore:
    """Keeps the arrays that were used last.

    Parameters
    ----------
    max_bytes
        Memory for all of them.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Arrays] = OrderedDict()
        self._n_bytes = 0

    def get(self, key: str) -> Arrays | None:
        """Return the arrays of a key, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep arrays; those that were not used for longest go."""
        size = n_bytes_of(arrays)
        with self._lock:
            self._n_bytes -= n_bytes_of(self._kept.pop(key, {}))
            if size > self._max_bytes:
                return
            while self._n_bytes + size > self._max_bytes:
                self._n_bytes -= n_bytes_of(self._kept.popitem(last=False)[1])
            self._kept[key] = arrays
            self._n_bytes += size
