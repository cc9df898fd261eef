"""The command ``finetune``: a model that is better at the user's own images."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cellsam.cli.segment import Precision

if TYPE_CHECKING:
    from napari_cellsam.models.steps import Step
    from napari_cellsam.types.finetuning import TrainingRecord

__all__ = ["finetune"]


def finetune(  # noqa: PLR0913 - each argument is an option of the command
    data: Annotated[Path, typer.Argument(help="Data set of corrected images: see napari-cellsam dataset.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Name of the new model.")],
    model: Annotated[str, typer.Option(help="Model that it is made from: a name, or a weights file.")] = "compact",
    minutes: Annotated[float, typer.Option(min=0.01, help="Training time, earlier runs of the same included.")] = 6.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Type of numbers on the device.")] = Precision.auto,
    batch: Annotated[int, typer.Option(min=1, help="Crops per step.")] = 4,
    rate: Annotated[float, typer.Option(help="Largest learning rate.")] = 1e-4,
    freeze_backbone: Annotated[bool, typer.Option(help="Leave the image encoder as it is.")] = False,
    replay: Annotated[
        Path | None, typer.Option(help="Labelled pictures that are not to be forgotten; synthetic ones if left out.")
    ] = None,
    replay_share: Annotated[float, typer.Option(min=0.0, max=0.95, help="Share of crops that are of those.")] = 0.25,
    seed: Annotated[int, typer.Option(min=0, help="Source of chance.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on where the same training was broken off.")] = True,
) -> None:
    """Make a new model out of another one, with corrected images.

    Both are judged on images that are held back; the figures are printed, and the new model is added under its name.
    The other one stays as it is. Interrupt once to end early with the best so far, twice to go on another time.
    """
    from napari_cellsam.models.loading import choose_device
    from napari_cellsam.models.steps import run_steps
    from napari_cellsam.training.lessons import read_lessons
    from napari_cellsam.training.retraining import Retraining, retrain_steps
    from napari_cellsam.types.finetuning import FinetuneOptions

    options = FinetuneOptions(
        minutes=minutes,
        batch=batch,
        rate=rate,
        freeze_backbone=freeze_backbone,
        replay=replay_share,
        seed=seed,
        resume=resume,
    )
    where = choose_device(device)
    task = Retraining(name, model, read_lessons(data, replay), options, where, precision.value)
    with _ended_by_interrupt() as stop:
        record = run_steps(retrain_steps(task, stop.is_set), _Reporter())
    _show(record)
    typer.echo(f"added {name}; use it with: napari-cellsam segment IMAGE --model {name}")


class _Reporter:
    """Prints where a training stands: each change of stage, each check, and every twentieth step."""

    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, step: Step) -> None:
        from napari_cellsam.types.finetuning import TrainingProgress

        if not isinstance(step, TrainingProgress):
            return
        if step.stage != self._stage or step.f1 is not None or step.step % 20 == 0:
            losses = "  ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
            judged = "" if step.f1 is None else f"  F1 of held-out cells {step.f1:.3f}"
            typer.echo(f"{step.share:6.1%}  {step.stage}  step {step.step}  {losses}{judged}", err=True)
        self._stage = step.stage


def _show(record: TrainingRecord) -> None:
    """Print the figures before and after."""
    before, after = record.before, record.after
    typer.echo(f"{record.steps} steps in {record.seconds:.0f} s, judged on {after.n_cells} held-out cells")
    typer.echo(f"F1 at IoU 0.6: {before.f1:.3f} before, {after.f1:.3f} after")
    typer.echo(f"IoU after one click: {before.click_iou:.3f} before, {after.click_iou:.3f} after")
    typer.echo(f"outlines: {record.outlines}")
    if record.n_judges_known:
        told = f"note: earlier models have learned from {record.n_judges_known} of the pictures that judge"
        typer.echo(f"{told}, so these figures say little", err=True)
    if not record.is_better:
        typer.echo("the new model is no better; correct more images, or train longer", err=True)


@contextmanager
def _ended_by_interrupt() -> Iterator[threading.Event]:
    """Set an event at the first interrupt; the second one is an interrupt."""
    stop = threading.Event()

    def first(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        typer.echo("Ending with the best so far; interrupt again to break off.", err=True)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
