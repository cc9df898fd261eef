"""The chain of page directories of a TIFF file, checked to lie within the file.

tifffile reads what is left of a file that was cut off and reports the rest to its log; a stack would lose pages, axes
and channel names without anybody noticing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from napari_cellsam.errors import ImageReadError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_chain"]

_FIRST_PRIVATE_TAG = 32768
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class _Layout(NamedTuple):
    """Field sizes of classic or BigTIFF: ``struct`` formats, and the byte at which the first offset stands."""

    order: str
    length: str
    offset: str
    first: int

    def number(self, data: bytes, kind: str) -> int:
        """Unpack one unsigned number."""
        return int(struct.unpack(self.order + kind, data)[0])


def check_chain(path: Path) -> None:
    """Refuse a TIFF file whose page directories, or the values of whose standard tags, lie behind its end.

    Parameters
    ----------
    path
        A file that begins as a TIFF file does.

    Raises
    ------
    ImageReadError
        If the file was cut off.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        if not big and size >= 2**32:
            return  # the offsets of some microscopes' files count past four bytes
        layout = _Layout(order, "Q", "Q", 8) if big else _Layout(order, "H", "I", 4)
        width = struct.calcsize(layout.offset)
        offset = layout.number(head[layout.first : layout.first + width].ljust(width, b"\xff"), layout.offset)
        seen: set[int] = set()
        while offset and offset not in seen:
            seen.add(offset)
            following = _check_directory(file, offset, size, layout)
            if following is None:
                raise ImageReadError(f"{path} is cut off: the directory of page {len(seen) - 1} ends behind its end")
            offset = following


def _check_directory(file: BinaryIO, offset: int, size: int, layout: _Layout) -> int | None:
    """Return the offset of the next directory, 0 at the last; None if this one does not lie within the file."""
    width, count_width = struct.calcsize(layout.offset), struct.calcsize(layout.length)
    entry_width = 4 + 2 * width
    if offset + count_width > size:
        return None
    file.seek(offset)
    n_entries = layout.number(file.read(count_width), layout.length)
    if offset + count_width + n_entries * entry_width + width > size:
        return None
    table = file.read(n_entries * entry_width)
    for code, kind, count, value in struct.iter_unpack(f"{layout.order}HH{layout.offset}{layout.offset}", table):
        length = _TYPE_BYTES.get(kind, 0) * count
        if code < _FIRST_PRIVATE_TAG and length > width and value + length > size:
            return None
    return layout.number(file.read(width), layout.offset)
