"""The keeper of a labels layer's journal: opens the file when something is done, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import can_hold, edit_between
from napari_cellsam.editing.journal_places import new_journal_paths
from napari_cellsam.editing.journal_writer import JournalWriter
from napari_cellsam.errors import CellsamError, JournalError, OutputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from napari_cellsam.editing.journal_format import Kind, Opening

__all__ = ["JournalKeeper"]

_ROWS_AT_ONCE = 512
_MOST_TRIES = 20

Trouble = Callable[[CellsamError | None], None]


class JournalKeeper:
    """Keeps the journal of one labels layer.

    Parameters
    ----------
    name, folders
        Of the image, and where the journal may be.
    opening
        Returns what the journal is of; called in the keeper's thread.
    data
        The labels as they are; what is in them when the journal begins comes first in it. None if they are empty.
    known
        What is known of their cells and regions, without pixels.
    on_trouble
        Called from another thread with an error when the disk refuses, and with None when it takes all again.
    claimed
        A journal that is continued, and its lock, as `claim` returned them; a new one if None.
    """

    def __init__(
        self,
        name: str,
        folders: list[Path],
        opening: Callable[[], Opening],
        data: Any,
        known: Action,
        on_trouble: Trouble,
        claimed: tuple[Path, BaseFileLock] | None = None,
    ) -> None:
        self._name, self._folders, self._opening, self._data, self._known = name, folders, opening, data, known
        self._on_trouble, self._claimed = on_trouble, claimed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="napari-cellsam journal")
        self._writer: JournalWriter | None = None
        self._waiting: list[tuple[Kind, Action]] = []  # while there is no file
        self._in_trouble = self._gone = False

    @property
    def path(self) -> Path | None:
        """Where the journal is; None for a new one until something was done."""
        if self._writer is not None:
            return self._writer.path
        return None if self._claimed is None else self._claimed[0]

    def add(self, kind: Kind, action: Action) -> None:
        """Take a step; nothing waits for the disk."""
        self._thread.submit(self._add, kind, action).add_done_callback(self._check)

    def flush(self) -> bool:
        """Wait until everything is on disk; return whether it is."""
        self._thread.submit(self._write_waiting).result()
        return not self._waiting and (self._writer is None or self._writer.flush())

    def close(self) -> bool:
        """Write what waits, and let go of the file; return whether everything is on disk."""
        self._thread.submit(self._write_waiting).add_done_callback(self._check)
        self._thread.shutdown(wait=True)
        if self._writer is None and self._claimed is not None:
            self._claimed[1].release()
        written = self._writer is None or self._writer.close()
        return written and not self._waiting

    def _add(self, kind: Kind, action: Action) -> None:
        self._waiting.append((kind, action))
        self._write_waiting()

    def _write_waiting(self) -> None:
        """Give the steps to the file; where none can be made they wait, and the next step tries again."""
        if not self._waiting or self._gone:
            return
        if self._writer is None:
            try:
                self._writer = self._opened()
            except CellsamError as error:
                self._gone = self._claimed is not None and isinstance(error, JournalError)  # it is none any more
                if not self._in_trouble:  # told once; the work itself goes on
                    self._in_trouble = True
                    self._on_trouble(error)
                return
        for step in self._waiting:
            self._writer.add(*step)
        self._waiting.clear()
        if self._in_trouble:
            self._in_trouble = False
            self._on_trouble(None)

    def _check(self, added: Future[None]) -> None:
        """Tell of what went wrong in a way that nobody foresaw."""
        error = added.exception()
        if error is not None:
            self._on_trouble(OutputError(f"the journal broke over {type(error).__name__}: {error}"))

    def _opened(self) -> JournalWriter:
        """Return the writer of the journal; a new one begins with what is in the labels."""
        opening = self._opening()
        if self._claimed is not None:
            path, lock = self._claimed
            return JournalWriter(path, opening, self._on_trouble, lock)
        last: CellsamError = OutputError(f"no folder for the journal of {self._name!r} can be written; choose one")
        for folder in self._folders:
            for path in islice(new_journal_paths(self._name, folder), _MOST_TRIES):
                try:
                    writer = JournalWriter(path, opening, self._on_trouble)
                except JournalError as error:  # another window was faster
                    last = error
                    continue
                except OutputError as error:
                    last = error
                    break
                if self._data is not None:
                    for action in _contents(self._data):
                        writer.add("base", action)
                    writer.add("base", self._known)  # last, and without pixels: all that was there is in it
                return writer
        raise last


def _contents(data: Any) -> Iterator[Action]:
    """Yield what is in labels, part by part; numbers that edits cannot hold, such as -1, are background."""
    for plane in np.ndindex(tuple(data.shape[:-2])):
        for top in range(0, data.shape[-2], _ROWS_AT_ONCE):
            part = np.array(data[(*plane, slice(top, top + _ROWS_AT_ONCE))])  # a copy: work goes on meanwhile
            part = np.where(can_hold(part), part, 0)
            edit = edit_between(plane, (top, 0), np.zeros_like(part), part) if part.any() else None
            if edit is not None:
                yield Action("labels that were there", (edit,))
