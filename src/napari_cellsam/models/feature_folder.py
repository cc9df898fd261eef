"""The folder of the feature store: files of bounded size in all, shared by any number of processes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

__all__ = ["FeatureFolder"]

_SUFFIX = ".features"
_TEMPORARY = ".tmp"
_BLOCK = 4096  # bytes by which a file grows on disk: many small files take more than they hold
_ABANDONED_S = 3600.0  # age of a temporary file that nobody will finish
_LOW_WATER = 0.9  # share of the limit down to which files are removed, so that this is not done at every write
_RECOUNT = 16  # the folder is looked through again after a 16th of the limit was written: others write too


class FeatureFolder:
    """Keeps files by name; those that were not used for longest go.

    A file is written under another name and renamed, so no process ever reads half of one. Any of them may remove any
    file at any time. One thread may write, any number may read.

    Parameters
    ----------
    path
        Made when the first file is written.
    max_bytes
        Size of all files. Each process that writes may exceed it by a 16th until it looks again.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._n_bytes = 0  # when the folder was last looked through, and what was written since
        self._n_unseen = max_bytes  # written since then; all at first

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, which counts as used now; None if there is none or it cannot be read."""
        path = self._file(name)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size > self._max_bytes:
                    return None  # none of ours
                data = file.read(self._max_bytes + 1)
        except OSError:
            return None
        with suppress(OSError):  # the folder may be read-only
            os.utime(path)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file, unless it alone is larger than all may be.

        Raises
        ------
        OSError
            If the disk is full or the folder is not for us to write in; then nothing is left of the file.
        """
        if _on_disk(len(data)) > self._max_bytes:
            return
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room(_on_disk(len(data)))
        path = self._file(name)
        temporary = path.with_name(f"{path.name}.{uuid4().hex}{_TEMPORARY}")
        try:
            temporary.write_bytes(data)  # not forced to disk: what a power cut damages, the checksum shows
            try:
                os.replace(temporary, path)
            except PermissionError:
                if not path.exists():  # else it is the same entry, which Windows does not replace while it is read
                    raise
        except BaseException:
            self._n_unseen = self._max_bytes  # look again before the next one
            raise
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file if that can be done."""
        _unlink(self._file(name))

    def _file(self, name: str) -> Path:
        return self._path / f"{name}{_SUFFIX}"

    def _make_room(self, n_bytes: int) -> None:
        """Remove the files that were not used for longest, if there is not enough room."""
        if (self._n_unseen + n_bytes) * _RECOUNT > self._max_bytes or self._n_bytes + n_bytes > self._max_bytes:
            files = self._list()
            total = sum(size for _, size, _ in files)
            if total + n_bytes > self._max_bytes:
                target = max(int(_LOW_WATER * self._max_bytes), n_bytes)
                for _, size, path in files:
                    if total + n_bytes <= target:
                        break
                    total -= size if _unlink(path) else 0
            self._n_bytes, self._n_unseen = total, 0
        self._n_bytes += n_bytes
        self._n_unseen += n_bytes

    def _list(self) -> list[tuple[float, int, Path]]:
        """Return time of last use, size and path of the files, oldest first; stale temporary ones are removed."""
        files = []
        for path in self._path.iterdir():
            with suppress(OSError):  # another process has removed it
                status = path.stat()
                if path.suffix == _SUFFIX:
                    files.append((status.st_mtime, _on_disk(status.st_size), path))
                elif path.suffix == _TEMPORARY and time.time() - status.st_mtime > _ABANDONED_S:
                    path.unlink()
        return sorted(files)


def _on_disk(n_bytes: int) -> int:
    """Return the bytes that a file takes on disk."""
    return -(-n_bytes // _BLOCK) * _BLOCK


def _unlink(path: Path) -> bool:
    """Remove a file; return whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
