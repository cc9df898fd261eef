"""The batch of images that is segmented one after the other, each into files of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from napari_cellsam.errors import CellsamError, ImageReadError, OutputError
from napari_cellsam.export.facts import stem_of
from napari_cellsam.export.label_tiff import write_labels
from napari_cellsam.export.output import check_output, make_folder
from napari_cellsam.export.overlay import save_overlay
from napari_cellsam.export.table import write_table

if TYPE_CHECKING:
    from napari_cellsam.cli.reading import Reading
    from napari_cellsam.types import Image, Segmentation, SegmentOptions

__all__ = ["Batch", "Outcome", "Outputs", "Segmenter", "Source", "list_sources"]


class Segmenter(Protocol):
    """What a loaded model offers to the batch."""

    def segment(
        self, image: Image, options: SegmentOptions, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Segmentation:
        """Segment one image."""
        ...


@dataclass(frozen=True)
class Source:
    """One image: name, stem of its outputs, where they go by default, how it is had, and what is to be said of that."""

    name: str
    stem: str
    folder: Path
    load: Callable[[], Image]
    notes: Callable[[], tuple[str, ...]] = tuple


@dataclass(frozen=True)
class Outputs:
    """Which files are written for each image.

    Attributes
    ----------
    folder
        Where to; beside the image when None.
    outlines, table
        Whether the overlay and the table of cells are written beside the labels.
    overwrite
        Whether files that are there already are replaced.
    """

    folder: Path | None = None
    outlines: bool = False
    table: bool = False
    overwrite: bool = False

    def paths(self, source: Source) -> dict[str, Path]:
        """Return the path of each file for an image."""
        endings = {"labels": "labels.tif"}
        if self.outlines:
            endings["outlines"] = "outlines.png"
        if self.table:
            endings["table"] = "cells.csv"
        folder = self.folder or source.folder
        return {kind: folder / f"{source.stem}_{ending}" for kind, ending in endings.items()}


@dataclass(frozen=True)
class Outcome:
    """What became of one image."""

    name: str
    outputs: Mapping[str, Path] = field(default_factory=dict)
    n_cells: int | None = None
    diameter: float | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    error: CellsamError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as plain values, ready for JSON."""
        return {
            "input": self.name,
            "outputs": {kind: str(path) for kind, path in self.outputs.items()},
            "n_cells": self.n_cells,
            "diameter": self.diameter,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
            "error": None if self.error is None else {"type": type(self.error).__name__, "message": str(self.error)},
        }


def list_sources(paths: Iterable[Path], reading: Reading) -> Iterator[Source | Outcome]:
    """List the images of files and folders; a folder that cannot be used is an outcome already."""
    from napari_cellsam.data.read import list_images

    for path in paths:
        try:
            for file in list_images([path]):
                yield Source(
                    str(file), stem_of(file), file.parent, partial(reading.read, file), partial(_notes, file, reading)
                )
        except ImageReadError as error:
            yield Outcome(str(path), error=error)


def _notes(file: Path, reading: Reading) -> tuple[str, ...]:
    """Say which of several planes is read where nobody has chosen."""
    taken = reading.taken(file)
    return (f"of several planes {taken} is read; choose another with --plane or --scene",) if taken else ()


@dataclass(frozen=True)
class Batch:
    """A model, how it segments, and what is written.

    Attributes
    ----------
    model
        The loaded model.
    options
        How images are segmented.
    outputs
        What is written.
    """

    model: Segmenter
    options: SegmentOptions
    outputs: Outputs

    def run(
        self, sources: Iterable[Source | Outcome], on_tile: Callable[[int, int], None] | None = None
    ) -> Iterator[Outcome]:
        """Segment images one by one; one that fails does not stop the rest.

        Parameters
        ----------
        sources
            The images.
        on_tile
            Called with tiles done and tiles in all of the current image.

        Yields
        ------
        Outcome
            Of each image, in order. Only errors of ours become outcomes.
        """
        written: set[Path] = set()
        for source in sources:
            if isinstance(source, Outcome):
                yield source
                continue
            start = perf_counter()
            try:
                yield self._segment(source, written, on_tile)
            except CellsamError as error:
                yield Outcome(source.name, seconds=perf_counter() - start, error=error)

    def _segment(self, source: Source, written: set[Path], on_tile: Callable[[int, int], None] | None) -> Outcome:
        """Segment one image and write its files."""
        start = perf_counter()
        paths, overwrite = self.outputs.paths(source), self.outputs.overwrite
        if self.outputs.folder:
            make_folder(self.outputs.folder)
        for path in paths.values():
            if path in written:
                raise OutputError(
                    f"{source.name}: {path} was written for another image of this run; images of one name need "
                    "different folders"
                )
            check_output(path, overwrite)
        image = source.load()
        result = self.model.segment(image, self.options, on_progress=on_tile)
        write_labels(paths["labels"], result.labels, image.pixel_size_um, overwrite)
        if "outlines" in paths:
            save_overlay(paths["outlines"], image, result.labels, overwrite)
        if "table" in paths:
            write_table(paths["table"], result, image.pixel_size_um, overwrite)
        written.update(paths.values())
        notes = (*source.notes(), *result.notes)
        return Outcome(source.name, paths, result.n_cells, result.diameter, notes, seconds=perf_counter() - start)
