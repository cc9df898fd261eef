"""The command ``evaluate``: figures of predicted against true label images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_cellsam.errors import ImageReadError, ImageShapeError

if TYPE_CHECKING:
    from napari_cellsam.metrics import Evaluation, LabelPair, Scores

__all__ = ["evaluate"]

_LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy")


def evaluate(
    predicted: Annotated[Path, typer.Argument(help="Label image, or folder of label images.", readable=False)],
    truth: Annotated[Path, typer.Argument(help="True labels: a file or a folder, matched by name.", readable=False)],
    iou: Annotated[float, typer.Option(min=0.01, max=1.0, help="IoU from which a cell counts as found.")] = 0.6,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Compare predicted with true cells: per image, and all cells pooled.

    In folders, files belong together whose names agree up to the ending, with or without "_labels" or "_cp_masks".
    Every true label image needs a prediction. Where <stem>_cells.csv lies beside every prediction (segment
    --save-table), its detector scores give AP50 and mAP.
    """
    from napari_cellsam.metrics import evaluate as compare

    result = compare(_pairs(predicted, truth), iou)
    typer.echo(json.dumps(result.as_dict(), indent=2, allow_nan=False) if as_json else _as_text(result))


def _pairs(predicted: Path, truth: Path) -> Iterator[LabelPair]:
    """Read the pairs of label images one by one."""
    from napari_cellsam.export.label_tiff import read_labels
    from napari_cellsam.export.table import read_scores
    from napari_cellsam.metrics import LabelPair

    for name, found, true in _match(predicted, truth):
        table = found.with_name(f"{_stem(found)}_cells.csv")
        scores = read_scores(table) if table.is_file() else None
        pair = LabelPair(read_labels(true), read_labels(found), scores, name)
        if pair.truth.shape != pair.predicted.shape:  # type: ignore[union-attr]
            raise ImageShapeError(
                f"{found} has shape {pair.predicted.shape}, {true} has {pair.truth.shape}; expected the same"  # type: ignore[union-attr]
            )
        yield pair


def _match(predicted: Path, truth: Path) -> list[tuple[str, Path, Path]]:
    """Match files by name."""
    for path in (predicted, truth):
        if not path.exists():
            raise ImageReadError(f"{path} does not exist")
    if predicted.is_dir() != truth.is_dir():
        raise ImageReadError(f"{predicted} and {truth} are a file and a folder; give two files or two folders")
    if not truth.is_dir():
        return [(_stem(truth), predicted, truth)]
    found, true = _label_files(predicted), _label_files(truth)
    missing = sorted(true.keys() - found.keys())
    if missing:
        raise ImageReadError(
            f"{len(missing)} of {len(true)} true label images have no prediction in {predicted}: "
            f"{', '.join(missing[:5])}{' ..' if len(missing) > 5 else ''}"
        )
    if not true:
        raise ImageReadError(f"the folder {truth} holds no label image ({', '.join(_LABEL_SUFFIXES)})")
    surplus = len(found) - len(true)
    if surplus:
        typer.echo(f"note: {surplus} files in {predicted} have no true labels and are left out", err=True)
    return [(name, found[name], true[name]) for name in sorted(true)]


def _label_files(folder: Path) -> dict[str, Path]:
    """Return the label images of a folder by name; where an image lies beside its labels, the labels win."""
    by_name: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _LABEL_SUFFIXES and path.name[0] != "." and not path.stem.endswith("_outlines"):
            by_name.setdefault(_stem(path), []).append(path)
    files = {}
    for name, alike in by_name.items():
        labels = [path for path in alike if path.name.startswith(f"{name}_")] or alike
        if len(labels) > 1:
            names = ", ".join(path.name for path in labels)
            raise ImageReadError(f"{folder} has several files of the name {name}: {names}; leave one there")
        files[name] = labels[0]
    return files


def _stem(path: Path) -> str:
    """Return the name that predicted and true labels share."""
    from napari_cellsam.export.facts import name_of

    return name_of(path)


def _as_text(result: Evaluation) -> str:
    """Return the figures as a table of text."""
    rows = [*result.images, result.pooled]
    width = max(len("image"), *(len(scores.name) for scores in rows))
    head = ["true", "pred.", f"F1@{result.pooled.iou:g}", "prec.", "recall", "mean F1", "mSA", "AP50", "mAP"]
    lines = [f"{'image':{width}}" + "".join(f"{title:>9}" for title in head)]
    lines += [f"{scores.name:{width}}" + "".join(f"{figure:>9}" for figure in _figures(scores)) for scores in rows]
    return "\n".join(lines)


def _figures(scores: Scores) -> list[str]:
    """Return the figures of one row as text."""
    counts = scores.counts
    n_true, n_found = counts.true_positives + counts.false_negatives, counts.true_positives + counts.false_positives
    shares = [counts.f1, counts.precision, counts.recall, scores.mean_f1, scores.mean_accuracy]
    precisions = [scores.ap50, scores.mean_ap]
    return [str(n_true), str(n_found), *("-" if share is None else f"{share:.3f}" for share in shares + precisions)]
