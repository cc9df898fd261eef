"""The pieces: edits of a labels layer in portions, each of which is written and drawn at once without a wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.edits import CropEdit

__all__ = ["pieces_of"]

_EDITS = 12
_PIXELS = 20_000
_AREA_PX = 2**20  # of the box around a piece, which napari draws anew

Box = tuple[int, int, int, int]


def pieces_of(edits: Iterable[CropEdit]) -> Iterator[list[CropEdit]]:
    """Yield edits in portions, in order.

    A portion has edits of one plane, which share no pixels, so that the order in it does not matter; it is small, and
    lies in a small part of the picture.

    Parameters
    ----------
    edits
        Of any number, size and place; large ones are cut.
    """
    piece = _Piece()
    for edit in edits:
        for part in _cut(edit):
            if not piece.takes(part):
                yield piece.edits
                piece = _Piece()
            piece.add(part)
    if piece.edits:
        yield piece.edits


class _Piece:
    """A portion that grows."""

    def __init__(self) -> None:
        self.edits: list[CropEdit] = []
        self._boxes: list[Box] = []
        self._n_pixels = 0

    def takes(self, edit: CropEdit) -> bool:
        """Return whether an edit can be added."""
        if not self.edits:
            return True
        if (
            edit.plane != self.edits[0].plane
            or len(self.edits) >= _EDITS
            or self._n_pixels + len(edit.rows) > _PIXELS
            or _area([*self._boxes, _box(edit)]) > _AREA_PX
        ):
            return False
        box = _box(edit)
        near = [other for other, its in zip(self.edits, self._boxes, strict=True) if _meet(box, its)]
        return not any(np.isin(_flat(edit), _flat(other)).any() for other in near)

    def add(self, edit: CropEdit) -> None:
        """Add an edit."""
        self.edits.append(edit)
        self._boxes.append(_box(edit))
        self._n_pixels += len(edit.rows)


def _cut(edit: CropEdit) -> Iterator[CropEdit]:
    """Yield parts of an edit that are small enough."""
    n_pixels = len(edit.rows)
    if n_pixels <= _PIXELS:
        if n_pixels:
            yield edit
        return
    for start in range(0, n_pixels, _PIXELS):
        part = slice(start, start + _PIXELS)
        before, after = (values if values.size == 1 else values[part] for values in (edit.before, edit.after))
        yield CropEdit(edit.plane, edit.rows[part], edit.columns[part], before, after)


def _box(edit: CropEdit) -> Box:
    """Return first row, first column, last row and last column."""
    return int(edit.rows.min()), int(edit.columns.min()), int(edit.rows.max()), int(edit.columns.max())


def _area(boxes: Iterable[Box]) -> int:
    """Return the area of the box around boxes."""
    tops, lefts, bottoms, rights = (list[int](side) for side in zip(*boxes, strict=True))
    return (max(bottoms) - min(tops) + 1) * (max(rights) - min(lefts) + 1)


def _meet(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _flat(edit: CropEdit) -> NDArray[np.int64]:
    """Return one number per pixel."""
    return (edit.rows.astype(np.int64) << 32) + edit.columns
