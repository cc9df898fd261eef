"""The output file that appears whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_cellsam.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_output", "make_folder", "whole_file"]


def make_folder(folder: Path) -> None:
    """Make a folder, with its parents, unless it exists.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {error.strerror or error}; choose another") from error


def check_output(path: Path, overwrite: bool = False) -> None:
    """Refuse an output file that exists already, or whose folder cannot be written to.

    Raises
    ------
    OutputError
        If the file must not or cannot be written.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; choose another name")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; remove it, choose another folder, or allow it to be overwritten")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {path.parent} is not writable; choose another")


@contextmanager
def whole_file(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name beside an output file, and rename it when all is written.

    Parameters
    ----------
    path
        Where the file shall be.
    overwrite
        Whether a file that is there already is replaced.

    Yields
    ------
    Path
        The name to write to, with the same ending; gone afterwards, whatever happens.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    check_output(path, overwrite)
    try:
        # not from tempfile, which makes files that only their owner may read
        temporary = path.with_name(f".{path.stem}.{uuid4().hex}{path.suffix}")
        try:
            yield temporary
            temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
