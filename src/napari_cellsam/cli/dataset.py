"""The commands ``dataset add | show | check | remove``: corrected pictures that a model is retrained on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_cellsam.cli.reading import parse_plane
from napari_cellsam.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_cellsam.data.retraining.index import Entry
    from napari_cellsam.data.retraining.pictures import Split
    from napari_cellsam.data.retraining.retraining_set import AddResult, RetrainingSet
    from napari_cellsam.editing.records import CellRecord, Origin
    from napari_cellsam.export.cell_set import CellFacts
    from napari_cellsam.types import Image

__all__ = ["dataset"]

dataset = typer.Typer(help="Keep corrected pictures for retraining.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of the data set.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@dataset.command()
def add(  # noqa: PLR0913 - each argument is an option of the command
    folder: Annotated[Path, typer.Argument(help="Folder of the data set; made if it is not there.")],
    image: Annotated[Path, typer.Argument(help="The image, as acquired.")],
    labels: Annotated[Path, typer.Argument(help="Its journal (.cellsam), a label image, or a file of an export.")],
    verified: Annotated[
        Path | None, typer.Option(help="Mask: not 0 where every cell is outlined; the journal's own if left out.")
    ] = None,
    all_verified: Annotated[bool, typer.Option("--all-verified", help="Every cell of the image is outlined.")] = False,
    group: Annotated[
        str | None, typer.Option(help="File or experiment it comes from; a group is never split. Default: the file.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train or val, for a new group; chosen if left out.")] = None,
    nuclear: Annotated[str | None, typer.Option(help="Nuclear channel of the image: number (0 first) or name.")] = None,
    cell: Annotated[str | None, typer.Option(help="Whole-cell channel: number (0 first) or name.")] = None,
    plane: Annotated[
        list[str] | None, typer.Option(help="Plane of a stack, such as T=0,Z=4, the axes in their order.")
    ] = None,
    scene: Annotated[int, typer.Option(min=0, help="Scene, counted from 0, of files that hold several images.")] = 0,
) -> None:
    """Add a corrected image, or a new version of one that is there; nothing that was written is written again."""
    from napari_cellsam.data.read import read_image
    from napari_cellsam.data.retraining.pictures import Corrected

    if verified is not None and all_verified:
        raise typer.BadParameter("give either --verified or --all-verified")
    where = parse_plane(plane or [])
    picture = read_image(image, nuclear=nuclear, cell=cell, plane=where or None, scene=scene)
    _refuse_journal_of_another(labels, image.name, picture)
    cells, known, records = _read_cells(labels, tuple(where.values()), picture.shape)
    region = _verified(verified, known, all_verified, picture.shape)
    parts = ([f"scene={scene}"] if scene else []) + [f"{axis}={index}" for axis, index in where.items()]
    name = " ".join([image.name, *parts])
    corrected = Corrected(picture, cells, region, records, name, group or image.name, _split(split))
    _report(_opened(folder).add(corrected))


def _report(result: AddResult) -> None:
    """Print what came of adding a picture."""
    entry = result.entry
    share = entry.n_verified_px / (entry.shape[0] * entry.shape[1])
    typer.echo(f"{result.outcome} {entry.name} ({result.split}): {entry.n_cells:,} cells, {share:.0%} verified")
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)


def _opened(folder: Path) -> RetrainingSet:
    """Open a data set, or make one where there is nothing."""
    from napari_cellsam.data.retraining.index import INDEX_NAME
    from napari_cellsam.data.retraining.retraining_set import RetrainingSet

    return RetrainingSet.open(folder) if (folder / INDEX_NAME).exists() else RetrainingSet.create(folder)


def _split(text: str | None) -> Split | None:
    """Return the split that was asked for."""
    if text is None:
        return None
    if text == "train":
        return "train"
    if text == "val":
        return "val"
    raise typer.BadParameter(f"got --split {text!r}; expected train or val")


def _refuse_journal_of_another(path: Path, name: str, image: Image) -> None:
    """Refuse a journal whose image is called otherwise and shows something else; other channels alone are no reason."""
    from napari_cellsam.editing.journal import SUFFIX, summarize

    summary = summarize(path) if path.suffix == SUFFIX else None
    if summary is None or summary.opening.image_id in (None, image.image_id) or summary.opening.name == name:
        return
    raise DatasetError(
        f"{path} is the journal of {summary.opening.name!r}, which is not {name!r}. If both are of one image, "
        "write its cells with `napari-cellsam replay`, and add those"
    )


def _read_cells(
    path: Path, plane: tuple[int, ...], shape: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[Any] | None, tuple[CellRecord, ...]]:
    """Read labels, the verified region where the file knows it, and what is known of the cells."""
    from napari_cellsam.data.retraining.regions import without_doubtful
    from napari_cellsam.editing.journal import SUFFIX, replay
    from napari_cellsam.export.formats import read_cells

    if path.suffix == SUFFIX:
        replayed = replay(path)
        place = _place(path, replayed.labels.shape, plane)
        records = tuple(record for record in replayed.cells.values() if record.plane == place)
        found = replayed.labels[place]
        return found, without_doubtful(replayed.verified[place].astype(bool), found, records), records
    cells = read_cells(path, shape)
    place = _place(path, cells.labels.shape, plane)
    number = place[0] if place else 0
    facts = {label: fact for (n, label), fact in cells.facts.items() if n == number} or _facts_beside(path, cells.name)
    return cells.labels[place], None, tuple(_record(label, fact) for label, fact in facts.items())


def _facts_beside(path: Path, name: str) -> dict[int, CellFacts]:
    """Return what the table says that ``segment --save-table`` writes beside labels; nothing without one."""
    from napari_cellsam.export.table import read_facts

    table = path.with_name(f"{name}_cells.csv")
    return read_facts(table) if table.is_file() else {}


def _record(label: int, fact: CellFacts) -> CellRecord:
    """Return the record of a cell; one that only has a score was found by a model."""
    from napari_cellsam.editing.records import CellRecord

    origins: dict[str, Origin] = {"automatic": "automatic", "prompted": "prompted", "edited": "edited"}
    origin = origins.get(fact.origin, "manual" if fact.origin or fact.detector_score is None else "automatic")
    return CellRecord(label, (), origin, fact.detector_score, fact.predicted_iou)


def _place(path: Path, shape: tuple[int, ...], plane: tuple[int, ...]) -> tuple[int, ...]:
    """Return the place of a plane in labels, which is none where they are of one plane only."""
    leading = shape[:-2]
    if not leading:
        return ()
    if len(plane) != len(leading) or any(i >= n for i, n in zip(plane, leading, strict=True)):
        raise DatasetError(f"{path} has planes {leading}; choose one with --plane, once for each axis in their order")
    return plane


def _verified(
    path: Path | None, known: NDArray[Any] | None, everything: bool, shape: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """Return the verified region: as given, everything, or as the journal knows it."""
    import numpy as np

    from napari_cellsam.export.label_tiff import read_labels

    if everything:
        return np.ones(shape, bool)
    if path is None:
        return None if known is None else known > 0
    region: NDArray[np.bool_] = read_labels(path) > 0
    if not region.any():
        raise DatasetError(f"{path} is 0 everywhere; expected another number where every cell is outlined")
    return region


@dataset.command()
def show(folder: Folder, as_json: AsJson = False) -> None:
    """Show what there is: pictures, their groups and splits, cells and verified shares."""
    from napari_cellsam.data.retraining.retraining_set import RetrainingSet

    opened = RetrainingSet.open(folder)
    rows = [_row(opened, entry) for entry in opened.entries]
    if as_json:
        typer.echo(json.dumps({"fingerprint": opened.fingerprint, "pictures": rows}, indent=2))
        return
    columns = ("name", "group", "split", "cells", "verified", "crops", "versions", "added", "id")
    table = [columns, *(tuple(str(row[column]) for column in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    for split in ("train", "val"):
        own = [row for row in rows if row["split"] == split]
        groups = len({row["group"] for row in own})
        typer.echo(f"{split}: {len(own)} pictures of {groups} groups, {sum(row['cells'] for row in own):,} cells")


def _row(opened: RetrainingSet, entry: Entry) -> dict[str, Any]:
    share = entry.n_verified_px / (entry.shape[0] * entry.shape[1])
    return {
        "name": entry.name,
        "group": entry.group,
        "split": opened.splits.get(entry.group, "none"),
        "cells": entry.n_cells,
        "verified": f"{share:.1%}",
        "crops": len(entry.crops),
        "versions": 1 + len(entry.parents),
        "added": entry.added,
        "id": entry.id,
    }


@dataset.command()
def check(folder: Folder, as_json: AsJson = False) -> None:
    """Look at every file, and name all that is wrong; the exit code is 1 then."""
    from napari_cellsam.data.retraining.retraining_set import RetrainingSet

    opened = RetrainingSet.open(folder)
    problems = opened.check()
    if as_json:
        typer.echo(json.dumps([asdict(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            typer.echo(": ".join(part for part in (problem.kind, problem.picture, problem.message) if part))
        n_cells = sum(entry.n_cells for entry in opened.entries)
        well = f"{len(problems)} problems" if problems else "no problems"
        typer.echo(f"{folder}: {len(opened.entries)} pictures, {n_cells:,} cells, {well}")
    if problems:
        raise typer.Exit(1)


@dataset.command()
def remove(folder: Folder, picture: Annotated[str, typer.Argument(help="Name or id, as show tells it.")]) -> None:
    """Take a picture out, with its files and earlier versions; its group stays in its split."""
    from napari_cellsam.data.retraining.retraining_set import RetrainingSet

    entry = RetrainingSet.open(folder).remove(picture)
    typer.echo(f"removed {entry.name}")
