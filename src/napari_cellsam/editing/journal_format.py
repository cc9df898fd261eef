"""The journal's bytes: frames that are whole or not there, and the steps in them.

A journal begins with `MAGIC`. Frames follow, each of them the length of its body and a checksum (both 4 bytes, little
endian), and the body: MessagePack of one of the structs here, compressed with Zstandard. The checksum is the CRC-32 of
the body, begun with that of the frame before, so a frame counts only after all those that were written before it.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, BinaryIO, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import CropEdit
from napari_cellsam.editing.records import CellRecord, Origin, RecordChange
from napari_cellsam.editing.verified import Mark
from napari_cellsam.errors import CellsamError, JournalError
from napari_cellsam.types import Prompt

__all__ = ["MAGIC", "Frame", "Kind", "Opening", "Step", "frame_of", "frames_in", "step_of"]

MAGIC = b"CELLSAM JOURNAL\n"
FORMAT = 1
Kind = Literal["base", "do", "undo", "redo"]
_HEAD = struct.Struct("<II")
_MOST_BYTES = 2**30  # in a frame
_MOST_PIXELS = 2**31


def _program() -> str:
    return f"napari-cellsam {version('napari-cellsam')}"


class Opening(msgspec.Struct, frozen=True, kw_only=True, tag="opening"):
    """What a journal is of; its first frame.

    Attributes
    ----------
    format, program
        Version of the format, and of the program that wrote it.
    name
        Of the image.
    shape, dtype
        Of the labels.
    begun
        Seconds since 1970.
    plane, image_id, layer_id
        A plane of the stack, and the content there, of the image as the model got it and of the layer with all its
        channels; the image is known again by either. None if that is not known.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres, or None where it is not known.
    """

    format: int = FORMAT
    program: str = msgspec.field(default_factory=_program)
    name: str
    shape: tuple[int, ...]
    dtype: str
    begun: float = msgspec.field(default_factory=time.time)
    plane: tuple[int, ...] = ()
    image_id: str | None = None
    layer_id: str | None = None
    pixel_size_um: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        text = self.name.encode("utf-8", "replace").decode()  # the name of a file may hold bytes that are no text
        msgspec.structs.force_setattr(self, "name", text)


class _Edit(msgspec.Struct, frozen=True, array_like=True):
    """Changed pixels as runs along rows: first row, first column and length of each, int32."""

    plane: tuple[int, ...]
    runs: bytes
    before: bytes
    after: bytes


class _Pointed(msgspec.Struct, frozen=True, array_like=True):
    """A prompt, without the decoder's logits."""

    inside: bytes
    outside: bytes
    box: bytes | None


class _Record(msgspec.Struct, frozen=True, array_like=True):
    label: int
    plane: tuple[int, ...]
    origin: Origin
    detector_score: float | None
    predicted_iou: float | None
    prompts: tuple[_Pointed, ...]
    reviewed: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """Something that was done to the labels.

    Attributes
    ----------
    kind
        ``"do"``; ``"undo"`` and ``"redo"``, whose edits are those that were really made; or ``"base"`` for what was
        there before.
    title
        What it was.
    time
        Seconds since 1970.
    group
        Steps of one group are one step for the user; None if it stands alone.
    """

    kind: Kind
    title: str
    time: float
    group: int | None
    edits: tuple[_Edit, ...]
    changes: tuple[tuple[_Record | None, _Record | None], ...]
    marks: tuple[_Edit, ...] = ()

    def action(self, group: object | None = None) -> Action:
        """Return what was done.

        Parameters
        ----------
        group
            Stands for the step's group.

        Raises
        ------
        JournalError
            If it is not a step of this program.
        """
        try:
            edits, marks = tuple(map(_unpacked, self.edits)), tuple(map(_as_mark, self.marks))
            changes = tuple(RecordChange(_as_record(before), _as_record(after)) for before, after in self.changes)
            return Action(self.title, edits, changes, group, marks)
        except JournalError:
            raise
        except (CellsamError, ValueError) as error:
            raise JournalError(f"a step of the journal makes no sense: {error}") from error


Frame: TypeAlias = Opening | Step
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Opening | Step)


def step_of(kind: Kind, action: Action, time: float, group: int | None) -> Step:
    """Return an action as a step of a journal."""
    return Step(
        kind=kind,
        title=action.title,
        time=time,
        group=group,
        edits=tuple(_packed(edit) for edit in action.edits),
        changes=tuple((_of_record(change.before), _of_record(change.after)) for change in action.changes),
        marks=tuple(map(_of_mark, action.marks)),
    )


def frame_of(content: Frame, checksum: int) -> tuple[bytes, int]:
    """Return a frame's bytes, and its checksum for the next one.

    Parameters
    ----------
    content
        What the frame holds.
    checksum
        Of the frame before; 0 for the first.
    """
    import zstandard

    body = zstandard.compress(_encoder.encode(content), 1)
    checksum = zlib.crc32(body, checksum)
    return _HEAD.pack(len(body), checksum) + body, checksum


def frames_in(file: BinaryIO) -> Iterator[tuple[Frame, int, int]]:
    """Yield each whole frame, where it ends, and its checksum; end at the first that is not whole.

    Raises
    ------
    JournalError
        If the file is no journal, or one of a newer program.
    """
    start = file.read(len(MAGIC))
    if start != MAGIC:
        if MAGIC.startswith(start):  # cut before anything was written
            return
        raise JournalError("this file is no journal of napari-cellsam; choose one that ends in .cellsam")
    end, checksum = len(MAGIC), 0
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, expected = _HEAD.unpack(head)
        body = file.read(length) if length <= _MOST_BYTES else b""
        if len(body) != length or zlib.crc32(body, checksum) != expected:
            return
        end, checksum = end + _HEAD.size + length, expected
        yield _content_of(body), end, checksum


def _content_of(body: bytes) -> Frame:
    """Return what a frame that is whole holds."""
    import zstandard

    try:
        content = _decoder.decode(zstandard.ZstdDecompressor().decompress(body, max_output_size=_MOST_BYTES))
    except (msgspec.DecodeError, zstandard.ZstdError, MemoryError) as error:
        raise JournalError(f"the journal holds what this program does not know ({error}); update it") from error
    if isinstance(content, Opening) and content.format > FORMAT:
        raise JournalError(f"the journal was written by {content.program}; update this program to read it")
    return content


def _packed(edit: CropEdit) -> _Edit:
    """Return an edit as runs."""
    rows, columns = edit.rows.astype(np.int32), edit.columns.astype(np.int32)
    goes_on = (rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1] + 1)
    starts = np.concatenate([[0], 1 + np.flatnonzero(~goes_on)]) if len(rows) else np.zeros(0, int)
    lengths = np.diff(np.append(starts, len(rows)))
    runs = np.stack([rows[starts], columns[starts], lengths.astype(np.int32)]).astype("<i4")
    return _Edit(edit.plane, runs.tobytes(), _bytes(edit.before, "<u4"), _bytes(edit.after, "<u4"))


def _unpacked(edit: _Edit) -> CropEdit:
    """Return the edit that was packed."""
    first_row, first_column, lengths = np.frombuffer(edit.runs, "<i4").reshape(3, -1)
    n_pixels = int(lengths.astype(np.int64).sum())
    before, after = np.frombuffer(edit.before, "<u4"), np.frombuffer(edit.after, "<u4")
    if (lengths < 1).any() or n_pixels > _MOST_PIXELS or any(v.size not in (1, n_pixels) for v in (before, after)):
        raise JournalError("a step of the journal changes pixels that do not fit each other")
    begins = np.cumsum(lengths) - lengths
    along = np.arange(n_pixels) - np.repeat(begins, lengths)
    return CropEdit(
        edit.plane,
        np.repeat(first_row, lengths).astype(np.int32),
        (np.repeat(first_column, lengths) + along).astype(np.int32),
        before.astype(np.uint32),
        after.astype(np.uint32),
    )


def _of_mark(mark: Mark) -> _Edit:
    """Return a mark as the edit of an image that is 1 where something is verified."""
    before, after = (np.array([value], "<u4").tobytes() for value in (not mark.verified, mark.verified))
    return _Edit(mark.plane, mark.runs.astype("<i4").tobytes(), before, after)


def _as_mark(edit: _Edit) -> Mark:
    """Return the mark that was packed."""
    runs, after = np.frombuffer(edit.runs, "<i4").reshape(3, -1), np.frombuffer(edit.after, "<u4")
    if (runs[2] < 1).any() or after.size != 1:
        raise JournalError("a step of the journal marks pixels that do not fit each other")
    return Mark(edit.plane, runs.astype(np.int32), bool(after[0]))


def _of_record(record: CellRecord | None) -> _Record | None:
    if record is None:
        return None
    prompts = tuple(
        _Pointed(
            _bytes(p.inside_yx, "<f4"),
            _bytes(p.outside_yx, "<f4"),
            None if p.box_yxyx is None else _bytes(p.box_yxyx, "<f4"),
        )
        for p in record.prompts
        if len(p.inside_yx) or p.box is not None  # a previous mask alone points at nothing without its logits
    )
    return _Record(
        record.label, record.plane, record.origin, record.detector_score, record.predicted_iou, prompts, record.reviewed
    )


def _as_record(kept: _Record | None) -> CellRecord | None:
    if kept is None:
        return None
    prompts = tuple(
        Prompt(
            inside=np.frombuffer(p.inside, "<f4").reshape(-1, 2),
            outside=np.frombuffer(p.outside, "<f4").reshape(-1, 2),
            box=None if p.box is None else np.frombuffer(p.box, "<f4"),
        )
        for p in kept.prompts
    )
    return CellRecord(
        kept.label, kept.plane, kept.origin, kept.detector_score, kept.predicted_iou, prompts, kept.reviewed
    )


def _bytes(values: NDArray[Any], dtype: str) -> bytes:
    return np.ascontiguousarray(values, dtype).tobytes()
