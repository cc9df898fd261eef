"""The command line: segment | evaluate | export | import | replay | dataset | train | models | serve.

Exit codes: 0 all done; 1 something failed, and stderr says what in one line; 2 the command was not understood.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from napari_cellsam.cli.dataset import dataset
from napari_cellsam.cli.evaluate import evaluate
from napari_cellsam.cli.export import export, import_cells
from napari_cellsam.cli.finetune import finetune
from napari_cellsam.cli.models import models
from napari_cellsam.cli.replay import replay
from napari_cellsam.cli.segment import segment
from napari_cellsam.cli.serve import serve
from napari_cellsam.cli.train import train
from napari_cellsam.errors import CellsamError
from napari_cellsam.models.idling import wait_briefly

__all__ = ["app", "main"]

app = typer.Typer(
    name="napari-cellsam",
    help="Segment cells in microscopy images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(segment)
app.command()(evaluate)
app.command()(export)
app.command("import")(import_cells)
app.command()(replay)
app.command()(finetune)
app.command()(serve)
app.command()(train)
app.add_typer(dataset, name="dataset")
app.add_typer(models, name="models")


def _show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from importlib.metadata import version

        typer.echo(version("napari-cellsam"))
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Segment cells in microscopy images."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process.

    Parameters
    ----------
    arguments
        What follows the program's name; that of the process when None.
    """
    # tifffile logs at length what our own errors say in one line
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    wait_briefly()
    try:
        app(args=None if arguments is None else list(arguments), prog_name="napari-cellsam")
    except CellsamError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise SystemExit(1) from error
    except OSError as error:
        if error.filename is None:
            _write_no_more()
        what = "the output" if error.filename is None else error.filename
        typer.echo(f"error: {what} cannot be read or written: {error.strerror or error}", err=True)
        raise SystemExit(1) from error


def _write_no_more() -> None:
    """Let Python not try again, when it ends, to write what could not be written; that would fail once more."""
    with suppress(OSError, ValueError):  # a stream that is no file has nothing to be written later
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
