"""The data set for retraining: a folder that grows by corrected pictures, and never loses one.

A picture is written whole into a folder of its own, and counts once the index names it; the index is replaced in one
step. So whatever happens in the middle, the data set is as it was before. A version that is replaced is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from napari_cellsam.data.retraining.adding import draft_of, save
from napari_cellsam.data.retraining.changes import (
    LOCK_NAME,
    choose_split,
    damaged_versions,
    find_entry,
    folders_of,
    only_writer,
    with_entry,
    without_picture,
    without_versions,
)
from napari_cellsam.data.retraining.checking import Problem, find_problems
from napari_cellsam.data.retraining.cutting import cut_tiles
from napari_cellsam.data.retraining.index import PICTURES, Entry, Index, read_index, write_index
from napari_cellsam.data.retraining.picture_files import checked_bytes, digest_of
from napari_cellsam.data.retraining.pictures import Corrected, RetrainingPicture, Split
from napari_cellsam.data.retraining.provenance import decode_cells
from napari_cellsam.data.retraining.reading import read_pictures
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import DatasetError, OptionError
from napari_cellsam.export.output import make_folder

__all__ = ["AddResult", "RetrainingSet"]


@dataclass(frozen=True)
class AddResult:
    """What came of adding a picture.

    Attributes
    ----------
    outcome
        ``"added"``; ``"replaced"``: a new version of a picture that was there; ``"unchanged"``: all of it was there.
    entry
        As it is in the data set now.
    split
        What the picture is for.
    notes
        What the user should know.
    """

    outcome: Literal["added", "replaced", "unchanged"]
    entry: Entry
    split: Split
    notes: tuple[str, ...] = ()


def _check_empty(folder: Path) -> None:
    """Refuse a folder that holds more than the lock of a data set."""
    if any(child.name != LOCK_NAME for child in folder.iterdir()):
        raise DatasetError(f"{folder} is not empty; open the data set that is there, or choose another folder")


class RetrainingSet:
    """A folder of corrected pictures to learn from; see `open` and `create`.

    Parameters
    ----------
    folder
        Where it is.
    index
        What it holds.
    """

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self._index = index

    @classmethod
    def open(cls, folder: Path) -> RetrainingSet:
        """Open a data set.

        Raises
        ------
        DatasetError
            If there is none.
        """
        return cls(Path(folder), read_index(Path(folder)))

    @classmethod
    def create(cls, folder: Path, val_share: float = 0.2) -> RetrainingSet:
        """Make an empty data set.

        Parameters
        ----------
        folder
            Where to; made if it is not there, and else empty.
        val_share
            Share of groups to be judged on, 0 to less than 1.

        Raises
        ------
        DatasetError
            If there is something already.
        OutputError
            If it cannot be written.
        """
        folder = Path(folder)
        if not 0 <= val_share < 1:
            raise OptionError(f"val_share is {val_share}; expected 0 to less than 1")
        make_folder(folder)
        own = cls(folder, Index(val_share=val_share))
        _check_empty(folder)  # before the lock, whose file would stay in the folder
        with only_writer(folder):
            _check_empty(folder)
            write_index(folder, own._index)
        return own

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The pictures, oldest first."""
        return self._index.pictures

    @property
    def splits(self) -> Mapping[str, Split]:
        """What each group is for; also of groups whose pictures were removed."""
        return self._index.splits

    def split_of(self, entry: Entry) -> Split:
        """Return what a picture is for.

        Raises
        ------
        DatasetError
            If the index does not say it, because somebody changed it.
        """
        if entry.group not in self.splits:
            raise DatasetError(f"the group {entry.group!r} of {entry.name} has no split; add the picture again")
        return self.splits[entry.group]

    @property
    def fingerprint(self) -> str:
        """A name of all that can be learned from the data set, as it is noted with a model."""
        lines = sorted(f"{entry.content} {entry.group} {self.splits.get(entry.group)}" for entry in self.entries)
        return digest_of(*lines)

    def add(self, corrected: Corrected) -> AddResult:
        """Add a picture, or replace an earlier version of it; nothing that is in the folder is written again.

        Raises
        ------
        DatasetError
            If nothing in the picture is certain, another program is writing, or the split contradicts its group's.
        OutputError
            If it cannot be written; the data set is as before.
        """
        draft = draft_of(corrected)
        with self._changing():
            before = next((entry for entry in self.entries if entry.pixels == draft.pixels), None)
            group = corrected.group or (before.group if before else corrected.name)
            split = choose_split(self._index, group, corrected.split, before)
            lost = damaged_versions(self.folder, self._index, draft.pixels)
            notes = tuple(self._notes(corrected, before, split, lost))
            if before is not None and before.content == draft.content and before.id not in lost:
                entry = msgspec.structs.replace(before, name=corrected.name, group=group)
                self._put(entry, None, split, lost)
                return AddResult("unchanged" if entry == before else "replaced", entry, split, notes)
            entry = save(self.folder, draft, group, before)
            self._put(entry, before, split, lost)
        return AddResult("added" if before is None else "replaced", entry, split, notes)

    def remove(self, picture: str) -> Entry:
        """Take a picture out, with its earlier versions and their files; its group stays in its split.

        Parameters
        ----------
        picture
            Its name, or the id of its newest version.

        Raises
        ------
        DatasetError
            If there is none, several have the name, or another program is writing.
        OutputError
            If the index cannot be written; the data set is as before.
        """
        with self._changing():
            entry = self.find(picture)
            self._change_to(without_picture(self._index, entry))
        return entry

    def find(self, picture: str) -> Entry:
        """Return the picture of a name or id.

        Raises
        ------
        DatasetError
            If there is none, or several have the name.
        """
        return find_entry(self._index, picture)

    def check(self) -> list[Problem]:
        """Look at every file, and return all that is wrong; nothing where all is well."""
        return find_problems(self.folder, self._index)

    def cells(self, entry: Entry) -> list[CellRecord]:
        """Read what is known of the cells of a picture; prompts are in pixels of the whole picture."""
        raw = checked_bytes(self.folder, entry.cells, entry.files[entry.cells])
        return decode_cells(raw, self.folder / entry.cells)

    def pictures(self, split: Split | None = None) -> list[RetrainingPicture]:
        """Read the pictures to learn from: each crop is one, without the cells that the paper leaves out.

        Parameters
        ----------
        split
            Only those; None for all.

        Raises
        ------
        DatasetError
            If a file is missing or has changed.
        """
        return list(self.iterate(split))

    def iterate(self, split: Split | None = None) -> Iterator[RetrainingPicture]:
        """Read the pictures one after another, as `pictures`."""
        for entry in self.entries:
            if split in (None, self.split_of(entry)):
                yield from read_pictures(self.folder, entry)

    def tiles(self, split: Split | None = None, side: int = 512, overlap: float = 0.25) -> Iterator[RetrainingPicture]:
        """Cut the pictures to squares, as the paper: smaller ones padded with zeros, larger ones tiled with overlap.

        Parameters
        ----------
        split
            Only those; None for all.
        side
            Pixels along a tile.
        overlap
            Least overlap of neighbours, as a share of the side.

        Yields
        ------
        RetrainingPicture
            Tiles in which something is verified. What was padded is unknown.
        """
        for picture in self.iterate(split):
            yield from cut_tiles(picture, side, overlap)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep other writers out, see what they did, and clear away what they left half done."""
        with only_writer(self.folder):
            self._index = read_index(self.folder)
            for half in (self.folder / PICTURES).glob(".*"):
                shutil.rmtree(half, ignore_errors=True)
            yield

    def _notes(self, corrected: Corrected, before: Entry | None, split: Split, lost: set[str]) -> Iterator[str]:
        earlier = self.splits.get(before.group, split) if before else split
        if earlier != split:
            yield f"moved from {earlier} to {split}: what was learned before does not count for a fair score"
        if before is not None and before.name != corrected.name:
            yield f"was called {before.name}"
        if groups := [e.group for e in self.entries if e.name == corrected.name and e is not before]:
            same = ", and is of the same group; give it one of its own" if corrected.group in groups else ""
            yield f"another picture is called {corrected.name} too{same}"
        if lost:
            yield f"{len(lost)} damaged versions of it were taken out"
        if corrected.verified_yx is None:
            yield "no region was verified: only cells that a person made, changed or reviewed count, with a narrow rim"

    def _put(self, entry: Entry, before: Entry | None, split: Split, lost: set[str]) -> None:
        """List an entry in the place of the one of the same picture, and take damaged versions out."""
        kept = before if before and before.id not in lost else None
        new = without_versions(with_entry(self._index, entry, kept, split), lost)
        if new != self._index:
            self._change_to(new)

    def _change_to(self, new: Index) -> None:
        """Write an index, then delete the folders that it does not use any more."""
        before, after = folders_of(self._index), folders_of(new)
        unused = after - before
        try:
            write_index(self.folder, new)
            self._index, unused = new, before - after
        finally:
            for place in unused:
                shutil.rmtree(self.folder / place, ignore_errors=True)  # what stays is not listed
