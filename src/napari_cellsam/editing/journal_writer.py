"""The writer of a journal: a thread that has every step on disk within a second, and never holds up who works."""

from __future__ import annotations

import errno
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from napari_cellsam.editing.journal import JournalSummary, summarize
from napari_cellsam.editing.journal_format import MAGIC, Frame, Kind, Opening, frame_of, step_of
from napari_cellsam.errors import CellsamError, JournalError, OutputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from napari_cellsam.editing.actions import Action

__all__ = ["JournalWriter", "claim"]

_logger = logging.getLogger(__name__)

_RETRY_S = 2.0
_CLOSING_S = 5.0
_AT_ONCE, _BYTES_AT_ONCE = 256, 2**22  # frames and bytes in one write

if TYPE_CHECKING:
    _Taken: TypeAlias = tuple[Kind, Action, float]


class JournalWriter:
    """Appends steps to a journal.

    Steps are taken at once, and written by a thread of the writer's own; what the disk refuses is kept in memory and
    tried again until it takes it. Nothing that is in the file is ever written again.

    Parameters
    ----------
    path
        The file. If it exists, it is continued; what was cut off at its end is put aside first.
    opening
        What it is of.
    on_trouble
        Called from the writer's thread with an error when the disk refuses, and with None when all is written again.
    lock
        As `claim` returned it for this file, if it did.

    Raises
    ------
    JournalError
        If the file is another image's journal, no journal, or open elsewhere.
    OutputError
        If it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        opening: Opening,
        on_trouble: Callable[[OutputError | None], None] | None = None,
        lock: BaseFileLock | None = None,
    ) -> None:
        self.path = path
        self._on_trouble = on_trouble or _log_trouble
        self._waiting: queue.SimpleQueue[_Taken | None] = queue.SimpleQueue()
        self._counts = threading.Condition()
        self._n_taken = self._n_written = self._n_pending = 0
        self._pending = bytearray()
        self._closing = threading.Event()
        self._lock = lock or _locked(path)
        try:
            self._file, summary = _open(path, opening)
        except BaseException:
            if lock is None:
                self._lock.release()
            raise
        self._end, self._checksum = (0, 0) if summary is None else (summary.n_bytes, summary.checksum)
        self._first_group = 0 if summary is None else summary.n_steps  # no earlier group has a higher number
        self._groups: dict[object, int] = {}
        if summary is None:
            self._append(MAGIC, opening)
        self._thread = threading.Thread(target=self._run, name="napari-cellsam journal", daemon=True)
        self._thread.start()

    def add(self, kind: Kind, action: Action) -> None:
        """Take a step; it is on disk within a second, unless the disk refuses it.

        Parameters
        ----------
        kind
            ``"do"``; ``"undo"`` and ``"redo"`` with the edits that were really made; ``"base"`` for what was there
            before.
        action
            What was done.
        """
        with self._counts:
            self._n_taken += 1
        self._waiting.put((kind, action, time.time()))

    def flush(self, timeout_s: float = _CLOSING_S) -> bool:
        """Wait until everything is on disk; return whether it is."""
        with self._counts:
            n_taken = self._n_taken
            return self._counts.wait_for(lambda: self._n_written >= n_taken, timeout_s)

    def close(self) -> bool:
        """Write what waits, as long as that goes on, and let go of the file; return whether everything is on disk."""
        n_before = self._n_written
        while not (written := self.flush()) and self._n_written > n_before:
            n_before = self._n_written
        self._closing.set()
        self._waiting.put(None)
        self._thread.join(_CLOSING_S)
        self._file.close()
        self._lock.release()
        return written

    def _run(self) -> None:
        """Write what comes, in the writer's thread."""
        in_trouble = False
        while not self._closing.is_set():
            self._gather(wait=not self._pending)
            if not self._pending:
                continue
            try:
                self._write()
            except OSError as error:
                if not in_trouble:
                    in_trouble = True
                    self._on_trouble(_refused(self.path, error))
                self._closing.wait(_RETRY_S)
                continue
            if in_trouble:
                in_trouble = False
                self._on_trouble(None)

    def _gather(self, *, wait: bool) -> None:
        """Take in what waits; wait for the first of it if that is wanted."""
        for number in range(_AT_ONCE):
            if len(self._pending) >= _BYTES_AT_ONCE:
                return
            try:
                taken = self._waiting.get(block=wait and number == 0)
            except queue.Empty:
                return
            if taken is None:
                return
            kind, action, when = taken
            self._append(b"", step_of(kind, action, when, self._group_of(action)))
            self._n_pending += 1

    def _group_of(self, action: Action) -> int | None:
        if action.group is None:
            return None
        return self._groups.setdefault(action.group, self._first_group + len(self._groups))

    def _append(self, start: bytes, frame: Frame) -> None:
        data, self._checksum = frame_of(frame, self._checksum)
        self._pending += start + data

    def _write(self) -> None:
        """Put what is pending at the end of what is whole; what an earlier attempt left there is written over."""
        self._file.seek(self._end)
        rest = memoryview(bytes(self._pending))
        while rest:
            rest = rest[self._file.write(rest) :]  # a disk that is nearly full takes a part
        os.fsync(self._file.fileno())
        self._end += len(self._pending)
        self._pending.clear()
        with self._counts:
            self._n_written += self._n_pending
            self._n_pending = 0
            self._counts.notify_all()


def _open(path: Path, opening: Opening) -> tuple[FileIO, JournalSummary | None]:
    """Return the file, and what it holds; None if nothing yet."""
    summary = summarize(path) if path.exists() else None
    if summary is None:
        return _opened(path, "w+b"), None
    there = summary.opening
    if (there.shape, there.dtype) != (opening.shape, opening.dtype):
        raise JournalError(
            f"the journal {path} is of labels of shape {there.shape} and type {there.dtype}, not {opening.shape} and "
            f"{opening.dtype}; choose another file"
        )
    file = _opened(path, "r+b")
    _put_aside(file, path, summary.n_bytes)
    return file, summary


def _opened(path: Path, mode: str) -> FileIO:
    try:
        return FileIO(path, mode)
    except OSError as error:
        raise _refused(path, error) from error


def _put_aside(file: FileIO, path: Path, end: int) -> None:
    """Cut the file where its whole part ends; what comes after is kept beside it."""
    file.seek(end)
    rest = file.read()
    if not rest:
        return
    aside = path.with_name(f"{path.name}.cut-off-{end}")
    try:
        aside.write_bytes(rest)
        file.truncate(end)
    except OSError as error:
        file.close()
        raise _refused(path, error) from error
    _logger.warning("the journal %s was cut off at byte %d; what came after is in %s", path, end, aside)


def claim(path: Path, copies: Iterable[Path] = ()) -> tuple[Path, BaseFileLock]:
    """Take a journal to go on with it, so that nobody else does; where it cannot be written, a copy of it.

    Parameters
    ----------
    path
        The journal.
    copies
        Where a copy may be: places at which there is nothing, the best one first.

    Returns
    -------
    path, lock
        What is gone on with, for `JournalWriter`, which lets go of it.

    Raises
    ------
    JournalError
        If it is being written, by this program or another one.
    OutputError
        If neither it nor a copy can be written.
    """
    last: CellsamError
    try:
        lock = _locked(path)
        if os.access(path, os.W_OK):
            return path, lock
        lock.release()
        last = _refused(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    except OutputError as error:
        last = error
    for place in copies:
        try:
            lock = _locked(place)
        except (JournalError, OutputError) as error:
            last = error
            continue
        try:
            shutil.copyfile(path, place)
        except OSError as error:
            lock.release()
            last = _refused(place, error)
            continue
        return place, lock
    raise last


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _locked(path: Path) -> BaseFileLock:
    """Return a lock on a journal."""
    from filelock import FileLock, Timeout

    lock = FileLock(_lock_file(path), thread_local=False)  # it is not let go of where it was taken
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise JournalError(f"the journal {path} is written by another window; work there, or close it") from error
    except OSError as error:
        raise _refused(path, error) from error
    return lock


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the journal {path} cannot be written ({error.strerror or error}); your work is in memory only. Make room or "
        "choose another folder"
    )


def _log_trouble(error: OutputError | None) -> None:
    _logger.warning("%s", "the journal is written again" if error is None else error)
