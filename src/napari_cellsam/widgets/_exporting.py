"""Exporting: all cells as files for other programs, written in another thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_cellsam.editing.exporting import cell_set_of
from napari_cellsam.editing.journal_places import file_stem
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import OptionError, OutputError
from napari_cellsam.export.facts import stem_of
from napari_cellsam.export.formats import Format, export_cells, find_format
from napari_cellsam.widgets._axes import stack_axis_of
from napari_cellsam.widgets._looking import NoImageError

if TYPE_CHECKING:
    from napari_cellsam.service.transport import Call
    from napari_cellsam.widgets._jobs import Job, Report
    from napari_cellsam.widgets._session import Session

__all__ = ["DEFAULT_FORMATS", "Exporting"]

DEFAULT_FORMATS = ("tiff", "coco", "geojson", "imagej", "csv", "png")
_TOPIC = "export"
_MOST_PLANES_WITH_IMAGES = 64  # of a stack, whose pictures are held at once
_TOO_LONG = f"Of a stack of more than {_MOST_PLANES_WITH_IMAGES} planes no pictures are exported"


@dataclass(frozen=True)
class _Written:
    n_files: int


@dataclass(frozen=True)
class _Exported:
    folder: Path
    n_files: int
    broken_off: bool


class Exporting:
    """Writes the cells of the labels layer in several formats, into a new folder.

    ``changed`` is emitted with progress, and when an export begins or ends.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self.progress = (0, 0)
        self._job: Job[_Exported] | None = None
        self.folder: Path | None = None
        """Where the last export went."""
        self._left_out = ""

    @property
    def running(self) -> bool:
        """Whether files are being written."""
        return self._session.jobs.running(_TOPIC)

    @property
    def suggestion(self) -> Path:
        """Where an export goes if nobody says otherwise: beside the image, or in the home folder; it is not there yet.

        Raises
        ------
        NoImageError
            If there is no image.
        """
        source = self._session.source
        if source is None:
            raise NoImageError("There is no image whose cells could be exported.")
        path = source.path
        beside = path.parent if path is not None and path.exists() else Path.home()
        stem = _stem(self._session)
        names = (f"{stem} cells" if number == 1 else f"{stem} cells {number}" for number in count(1))
        return next(beside / name for name in names if not (beside / name).exists())

    def run(self, folder: Path | None = None, formats: Sequence[str] = DEFAULT_FORMATS) -> None:
        """Write all cells.

        Parameters
        ----------
        folder
            Where to; as suggested if None. Files that are there are never replaced.
        formats
            Names of formats; those that need an image and cannot have it are left out.

        Raises
        ------
        NoImageError
            If there are no cells.
        OptionError
            If there is no format, one does not exist, or all need the pictures of a stack that is too long for that.
        """
        session = self._session
        if not session.has_target:
            raise NoImageError("There are no cells to export yet: let the model find some, or click on them.")
        folder, entries = folder or self.suggestion, [find_format(name) for name in formats]
        if not entries:
            raise OptionError("There is nothing to export: tick a format first.")
        planes, target, source = session.planes(), session.settled, session.source
        assert source is not None  # noqa: S101 - the labels are those of an image
        readers = [source.reader(plane) for plane in planes] if len(planes) <= _MOST_PLANES_WITH_IMAGES else []
        records: list[CellRecord] = list(session.cells)
        name, pixel_size_um, axis = _stem(session), source.pixel_size_um, stack_axis_of(target.layer)
        usable = [entry.name for entry in entries if readers or not entry.needs_image]
        if not usable:
            raise OptionError(f"{_TOO_LONG}: tick a format that needs none.")
        self._left_out = "" if readers else _left_out(entries)
        self.progress = (0, len(usable))

        def work(call: Call, report: Report) -> _Exported:
            images = tuple(read() for read in readers)
            labels = np.array(target.layer.data)  # a copy: work goes on meanwhile
            cells = cell_set_of(labels, records, name, images=images, pixel_size_um=pixel_size_um, axis=axis)
            writing, n_files = export_cells(cells, folder, usable), 0
            while not call.cancelled:
                if next(writing, None) is None:
                    return _Exported(folder, n_files, broken_off=False)
                n_files += 1
                report(_Written(n_files))
            return _Exported(folder, n_files, broken_off=True)

        self._job = session.jobs.submit(
            work, on_done=self._done, on_error=session.failed, on_report=self._heard, topic=_TOPIC, whole=True
        )
        self.changed.emit()

    def cancel(self) -> None:
        """Write no further file; how many were written is told when the last one is whole."""
        if self._job is not None and self.running:
            self._job.call.cancel()

    def close(self) -> None:
        """Let go; what is being written ends by itself."""
        self._session.jobs.cancel(_TOPIC)

    def _heard(self, written: _Written) -> None:
        self.progress = (written.n_files, max(written.n_files, self.progress[1]))
        self.changed.emit()

    def _done(self, exported: _Exported) -> None:
        folder, n_files = exported.folder, exported.n_files
        self.progress = (0, 0)
        if n_files:
            self.folder = folder
        if exported.broken_off:
            files = "1 file" if n_files == 1 else f"{n_files} files"
            self._session.say(f"The export was cancelled after {files}: {folder}.", "warning")
        else:
            kind = "warning" if self._left_out else "info"
            self._session.say(f"The cells were exported to {folder}.{self._left_out}", kind)
        self.changed.emit()


def _left_out(entries: Sequence[Format]) -> str:
    """Return what formats lack without pictures, as a sentence; empty if nothing."""
    missing = ", ".join(entry.title for entry in entries if entry.needs_image)
    bare = ", ".join(entry.title for entry in entries if entry.uses_image)
    parts = [f"not written: {missing}"] if missing else []
    parts += [f"without pictures and intensities: {bare}"] if bare else []
    return f" {_TOO_LONG}; {'; '.join(parts)}." if parts else ""


def _stem(session: Session) -> str:
    """Return what files are called: as the image, without its ending."""
    source = session.source
    if source is None:
        raise OutputError("There is no image whose cells could be exported.")
    return file_stem(source.file_name) if source.path is None else stem_of(Path(source.file_name))
