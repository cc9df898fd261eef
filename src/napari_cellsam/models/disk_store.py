"""The store of features on disk, which survives the process and may be shared by several."""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from napari_cellsam.models.feature_store import Arrays

__all__ = ["DiskStore"]

_logger = logging.getLogger(__name__)
_SUFFIX = ".features"
_DIGEST_BYTES = 32
_MOST_WAITING = 32  # entries to be written; more are dropped, for they can be computed again
_ABANDONED_S = 3600.0  # age of a temporary file that nobody will finish
_LOW_WATER = 0.9  # share of the limit down to which files are removed, so that this is not done at every write


class DiskStore:
    """Keeps one file per key: a checksum, then safetensors.

    What cannot be read, or is not what was written, does not exist. What cannot be written is not kept: a full disk or
    a read-only folder costs speed, never an answer. Files are written under another name and renamed, so several
    processes may share the folder.

    Parameters
    ----------
    folder
        Made when the first entry is written.
    max_bytes
        Size of all files; those that were not used for longest go.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._waiting: queue.Queue[tuple[str, Arrays] | None] = queue.Queue(_MOST_WAITING)
        self._unwritten: dict[str, Arrays] = {}
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None
        self._n_bytes: int | None = None
        self._complained = False
        self._closed = False

    def get(self, key: str) -> Arrays | None:
        """Return the arrays of a key, or None."""
        unwritten = self._unwritten.get(key)
        if unwritten is not None:
            return unwritten
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        arrays = _decode(data)
        if arrays is None:
            _logger.warning("features in %s are damaged; they are computed again", path.name)
            self._remove(path)
            return None
        with suppress(OSError):
            os.utime(path)  # used now
        return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Write arrays in the background; dropped if too much waits to be written."""
        with self._lock:
            if self._closed:
                return
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_all, name="napari-cellsam features", daemon=True)
                self._writer.start()
            with suppress(queue.Full):
                self._waiting.put_nowait((key, arrays))
                self._unwritten[key] = arrays

    def flush(self) -> None:
        """Wait until everything is written."""
        self._waiting.join()

    def close(self) -> None:
        """Write what waits, and end."""
        with self._lock:
            self._closed = True
            writer = self._writer
        if writer is not None:
            self._waiting.put(None)
            writer.join()

    def _write_all(self) -> None:
        while True:
            entry = self._waiting.get()
            try:
                if entry is None:
                    return
                self._write(*entry)
            finally:
                if entry is not None:
                    self._unwritten.pop(entry[0], None)
                self._waiting.task_done()

    def _write(self, key: str, arrays: Arrays) -> None:
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
        try:
            data = _encode(arrays)
            if len(data) > self._max_bytes:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(data))
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except OSError as error:
            if not self._complained:
                _logger.warning("features are not kept on disk: %s", error)
                self._complained = True
            self._n_bytes = None
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _make_room(self, n_bytes: int) -> None:
        """Remove the files that were not used for longest, if there is not enough room."""
        if self._n_bytes is not None and self._n_bytes + n_bytes <= self._max_bytes:
            self._n_bytes += n_bytes
            return
        files = self._list()  # other processes write too: what is there is counted anew
        total = sum(size for _, size, _ in files)
        target = self._max_bytes if total + n_bytes <= self._max_bytes else int(_LOW_WATER * self._max_bytes)
        for _, size, path in files:
            if total + n_bytes <= target or total == 0:
                break
            self._remove(path)
            total -= size
        self._n_bytes = total + n_bytes

    def _list(self) -> list[tuple[float, int, Path]]:
        """Return time of last use, size and path of the files, oldest first; stale temporary ones are removed."""
        files = []
        for path in self._folder.iterdir():
            with suppress(OSError):  # another process has removed it
                status = path.stat()
                if path.suffix == _SUFFIX:
                    files.append((status.st_mtime, status.st_size, path))
                elif path.suffix == ".tmp" and time.time() - status.st_mtime > _ABANDONED_S:
                    path.unlink()
        return sorted(files)

    def _remove(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.blake2b(key.encode(), digest_size=20).hexdigest()}{_SUFFIX}"


def _encode(arrays: Arrays) -> bytes:
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() + content


def _decode(data: bytes) -> Arrays | None:
    """Return the arrays, or None if a single bit is not as it was written."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() != digest:
        return None
    try:
        arrays: Arrays = load(content)
    except SafetensorError:
        return None
    return arrays
