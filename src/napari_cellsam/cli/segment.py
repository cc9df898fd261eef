"""The command ``segment``: label images of image files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_cellsam.errors import ModelNotFoundError, OptionError
from napari_cellsam.types import SegmentOptions

if TYPE_CHECKING:
    from napari_cellsam.cli.batch import Batch, Outcome, Segmenter, Source
    from napari_cellsam.cli.reading import Reading

__all__ = ["segment"]


class Scaling(StrEnum):
    """Choices of ``--scaling``."""

    tiles = "tiles"
    squash = "squash"


class Precision(StrEnum):
    """Choices of ``--precision``."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


def segment(  # noqa: PLR0913 - each argument is an option of the command
    files: Annotated[
        list[Path] | None, typer.Argument(help="Images (PNG, JPEG, TIFF) and folders of them.", readable=False)
    ] = None,
    sample: Annotated[str | None, typer.Option(help="Segment the sample picture of this name.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for results; beside each image if left out.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Registered model, or path of a weights file; compact, or the server's first one."),
    ] = None,
    server: Annotated[str | None, typer.Option(help="URL of a model service that does the work.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the server's token; NAPARI_CELLSAM_TOKEN if left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Type of numbers on the device.")] = Precision.auto,
    nuclear: Annotated[str | None, typer.Option(help="Nuclear channel: number (0 first) or name.")] = None,
    cell: Annotated[str | None, typer.Option(help="Whole-cell channel: number (0 first) or name.")] = None,
    rgb: Annotated[bool | None, typer.Option("--rgb/--no-rgb", help="Read as a colour picture, or never.")] = None,
    plane: Annotated[
        list[str] | None, typer.Option(help="Plane of a stack, such as T=0 or Z=3; may be repeated.")
    ] = None,
    scene: Annotated[
        int | None, typer.Option(min=0, help="Picture of a TIFF file that holds several, 0 first.")
    ] = None,
    diameter: Annotated[str | None, typer.Option(help="Typical cell diameter: pixels, auto or native.")] = None,
    scaling: Annotated[Scaling | None, typer.Option(help="Tile large images, or squash them into one field.")] = None,
    box_score: Annotated[float | None, typer.Option(help="Score from which a cell counts, 0 to 1.")] = None,
    min_area: Annotated[int | None, typer.Option(help="Smallest cell in pixels.")] = None,
    looks: Annotated[int | None, typer.Option(help="Look once, or twice: better, and slower.")] = None,
    mask_threshold: Annotated[
        float, typer.Option(help="Probability from which a pixel belongs to a cell: more for tighter outlines.")
    ] = 0.5,
    save_outlines: Annotated[bool, typer.Option("--save-outlines", help="Also write <stem>_outlines.png.")] = False,
    save_table: Annotated[bool, typer.Option("--save-table", help="Also write <stem>_cells.csv.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there already.")] = False,
) -> None:
    """Write <stem>_labels.tif for each image: 0 is background, cells are 1, 2, 3, and so on.

    What is left open is the model's own default. One bad file does not stop the rest; the exit code is then 1.
    """
    from napari_cellsam.cli.batch import Batch, Outputs
    from napari_cellsam.cli.reading import Reading, parse_plane

    chosen = {"box_score": box_score, "min_area": min_area, "looks": looks, "mask_threshold": mask_threshold}
    options = _options(diameter, scaling, chosen)
    sources = _sources(files or [], sample, Reading(nuclear, cell, rgb, parse_plane(plane or []), scene))
    outputs = Outputs(output, save_outlines, save_table, overwrite)
    with _segmenter(model, server, token_file, device, precision) as (segmenter, name):
        outcomes = _run(Batch(segmenter, options, outputs), sources, quiet=as_json)
    if as_json:
        document = {"model": name, "files": [outcome.as_dict() for outcome in outcomes]}
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


@contextmanager
def _segmenter(
    model: str | None, server: str | None, token_file: Path | None, device: str, precision: Precision
) -> Iterator[tuple[Segmenter, str]]:
    """Load a model here, or connect to a server that has it; yield it with its name."""
    if server is None:
        if token_file is not None:
            raise typer.BadParameter("--token-file is for --server; give the server's URL too")
        from napari_cellsam.engine import load_model

        name = "compact" if model is None else model
        yield load_model(name, device=device, precision=precision.value), name
        return
    if device != "auto" or precision != Precision.auto:
        raise typer.BadParameter("--device and --precision are the server's own choice; leave them out with --server")
    from napari_cellsam.cli.patience import PatientSegmenter
    from napari_cellsam.service.connect import connect

    with connect(server, token_file, model or "") as client:
        offered = [offer.name for offer in client.info().models]  # fails before the first image is read
        if not offered or model not in (None, *offered):
            raise ModelNotFoundError(f"the server offers {', '.join(offered) or 'no model'}; got --model {model}")
        patient = PatientSegmenter(client, lambda text: typer.echo(f"note: {text}", err=True))
        yield patient, model or offered[0]


def _options(diameter: str | None, scaling: Scaling | None, others: dict[str, Any]) -> SegmentOptions:
    """Return the options; nonsense is a usage error."""
    try:
        return SegmentOptions(
            diameter=_diameter(diameter), scaling=None if scaling is None else scaling.value, **others
        )
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error


def _diameter(text: str | None) -> float | Literal["auto", "native"] | None:
    """Return the diameter that was typed."""
    if text is None:
        return None
    if text in ("auto", "native"):
        return "auto" if text == "auto" else "native"
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"diameter is {text!r}; expected pixels, 'auto' or 'native'") from error


def _sources(files: list[Path], sample: str | None, reading: Reading) -> list[Source | Outcome]:
    """Return the images: files, or one sample."""
    from napari_cellsam.cli.batch import list_sources
    from napari_cellsam.cli.reading import Reading

    if (sample is None) == (not files):
        raise typer.BadParameter("give image files or folders, or --sample NAME")
    if sample is None:
        return list(list_sources(files, reading))
    if reading != Reading():
        raise typer.BadParameter("channels, --plane and --scene are for files; leave them out with --sample")
    return [_sample(sample)]


def _sample(name: str) -> Source:
    """Return a sample picture as an image of the batch, with its outputs in the current folder."""
    from napari_cellsam.cli.batch import Source
    from napari_cellsam.data.samples import load_sample, sample_names

    names = sample_names(fetched=True)
    if name not in names:
        raise typer.BadParameter(f"there is no sample {name!r}; the samples are {', '.join(names)}")
    return Source(name, name, Path(), lambda: load_sample(name))


def _run(batch: Batch, sources: list[Source | Outcome], quiet: bool) -> list[Outcome]:
    """Run the batch, with bars on stderr where that is a terminal, and a line for each image."""
    from rich.console import Console
    from rich.progress import Progress

    outcomes = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        images = progress.add_task("images", total=len(sources))
        tiles = progress.add_task("tiles", total=None)
        for outcome in batch.run(sources, lambda done, total: progress.update(tiles, completed=done, total=total)):
            outcomes.append(outcome)
            progress.advance(images)
            _report(outcome, quiet)
    return outcomes


def _report(outcome: Outcome, quiet: bool) -> None:
    """Print what became of an image: results on stdout unless that is for JSON, errors and notes on stderr."""
    if outcome.error is not None:
        message = " ".join(str(outcome.error).split())
        typer.echo(f"error: {message if outcome.name in message else f'{outcome.name}: {message}'}", err=True)
        return
    for note in outcome.notes:
        typer.echo(f"note: {outcome.name}: {note}", err=True)
    if not quiet:
        cells = "1 cell" if outcome.n_cells == 1 else f"{outcome.n_cells:,} cells"
        typer.echo(
            f"{outcome.name}: {cells} in {outcome.seconds:.1f} s -> {', '.join(map(str, outcome.outputs.values()))}"
        )
