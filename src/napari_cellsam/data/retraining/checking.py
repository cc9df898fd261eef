"""The check of a data set: everything in it that is not as it should be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_cellsam.data.retraining.filters import find_flaws
from napari_cellsam.data.retraining.index import PICTURES, Entry, Index
from napari_cellsam.data.retraining.picture_files import PictureContent, checked_bytes, digest_of, sha256_of
from napari_cellsam.data.retraining.provenance import decode_cells
from napari_cellsam.data.retraining.reading import read_content
from napari_cellsam.errors import CellsamError, DatasetError
from napari_cellsam.export.cell_set import used_labels

__all__ = ["Problem", "ProblemKind", "find_problems"]

ProblemKind = Literal[
    "missing",
    "changed",
    "unreadable",
    "shape",
    "overlap",
    "pieces",
    "thin",
    "cells",
    "nothing",
    "split",
    "leak",
    "duplicate",
    "unlisted",
]
"""What can be wrong; `Problem` says what each is."""

_NAMED = 5


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a data set.

    Attributes
    ----------
    kind
        ``"missing"``, ``"changed"``, ``"unreadable"``: a file. ``"shape"``: image, labels and verified region do not
        fit each other or the index. ``"overlap"``: crops of a picture overlap. ``"pieces"``, ``"thin"``: cells that are
        left out of training. ``"cells"``: cells and what is known of them do not fit. ``"nothing"``: there is no
        verified pixel. ``"split"``: a group without a split. ``"leak"``: the same pixels in both splits.
        ``"duplicate"``: the same pixels twice. ``"unlisted"``: a folder that no picture uses.
    picture
        Name of the picture, or empty.
    message
        What it is, and what to do.
    """

    kind: ProblemKind
    picture: str
    message: str


def find_problems(folder: Path, index: Index) -> list[Problem]:
    """Look at every file of a data set, and return all that is wrong.

    Parameters
    ----------
    folder
        The data set.
    index
        What should be there.
    """
    problems = [*_split_problems(index), *_unlisted(folder, index)]
    contents: dict[str, list[Entry]] = defaultdict(list)
    for entry in index.earlier:
        problems += _file_problems(folder, entry)
    for entry in index.pictures:
        broken = list(_file_problems(folder, entry))
        problems += broken or _content_problems(folder, entry, contents)
    return problems + list(_shared_problems(index, contents))


def _file_problems(folder: Path, entry: Entry) -> Iterator[Problem]:
    """Compare the sum of every file."""
    for file, sha256 in entry.files.items():
        path = folder / file
        again = "put it back, or add the picture again"
        try:
            if sha256_of(path) != sha256:
                yield Problem("changed", entry.name, f"{path} is not what was written; {again}")
        except FileNotFoundError:
            yield Problem("missing", entry.name, f"{path} is missing; {again}")
        except OSError as error:
            yield Problem("unreadable", entry.name, f"{path} cannot be read: {error.strerror or error}")


def _content_problems(folder: Path, entry: Entry, contents: dict[str, list[Entry]]) -> Iterator[Problem]:
    """Look into the files of a picture; and note which pixels it has."""
    yield from _overlaps(entry)
    found: set[int] = set()
    n_verified = 0
    for crop in entry.crops:
        try:
            content = read_content(folder, entry, crop)
            entry.image(content.pixels)  # refuses channels that do not exist
        except CellsamError as error:
            yield Problem("shape", entry.name, str(error))
            continue
        pixels = digest_of(content.pixels)
        contents[pixels].append(entry)
        n_verified += int(content.verified.sum())
        found.update(used_labels(content.labels).tolist())
        yield from _cell_problems(entry, content)
    if n_verified == 0:
        yield Problem("nothing", entry.name, "no pixel of it is verified, so nothing can be learned from it; remove it")
    yield from _provenance_problems(folder, entry, found)


def _cell_problems(entry: Entry, content: PictureContent) -> Iterator[Problem]:
    flaws, known = find_flaws(content.labels), set(used_labels(content.labels * content.verified).tolist())
    found: tuple[tuple[ProblemKind, tuple[int, ...], str], ...] = (
        ("pieces", flaws.in_pieces, "in several pieces"),
        ("thin", flaws.thin, "one pixel thin"),
    )
    for kind, flawed, what in found:
        cells = [cell for cell in flawed if cell in known]  # the others may only be cut by the border of a crop
        if cells:
            some = ", ".join(map(str, cells[:_NAMED])) + (", …" if len(cells) > _NAMED else "")
            n_cells = f"{len(cells)} cells are" if len(cells) > 1 else "a cell is"
            yield Problem(kind, entry.name, f"{n_cells} {what} and left out of training: {some}; correct and add again")


def _provenance_problems(folder: Path, entry: Entry, found: set[int]) -> Iterator[Problem]:
    try:
        known = {r.label for r in decode_cells(checked_bytes(folder, entry.cells, entry.files[entry.cells]), folder)}
    except DatasetError as error:
        yield Problem("cells", entry.name, str(error))
        return
    if known != found:
        text = f"{len(found - known)} cells have no record, and {len(known - found)} records no cell"
        yield Problem("cells", entry.name, f"{text}; add the picture again")


def _overlaps(entry: Entry) -> Iterator[Problem]:
    windows = [crop.window for crop in entry.crops]
    for i, (y0, x0, y1, x1) in enumerate(windows):
        for top, left, bottom, right in windows[:i]:
            if max(y0, top) < min(y1, bottom) and max(x0, left) < min(x1, right):
                text = f"the crops {(top, left, bottom, right)} and {(y0, x0, y1, x1)} overlap; add the picture again"
                yield Problem("overlap", entry.name, text)


def _split_problems(index: Index) -> Iterator[Problem]:
    for entry in index.pictures:
        if entry.group not in index.splits:
            yield Problem("split", entry.name, f"its group {entry.group!r} has no split; add the picture again")


def _shared_problems(index: Index, contents: dict[str, list[Entry]]) -> Iterator[Problem]:
    """Find pixels that several pictures have."""
    for entries in contents.values():
        first, *others = entries
        for other in others:
            text = f"has the same pixels as {first.name}"
            yield Problem("duplicate", other.name, f"{text}; remove one of them")
            sides = [index.splits.get(entry.group) for entry in (first, other)]
            if sides[0] != sides[1]:
                yield Problem("leak", other.name, f"{text}, which is in another split: scores would be too good")


def _unlisted(folder: Path, index: Index) -> Iterator[Problem]:
    """Find folders that nothing uses."""
    used = {place for entry in (*index.pictures, *index.earlier) for place in entry.folders}
    for path in sorted((folder / PICTURES).glob("[!.]*")):
        if f"{PICTURES}/{path.name}" not in used:
            text = f"{path} is not in the index; an interrupted program left it, or the index is an old copy"
            yield Problem("unlisted", "", f"{text}. Add the picture again, or delete the folder")
