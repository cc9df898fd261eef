"""The places of journals: beside the image, in a chosen folder, or among the user's data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from napari_cellsam.editing.journal import SUFFIX
from napari_cellsam.settings import journals_dir

__all__ = ["earlier_folders", "file_stem", "find_journals", "journal_folders", "new_journal_paths"]

_LONGEST = 120
_MOST_BYTES = 200  # of a stem, so that numbers, endings and locks fit into the 255 that a name may have


def journal_folders(image_path: Path | None, chosen: Path | None = None) -> list[Path]:
    """Return where an image's journal may be, the best place first.

    Parameters
    ----------
    image_path
        The image's file, or None if it has none.
    chosen
        The folder that the user chose for all journals; beside the image if None.
    """
    beside = image_path.parent if image_path is not None and image_path.exists() else None
    return [folder for folder in (chosen, None if chosen else beside, journals_dir()) if folder is not None]


def earlier_folders(image_path: Path | None, chosen: Path | None = None) -> list[Path]:
    """Return where an image's journals may have been kept so far, whatever was chosen then; as `journal_folders`."""
    return list(dict.fromkeys([*journal_folders(image_path, chosen), *journal_folders(image_path)]))


def find_journals(name: str, folders: list[Path]) -> list[Path]:
    """Return the journals that carry an image's name, newest first.

    Parameters
    ----------
    name
        Of the image's file or layer.
    folders
        Where to look.
    """
    pattern = re.compile(rf"{re.escape(file_stem(name))}(-\d+)?{re.escape(SUFFIX)}")
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def new_journal_paths(name: str, folder: Path) -> Iterator[Path]:
    """Yield free places for a new journal in a folder; none if it cannot be written to."""
    if folder == journals_dir():
        with suppress(OSError):  # then it is no folder to write to
            folder.mkdir(parents=True, exist_ok=True)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        for number in count(1):
            path = folder / f"{file_stem(name)}{'' if number == 1 else f'-{number}'}{SUFFIX}"
            if not path.exists():
                yield path


def file_stem(name: str) -> str:
    """Return a name as a file may have it on any system, short enough for numbers and endings behind it."""
    stem = re.sub(r'[\\/:*?"<>|\x00-\x1f]+', "_", name).strip(" .")[:_LONGEST]
    while len(os.fsencode(stem)) > _MOST_BYTES:
        stem = stem[:-1]
    return stem or "image"
