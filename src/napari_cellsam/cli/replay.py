"""The command ``replay``: cells from the journal of what was done in napari."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from napari_cellsam.errors import OptionError

__all__ = ["replay"]


def replay(
    journal: Annotated[Path, typer.Argument(help="Journal of an image (.cellsam), as napari has written it.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the files; made if it is not there.")
    ] = Path(),
    formats: Annotated[
        list[str] | None, typer.Option("--format", "-f", help="Format to write, as for export; may be repeated.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Only so many entries of --list; all if left out.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the steps, and write nothing.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")] = False,
) -> None:
    """Do again all that a journal says, and write the cells; a journal that was cut off is used as far as it goes."""
    from napari_cellsam.editing.exporting import cell_set_of
    from napari_cellsam.editing.journal import replay as replay_journal
    from napari_cellsam.export.cell_set import used_labels
    from napari_cellsam.export.facts import stem_of
    from napari_cellsam.export.formats import export_cells, find_format

    if listed:
        _list(journal)
        return
    try:
        names = [find_format(name).name for name in formats or ["tiff"]]
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
    replayed = replay_journal(journal, steps)
    opening = replayed.summary.opening
    name = stem_of(Path(opening.name))
    cells = cell_set_of(replayed.labels, replayed.cells.values(), name, pixel_size_um=opening.pixel_size_um)
    for _, path in export_cells(cells, output, names, overwrite):
        typer.echo(f"{len(replayed.steps)} steps, {len(used_labels(replayed.labels))} cells -> {path}")
    if steps is not None and len(replayed.steps) < steps:
        typer.echo(f"note: {journal} has only {len(replayed.steps)} steps", err=True)
    if not replayed.summary.is_begun:
        typer.echo(f"note: {journal} was cut off before all labels that were there at first were in it", err=True)
    n_lost = journal.stat().st_size - replayed.summary.n_bytes
    if n_lost:
        typer.echo(f"note: the last {n_lost} bytes of {journal} are of a step that was never finished", err=True)


def _list(journal: Path) -> None:
    """Print every step with its time."""
    from napari_cellsam.editing.journal import read_steps

    for number, step in enumerate(read_steps(journal), start=1):
        when = datetime.fromtimestamp(step.time).astimezone().isoformat(" ", "seconds")
        typer.echo(f"{number:6d}  {when}  {step.kind:4s}  {step.title}")
