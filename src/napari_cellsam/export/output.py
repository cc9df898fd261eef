"""The output file, or folder, that appears whole or not at all."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_cellsam.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_output", "make_folder", "whole_file", "whole_folder"]

_LONGEST = 20  # characters of a temporary name, which has others too

_logger = logging.getLogger(__name__)


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
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # such as a name that is too long
        raise OutputError(f"{path} cannot be written: {error.strerror or error}; choose another name") from error
    if is_folder:
        raise OutputError(f"{path} is a folder; choose another name")
    if is_there and not overwrite:
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
        temporary = path.with_name(f".{path.stem[:_LONGEST]}.{uuid4().hex}{path.suffix}")
        try:
            yield temporary
            _settle(temporary)
            _put(temporary, path, overwrite)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _put(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give a file its name; of two programs that want the same one, without overwriting, one gets it."""
    if not overwrite:
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise OutputError(
                f"{path} exists already: another program wrote it just now; choose another name"
            ) from error
        except OSError as error:
            _logger.debug("there are no links beside %s: %s", path, error)
        else:
            return
    temporary.replace(path)


def _settle(path: Path) -> None:
    """Wait until the disk has a file, so that its name never outlives its content."""
    if path.is_file():
        with path.open("r+b") as file:
            os.fsync(file.fileno())


@contextmanager
def whole_folder(path: Path, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name beside an output folder, and rename it when all is written.

    Parameters
    ----------
    path
        Where the folder shall be.
    marker
        A file that each such folder has. A folder without it is somebody else's, and never replaced.
    overwrite
        Whether a folder that is there already is replaced. For an instant there is none then; if the process dies in
        it, the next export first puts the old folder back, which lies beside under a hidden name.

    Yields
    ------
    Path
        The folder to fill, which is to be made; gone afterwards, whatever happens.

    Raises
    ------
    OutputError
        If the folder exists already or cannot be written.
    """
    old = path.with_name(f".{path.name}.old")
    try:
        if old.is_dir() and not path.exists():
            old.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}; choose another name") from error
    if path.exists() and overwrite and not (path / marker).is_file():
        raise OutputError(f"{path} is there already, and nothing that we wrote; remove it, or choose another name")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; remove it, choose another folder, or allow it to be overwritten")
    check_output(path.with_name(f".{path.name}.{uuid4().hex}"))
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        if old.exists():
            shutil.rmtree(old)
        try:
            yield temporary
            _swap(temporary, path, old)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _swap(new: Path, path: Path, old: Path) -> None:
    """Put a folder in the place of another."""
    if not path.exists():
        new.replace(path)
        return
    path.replace(old)
    try:
        new.replace(path)
    except OSError:
        old.replace(path)
        raise
    shutil.rmtree(old)
