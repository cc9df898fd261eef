"""The commands ``models list | info | add | remove | fetch``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_cellsam.errors import ModelError
    from napari_cellsam.models.spec import ModelSpec

__all__ = ["models"]

models = typer.Typer(help="List, describe, add and remove models.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@models.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the models; the exit code is 1 if the specification of one cannot be read."""
    from napari_cellsam.models.registry import list_models

    broken: list[ModelError] = []
    specs = list_models(broken.append)
    for error in broken:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
    if as_json:
        typer.echo(json.dumps([json.loads(spec.to_json()) for spec in specs], indent=2))
    for spec in () if as_json else specs:
        task = "automatic and prompts" if spec.can_detect else "prompts only"
        typer.echo(
            f"{spec.name}: {spec.architecture}, {spec.input_side} px, {task}, {spec.licence}. {spec.description}"
        )
    if broken:
        raise typer.Exit(1)


@models.command()
def info(name: Name, as_json: AsJson = False) -> None:
    """Describe a model, and say where its weights are."""
    from napari_cellsam.models.registry import find_model

    spec = find_model(name)
    if as_json:
        typer.echo(spec.to_json().rstrip())
        return
    _describe(spec)


def _describe(spec: ModelSpec) -> None:
    """Print a specification line by line."""
    for key, value in json.loads(spec.to_json()).items():
        if key == "training":
            continue
        parts = value.items() if isinstance(value, dict) else ()
        typer.echo(f"{key}: {', '.join(f'{part}={content}' for part, content in parts) if parts else value}")
    if (record := spec.training) is not None:
        before, after = record.before, record.after
        typer.echo(f"made from: {record.parent} on {record.date}, with {len(record.data)} pictures and {record.replay}")
        typer.echo(f"judged on: {after.n_cells} held-out cells of {len(record.judged_on)} pictures")
        typer.echo(f"F1 at IoU 0.6: {before.f1:.3f} before, {after.f1:.3f} after")
        typer.echo(f"IoU after one click: {before.click_iou:.3f} before, {after.click_iou:.3f} after")
        typer.echo(f"outlines: {record.outlines}")


@models.command()
def add(
    weights: Annotated[str, typer.Argument(help="Weights file, or an https:// address with --sha256.")],
    name: Name,
    link: Annotated[bool, typer.Option("--link", help="Use the file where it is, rather than a copy.")] = False,
    sha256: Annotated[str | None, typer.Option(help="SHA-256 of the file at the address.")] = None,
    description: Annotated[str, typer.Option(help="A sentence about the model.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    input_side: Annotated[int | None, typer.Option(help="Side of the network's field in pixels.")] = None,
) -> None:
    """Register weights under a name, after checking that they are safe and complete."""
    from napari_cellsam.models.registry import add_model, add_remote_model
    from napari_cellsam.models.spec import ModelNotes, RemoteWeights
    from napari_cellsam.models.weights import inspect_checkpoint

    notes = ModelNotes(description, licence, input_side=input_side)
    if "://" in weights:
        if sha256 is None or link:
            raise typer.BadParameter("an address needs --sha256 and cannot be linked")
        spec = add_remote_model(name, RemoteWeights(weights, sha256.lower()), inspect_checkpoint, notes)
    else:
        if sha256 is not None:
            raise typer.BadParameter("--sha256 is for an https:// address")
        spec = add_model(Path(weights), name, inspect_checkpoint, notes, link)
    typer.echo(f"added {spec.name}: {spec.architecture}, {spec.input_side} px")


@models.command()
def remove(name: Name) -> None:
    """Forget a model that was added, with the copy of its weights."""
    from napari_cellsam.models.registry import remove_model

    remove_model(name)
    typer.echo(f"removed {name}")


@models.command()
def fetch(
    name: Name,
    accept: Annotated[bool, typer.Option("--accept-licence", help="Accept the licence of the weights.")] = False,
) -> None:
    """Fetch the weights of a model now, so that it works offline later."""
    from napari_cellsam.models.fetch import accept_licence, weights_path
    from napari_cellsam.models.registry import find_model

    spec = find_model(name)
    if accept:
        accept_licence(spec)
    typer.echo(str(weights_path(spec)))
