"""The commands ``export`` and ``import``: cells to and from the files of other programs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_cellsam.errors import CellsamError, OptionError, OutputError

if TYPE_CHECKING:
    from napari_cellsam.export.cell_set import CellSet

__all__ = ["export", "import_cells"]


def export(  # noqa: PLR0913 - each argument is an option of the command
    labels: Annotated[
        list[Path], typer.Argument(help="Label images, or files that an earlier export wrote.", readable=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files; made if it does not exist.")],
    formats: Annotated[
        list[str] | None, typer.Option("--format", "-f", help="Format to write; may be repeated.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Write every format.")] = False,
    image: Annotated[Path | None, typer.Option(help="The image, or a folder with the images, found by name.")] = None,
    nuclear: Annotated[str | None, typer.Option(help="Nuclear channel of the image: number (0 first) or name.")] = None,
    cell: Annotated[str | None, typer.Option(help="Whole-cell channel: number (0 first) or name.")] = None,
    plane: Annotated[
        list[str] | None, typer.Option(help="Plane of the image, such as T=0 or Z=3; may be repeated.")
    ] = None,
    scene: Annotated[int | None, typer.Option(min=0, help="Picture of an image file that holds several.")] = None,
    pixel_size: Annotated[
        float | None, typer.Option(min=1e-6, help="Size of a pixel in micrometres; the file's own if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")] = False,
) -> None:
    """Write cells for other programs: label TIFF, OME-Zarr, COCO, QuPath, ImageJ, Cellpose, StarDist, DeepCell, tables.

    Every file is written whole or not at all. One bad file does not stop the rest; the exit code is then 1. Detector
    scores are taken from <stem>_cells.csv beside the labels (segment --save-table).
    """
    from napari_cellsam.cli.pictures import Pictures
    from napari_cellsam.cli.reading import Reading, parse_plane

    names = _names(formats or [], everything, image is not None)
    if image is not None and image.is_file() and len(labels) > 1:
        raise typer.BadParameter("--image is one file, but there are several label images; give the folder of images")
    pictures = Pictures(image, Reading(nuclear, cell, plane=parse_plane(plane or []), scene=scene))
    done: list[dict[str, Any]] = []
    writing = _Writing(output, names, overwrite)
    for path in labels:
        outcome: dict[str, Any] = {"input": str(path), "outputs": {}, "error": None}
        done.append(outcome)
        try:
            cells = pictures.add_to(_read(path, pixel_size), path)
        except CellsamError as error:
            outcome["error"] = _describe(error)
        else:
            writing.write(cells, outcome)
        _report(outcome, quiet=as_json)
    if as_json:
        typer.echo(json.dumps({"files": done}, indent=2, allow_nan=False))
    if any(outcome["error"] for outcome in done):
        raise typer.Exit(1)


def _describe(*errors: CellsamError) -> dict[str, str]:
    """Return errors as plain values: the kind of the first, and what all say, each once."""
    messages = dict.fromkeys(str(error) for error in errors)
    return {"type": type(errors[0]).__name__, "message": "; ".join(messages)}


def _report(outcome: dict[str, Any], quiet: bool) -> None:
    """Print what was written, unless stdout is for JSON, and what went wrong."""
    if outcome["error"]:
        path, message = outcome["input"], " ".join(outcome["error"]["message"].split())
        typer.echo(f"error: {message if path in message else f'{path}: {message}'}", err=True)
    if outcome["outputs"] and not quiet:
        typer.echo(f"{outcome['input']}: {', '.join(name for own in outcome['outputs'].values() for name in own)}")


def _names(formats: list[str], everything: bool, has_image: bool) -> list[str]:
    """Return the formats to write; nonsense is a usage error."""
    from napari_cellsam.export.formats import FORMATS, find_format

    if everything == bool(formats):
        raise typer.BadParameter(f"give either --all, or --format with one of {', '.join(FORMATS)}")
    try:
        chosen = list(FORMATS.values()) if everything else [find_format(name) for name in formats]
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
    left_out = [entry.name for entry in chosen if entry.needs_image and not has_image]
    if left_out and not everything:
        raise typer.BadParameter(f"{', '.join(left_out)} needs the image too; give it with --image")
    if left_out:
        typer.echo(f"note: {', '.join(left_out)} is left out, because it needs --image", err=True)
    for entry in chosen if everything else ():
        if not entry.is_installed:
            left_out.append(entry.name)
            typer.echo(f"note: {entry.name} is left out, because {entry.module} is not installed", err=True)
    return list(dict.fromkeys(entry.name for entry in chosen if entry.name not in left_out))


def _read(path: Path, pixel_size: float | None) -> CellSet:
    """Read cells, with what the table beside them says."""
    from napari_cellsam.export.formats import read_cells
    from napari_cellsam.export.table import read_facts

    cells = read_cells(path)
    if pixel_size is not None:
        cells = replace(cells, pixel_size_um=(pixel_size, pixel_size))
    table = path.with_name(f"{cells.name}_cells.csv")
    if cells.facts or cells.axis or not table.is_file():
        return cells
    return replace(cells, facts={(0, label): facts for label, facts in read_facts(table).items()})


@dataclass(frozen=True)
class _Writing:
    """Which formats are written where, and the files that this run has written."""

    folder: Path
    names: list[str]
    overwrite: bool
    written: set[Path] = field(default_factory=set)

    def write(self, cells: CellSet, outcome: dict[str, Any]) -> None:
        """Write the files of one image, and note them; a format that fails does not stop the others."""
        errors = []
        for name in self.names:
            try:
                self._write(name, cells, outcome)
            except CellsamError as error:
                errors.append(error)
        if errors:
            outcome["error"] = _describe(*errors)

    def _write(self, name: str, cells: CellSet, outcome: dict[str, Any]) -> None:
        """Write the files of one format, unless one of them is another input's."""
        from napari_cellsam.export.formats import export_cells, find_format

        for path, _ in find_format(name).parts(self.folder, cells):
            if path in self.written:
                raise OutputError(
                    f"{path} was written for another input of this run; inputs of one name need different folders"
                )
        for _, path in export_cells(cells, self.folder, [name], self.overwrite):
            outcome["outputs"].setdefault(name, []).append(str(path))
            self.written.add(path)


def import_cells(
    file: Annotated[Path, typer.Argument(help="File of cells: of an export, or of another program.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Label image to write: a TIFF.")],
    image: Annotated[
        Path | None, typer.Option(help="The image, for its size where the file does not say it (QuPath, ImageJ).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
) -> None:
    """Write the label image of cells in a file of another program: COCO, QuPath, ImageJ, Cellpose, OME-Zarr, and so on.

    Labels stay as they are where the file gives them.
    """
    from napari_cellsam.data.read import read_image
    from napari_cellsam.export.cell_set import used_labels
    from napari_cellsam.export.formats import FORMATS, read_cells

    if output.suffix.lower() not in (".tif", ".tiff"):
        raise typer.BadParameter(f"the label image is a TIFF; got {output.name}, expected a name that ends in .tif")
    shape = None if image is None else read_image(image, cell="0").shape
    cells = read_cells(file, shape)
    if shape is not None and cells.shape != shape:
        raise OptionError(f"{file} is of an image of shape {cells.shape}; {image} has {shape}. Give the right image")
    FORMATS["tiff"].write(output, cells, overwrite)
    n_cells = sum(len(used_labels(plane)) for _, plane in cells.planes())
    typer.echo(f"{file}: {'1 cell' if n_cells == 1 else f'{n_cells:,} cells'} -> {output}")
    if not cells.size_known:
        height, width = cells.shape
        typer.echo(
            f"{file} does not say how large its image is: {output.name} ends at the last cell, {height} x {width}. "
            "Give the image with --image.",
            err=True,
        )
