"""Changes of a data set's index: new values made of old ones, and the lock under which they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from napari_cellsam.data.retraining.index import Entry, Index
from napari_cellsam.data.retraining.pictures import Split
from napari_cellsam.data.retraining.reading import is_whole
from napari_cellsam.data.retraining.splits import split_of_next
from napari_cellsam.errors import DatasetError, OutputError

__all__ = [
    "LOCK_NAME",
    "choose_split",
    "damaged_versions",
    "find_entry",
    "folders_of",
    "only_writer",
    "with_entry",
    "without_picture",
    "without_versions",
]

LOCK_NAME = ".dataset.lock"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other writers out of a data set, whichever process they are in.

    Raises
    ------
    DatasetError
        If another one is writing.
    OutputError
        If the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise DatasetError(f"another program is writing to {folder}; try again when it is done") from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def with_entry(index: Index, entry: Entry, before: Entry | None, split: Split) -> Index:
    """Return the index with an entry in the place of the one of the same picture, or at the end.

    Parameters
    ----------
    index
        As it is.
    entry
        What is listed.
    before
        The version that is kept among the earlier ones; None where there is none.
    split
        Of the entry's group.
    """
    is_same = [entry.pixels == other.pixels for other in index.pictures]
    pictures = tuple(entry if same else other for same, other in zip(is_same, index.pictures, strict=True))
    return msgspec.structs.replace(
        index,
        splits={**index.splits, entry.group: split},
        pictures=pictures if any(is_same) else (*pictures, entry),
        earlier=(*index.earlier, before) if before else index.earlier,
    )


def without_picture(index: Index, entry: Entry) -> Index:
    """Return the index without a picture, in all its versions; its group keeps its split."""
    return msgspec.structs.replace(
        index,
        pictures=tuple(other for other in index.pictures if other.pixels != entry.pixels),
        earlier=tuple(other for other in index.earlier if other.pixels != entry.pixels),
    )


def damaged_versions(folder: Path, index: Index, pixels: str) -> set[str]:
    """Return the ids of the versions of a picture of which a file is missing or has changed."""
    versions = (entry for entry in (*index.pictures, *index.earlier) if entry.pixels == pixels)
    return {entry.id for entry in versions if not is_whole(folder, entry)}


def without_versions(index: Index, ids: set[str]) -> Index:
    """Return the index without some of the earlier versions."""
    return msgspec.structs.replace(index, earlier=tuple(entry for entry in index.earlier if entry.id not in ids))


def folders_of(index: Index) -> set[str]:
    """Return the folders that entries use, relative to the data set."""
    return {place for entry in (*index.pictures, *index.earlier) for place in entry.folders}


def find_entry(index: Index, picture: str) -> Entry:
    """Return the picture of a name or id.

    Raises
    ------
    DatasetError
        If there is none, or several have the name.
    """
    found = [entry for entry in index.pictures if picture in (entry.name, entry.id)]
    if not found:
        names = [entry.name for entry in index.pictures]
        there = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise DatasetError(f"the data set has no picture {picture!r}; it has {there or 'none'}")
    if len(found) > 1:
        ids = ", ".join(entry.id for entry in found)
        raise DatasetError(f"{len(found)} pictures are called {picture!r}; give the id of one of them: {ids}")
    return found[0]


def choose_split(index: Index, group: str, wanted: Split | None, before: Entry | None = None) -> Split:
    """Return what a group is for: what it was for, what is wanted, or what the share of groups asks for.

    A new group of a picture that is there already, because its file was renamed, is for what the picture was for.

    Raises
    ------
    DatasetError
        If the group is for something else than is wanted.
    """
    known = index.splits.get(group)
    if known and wanted and known != wanted:
        raise DatasetError(
            f"the group {group!r} is in split {known!r} and stays there, so that no model is judged on what it has "
            f"seen; got {wanted!r}"
        )
    earlier = index.splits.get(before.group) if before else None
    return known or wanted or earlier or split_of_next(list(index.splits.values()), index.val_share)
