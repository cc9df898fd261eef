"""The states of a folder's images: which are new, segmented, in review, or done."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import msgspec

from napari_cellsam.errors import OutputError
from napari_cellsam.export.output import make_folder, whole_file

__all__ = ["CELLS_FOLDER", "FolderStates", "State"]

State = Literal["new", "segmented", "in review", "done"]
CELLS_FOLDER = "cells"
"""Folder of ours beside the images: label images, and the states."""

_FILE = "states.json"


class FolderStates:
    """Keeps the state of each image of a folder, by file name, in a file that is whole or as it was.

    Parameters
    ----------
    folder
        Of the images.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CELLS_FOLDER / _FILE
        self._states = _read(self._path)

    def __getitem__(self, name: str) -> State:
        """Return the state of an image; ``"new"`` if nothing is known of it."""
        return self._states.get(name, "new")

    def set(self, name: str, state: State) -> None:
        """Change the state of an image.

        Raises
        ------
        OutputError
            If it cannot be written; it counts until the end of this run all the same.
        """
        if self[name] == state:
            return
        self._states |= _read(self._path)  # another window may have written it
        self._states[name] = state
        make_folder(self._path.parent)
        try:
            with whole_file(self._path, overwrite=True) as path:
                path.write_bytes(msgspec.json.format(msgspec.json.encode(self._states)))
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror or error}") from error


def _read(path: Path) -> dict[str, State]:
    """Return the states that were kept; what is not understood counts as new."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}
    known = get_args(State)
    return {name: state for name, state in kept.items() if state in known}  # type: ignore[misc] # one of them
