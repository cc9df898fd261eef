"""The command ``train``: a compact model from labelled and synthetic pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_cellsam.models.network.compact import CompactCellSam
    from napari_cellsam.training.train import Progress

__all__ = ["train"]

_CUTS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
_FLOOR = 0.2  # detector's score from which boxes are outlined: of those below, one in fifty is right
_RIGHT = 0.6  # IoU from which a cell is right, as in the CellSAM paper


def train(  # noqa: PLR0913 - each argument is an option of the command
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the checkpoint; an existing one is continued.")],
    data: Annotated[
        Path | None,
        typer.Argument(help="Folder with index.tsv, or with images/ and masks/; synthetic only if left out."),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="Computing time in all, earlier runs included.")] = 120.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or auto.")] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Crops per step: 12 on a CPU, 64 or more on a GPU.")] = 12,
    rate: Annotated[float, typer.Option(min=0.0, help="Largest learning rate.")] = 1.2e-3,
    side: Annotated[int, typer.Option(min=64, help="Pixels along a crop, a multiple of 32.")] = 256,
    synthetic: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of synthetic crops.")] = 0.35,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare crops: all cores but one on a GPU.")] = 1,
    emphasis: Annotated[
        list[str] | None, typer.Option(help="WORD=FACTOR: draw groups whose name holds WORD so many times as often.")
    ] = None,
    masks_from: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the time after which the mask branch learns alone.")
    ] = 0.9,
    start: Annotated[str | None, typer.Option(help="Begin with a compact model: its name, or a file.")] = None,
    seed: Annotated[int, typer.Option(help="Source of chance.")] = 1,
) -> None:
    """Train the compact model, and write it as OUT/compact.safetensors.

    The first stage trains detector and masks together, the second the mask branch alone. The run can be stopped and
    continued at any time. With labelled pictures of a split "val", scores are fitted to them and their cut is chosen;
    F1 is printed.
    """
    from napari_cellsam.errors import OptionError
    from napari_cellsam.models.loading import choose_device
    from napari_cellsam.models.registry import find_weights
    from napari_cellsam.training.crops import CropOptions
    from napari_cellsam.training.release import save_release
    from napari_cellsam.training.train import TrainOptions
    from napari_cellsam.training.train import train as run

    if side % 32:
        raise OptionError(f"side is {side}; expected a multiple of 32 pixels")
    pairs = tuple(_factor(text) for text in emphasis or ())
    crops = CropOptions(side=side, synthetic_share=synthetic, seed=seed, emphasis=pairs)
    where = choose_device(device)
    options = TrainOptions(
        data,
        out,
        minutes,
        masks_from,
        batch,
        rate,
        str(where),
        precision,
        workers,
        crops,
        start=find_weights(start) if start else None,
    )
    model = run(options, on_progress=_report)
    if data:
        _calibrate(model, data)
    path = out / "compact.safetensors"
    save_release(model, path)
    typer.echo(f"wrote {path}; use it with --model {path}, or name it with: napari-cellsam models add {path} NAME")


def _factor(text: str) -> tuple[str, float]:
    """Return the word and the factor of WORD=FACTOR."""
    from napari_cellsam.errors import OptionError

    word, _, factor = text.partition("=")
    try:
        return word, float(factor)
    except ValueError as error:
        raise OptionError(f"got emphasis {text!r}; expected WORD=FACTOR, such as phase=1.5") from error


def _report(progress: Progress) -> None:
    losses = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
    share, speed = f"{progress.share:6.1%}", f"{progress.crops_per_s:.1f} crops/s"
    typer.echo(f"{share}  step {progress.step}  {speed}  {losses}", err=True)


def _calibrate(model: CompactCellSam, data: Path) -> None:
    """Fit the scores to the split ``val``, where there is one, choose the cut on it, and print F1 by source."""
    from dataclasses import replace

    import torch

    from napari_cellsam.data.dataset import list_entries
    from napari_cellsam.engine import Model
    from napari_cellsam.models.compact_backend import CompactBackend
    from napari_cellsam.models.network.compact import CellScore
    from napari_cellsam.training.validation import best_cut, calibration, counts_by_source, scored_cells

    entries = [entry for entry in list_entries(data) if entry.split == "val"]
    if not entries:
        typer.echo("there are no pictures of a split 'val': scores and their cut stay as they are", err=True)
        return
    loaded = Model(CompactBackend(model, next(model.parameters()).device, torch.float32), "trained")
    model.config = replace(model.config, score=CellScore())
    scores, predicted, ious = scored_cells(loaded, entries, _FLOOR)
    right = ious >= _RIGHT
    if right.any() and not right.all():
        score = calibration(scores, predicted, right, _FLOOR)
        model.config = replace(model.config, score=score)
        typer.echo(f"weights of detector and outline in a cell's score: {score.detector:.3f}, {score.outline:.3f}")
    else:
        typer.echo(f"scores stay the detector's: {right.sum()} of {len(right)} cells of 'val' are right", err=True)
    counts = counts_by_source(loaded, entries, _CUTS)
    cut = best_cut(counts)
    model.config = replace(model.config, box_score=cut)
    for source, found in sorted(counts[cut].items()):
        typer.echo(f"{source}: F1 {found.f1:.3f} at IoU {_RIGHT}, score cut {cut}")
