"""The store of features on disk, which survives the process and may be shared by several."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

from napari_cellsam.models.feature_file import decode, encode
from napari_cellsam.models.feature_folder import FeatureFolder
from napari_cellsam.models.feature_store import Arrays, n_bytes_of

__all__ = ["DiskStore"]

_logger = logging.getLogger(__name__)
_MOST_WAITING_BYTES = 128 * 2**20  # to be written; more is dropped, for it can be computed again


class DiskStore:
    """Keeps one file per key.

    What cannot be read, or is not what was written, does not exist. What cannot be written is not kept: a full disk or
    a read-only folder costs speed, never an answer. Several processes may share the folder. Writing happens on a
    thread of its own.

    Parameters
    ----------
    folder
        Made when the first entry is written.
    max_bytes
        Size of all files; those that were not used for longest go.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = FeatureFolder(folder, max_bytes)
        self._changed = threading.Condition()
        self._waiting: dict[str, Arrays] = {}  # to be written, oldest first
        self._n_waiting_bytes = 0
        self._writer: threading.Thread | None = None
        self._closed = False
        self._trouble = ""
        self._told = False

    @property
    def trouble(self) -> str:
        """Why the last entry could not be written; empty if it could."""
        return self._trouble

    def get(self, key: str) -> Arrays | None:
        """Return the arrays of a key, or None."""
        with self._changed:
            if key in self._waiting:
                return self._waiting[key]
        data = self._folder.read(_name(key))
        if data is None:
            return None
        arrays = decode(key, data)
        if arrays is None:
            _logger.warning("features on disk are damaged, and are computed again (%s)", _name(key))
            self._folder.remove(_name(key))
        return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Write arrays in the background; dropped if too much waits to be written."""
        n_bytes = n_bytes_of(arrays)
        with self._changed:
            if self._closed or key in self._waiting:
                return
            if self._waiting and self._n_waiting_bytes + n_bytes > _MOST_WAITING_BYTES:
                return
            self._waiting[key] = arrays
            self._n_waiting_bytes += n_bytes
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_all, name="napari-cellsam features", daemon=True)
                self._writer.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            writer = self._writer
        if writer is not None:
            writer.join()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                key, arrays = next(iter(self._waiting.items()))
            try:
                self._write(key, arrays)
            finally:
                with self._changed:
                    self._n_waiting_bytes -= n_bytes_of(self._waiting.pop(key))
                    self._changed.notify_all()

    def _write(self, key: str, arrays: Arrays) -> None:
        try:
            self._folder.write(_name(key), encode(key, arrays))
        except Exception as error:  # noqa: BLE001 - whatever it is, later entries may do better, and nobody waits for it
            self._trouble = f"{type(error).__name__}: {error}"
            if not self._told:
                _logger.warning("features are not kept on disk: %s", self._trouble)
                self._told = True
        else:
            self._trouble = ""


def _name(key: str) -> str:
    """Return the name of a key's file, whatever characters the key has."""
    return hashlib.blake2b(key.encode(), digest_size=20).hexdigest()
