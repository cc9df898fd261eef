"""The provenance of cells: the file that says where each cell of a picture came from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from napari_cellsam.editing.records import CellRecord, Origin
from napari_cellsam.errors import CellsamError, DatasetError
from napari_cellsam.types import Prompt

__all__ = ["decode_cells", "encode_cells"]

_Point = tuple[float, float]


class _Pointed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A prompt: points ``(y, x)`` and box, in pixels of the whole picture."""

    inside: tuple[_Point, ...] = ()
    outside: tuple[_Point, ...] = ()
    box: tuple[float, float, float, float] | None = None


class _Cell(msgspec.Struct, frozen=True):
    label: int
    origin: Origin
    detector_score: float | None
    predicted_iou: float | None
    reviewed: bool
    prompts: tuple[_Pointed, ...]


class _Cells(msgspec.Struct, frozen=True):
    cells: tuple[_Cell, ...]


def encode_cells(labels: Iterable[int], records: Iterable[CellRecord]) -> bytes:
    """Return the content of the file; a cell without a record counts as made by hand.

    Parameters
    ----------
    labels
        The cells that there are.
    records
        What is known of them; those of other cells are left out.
    """
    known = {record.label: record for record in records}
    lines = [
        msgspec.json.encode(_of_record(known.get(label) or CellRecord(label))) for label in sorted(map(int, labels))
    ]
    return b'{"cells":[\n' + b",\n".join(lines) + b"\n]}\n"


def decode_cells(raw: bytes, path: Path) -> list[CellRecord]:
    """Return the records in a file.

    Raises
    ------
    DatasetError
        If it is something else.
    """
    try:
        return [_as_record(cell) for cell in msgspec.json.decode(raw, type=_Cells).cells]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, CellsamError) as error:
        raise DatasetError(f"{path} does not say where cells came from: {error}") from error


def _of_record(record: CellRecord) -> _Cell:
    prompts = tuple(
        _Pointed(_pairs(p.inside_yx), _pairs(p.outside_yx), None if p.box_yxyx is None else tuple(p.box_yxyx.tolist()))
        for p in record.prompts
        if len(p.inside_yx) or p.box is not None  # a previous mask alone points at nothing without its logits
    )
    return _Cell(record.label, record.origin, record.detector_score, record.predicted_iou, record.reviewed, prompts)


def _pairs(points: NDArray[np.float32]) -> tuple[_Point, ...]:
    return tuple((y, x) for y, x in points.tolist())


def _as_record(cell: _Cell) -> CellRecord:
    prompts = tuple(Prompt(inside=p.inside, outside=p.outside, box=p.box) for p in cell.prompts)
    return CellRecord(cell.label, (), cell.origin, cell.detector_score, cell.predicted_iou, prompts, cell.reviewed)
