"""Print how many clicks a cell takes: the outline after each click, by source.

Usage: python benchmarks/accuracy/clicks.py FOLDER [--model compact] [--split val] [--images N] [--cells N]

FOLDER is a data set as `napari-cellsam train` takes it. Every cell is clicked at its innermost point, and then, up to
ten times in all, at the innermost point of the larger error: inside what is missing, or outside in what is too much.
Every click is told with all before it and the previous answer, as the plugin does. Neighbouring cells do not help.

Printed per source: the median IoU after each click; the number of clicks to IoU 0.80, 0.85 and 0.90 (median, mean with
failures counted as ten, share of failures); the median IoU of the true box as the only prompt.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import ndimage

from napari_cellsam.data.dataset import list_entries
from napari_cellsam.data.read import read_image
from napari_cellsam.engine import Model, load_model
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.labels import relabel_sequential
from napari_cellsam.training.validation import click_centres
from napari_cellsam.types import Image, Mask, Prompt

_MOST = 10  # clicks
_TARGETS = (0.80, 0.85, 0.90)

Bools = NDArray[np.bool_]
Ious = NDArray[np.float64]


class Clicking:
    """Clicks on one cell until it is right.

    Parameters
    ----------
    cell
        ``(Y, X)`` the true cell.
    centre
        ``(y, x)`` of the first click.
    """

    def __init__(self, cell: Bools, centre: tuple[float, float]) -> None:
        self._cell = cell
        self._inside, self._outside = [centre], list[tuple[float, float]]()
        self._answer: Mask | None = None

    @property
    def prompt(self) -> Prompt:
        """What is asked next."""
        previous = None if self._answer is None else self._answer.low_res
        return Prompt(inside=self._inside, outside=self._outside, mask_logits=previous)

    def take(self, answer: Mask) -> float:
        """Take an answer and think of the next click; return its IoU."""
        self._answer = answer
        found = answer.full(self._cell.shape)
        missing, surplus = self._cell & ~found, found & ~self._cell
        n_missing, n_surplus = np.count_nonzero(missing), np.count_nonzero(surplus)
        if n_missing or n_surplus:
            is_missing = n_missing >= n_surplus
            (self._inside if is_missing else self._outside).append(innermost(missing if is_missing else surplus))
        n_both = np.count_nonzero(self._cell & found)
        return n_both / (n_both + n_missing + n_surplus)


def innermost(region: Bools) -> tuple[float, float]:
    """Return the pixel ``(y, x)`` of a region that is farthest from its border."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    depth = ndimage.distance_transform_edt(np.pad(region[box], 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(rows[0] + y), float(columns[0] + x)


def click_ious(model: Model, image: Image, labels: NDArray[Any], numbers: NDArray[Any], centres: NDArray[Any]) -> Ious:
    """Return the IoU ``(N, 10)`` of cells after each click."""
    cells = [Clicking(labels == number, (float(y), float(x))) for number, (y, x) in zip(numbers, centres, strict=True)]
    ious = np.zeros((len(cells), _MOST))
    for turn in range(_MOST):
        answers = model.segment_prompts(image, [cell.prompt for cell in cells], logits=True)
        ious[:, turn] = [cell.take(answer) for cell, answer in zip(cells, answers, strict=True)]
    return ious


def box_ious(model: Model, image: Image, labels: NDArray[Any], numbers: NDArray[Any]) -> list[float]:
    """Return the IoU of cells that are asked for by their true boxes."""
    places = ndimage.find_objects(relabel_sequential(labels).astype(np.int32))  # numbers may be up to 2**32
    slices = [places[index] for index in np.searchsorted(np.unique(labels[labels > 0]), numbers)]
    prompts = [Prompt(box=(s[0].start, s[1].start, s[0].stop - 1, s[1].stop - 1)) for s in slices]
    answers = model.segment_prompts(image, prompts)
    return [Clicking(labels == n, (0, 0)).take(answer) for n, answer in zip(numbers, answers, strict=True)]


def line(source: str, ious: Ious, boxes: list[float]) -> str:
    """Return a source's figures."""
    shown = " ".join(f"{np.median(ious[:, turn]):.3f}" for turn in (0, 1, 2, 4, 9))
    parts = []
    for target in _TARGETS:
        reached = (ious >= target).any(1)
        clicks = np.where(reached, (ious >= target).argmax(1) + 1, _MOST)
        parts.append(f"{np.median(clicks):3.0f} {clicks.mean():5.2f} {1 - reached.mean():6.1%}")
    return f"{source:20}{len(ious):6}  {shown}  | " + " | ".join(parts) + f" | {np.median(boxes):.3f}"


def main(
    folder: Path,
    model: str = "compact",
    split: str = "val",
    device: str = "auto",
    images: Annotated[int, typer.Option(help="Most pictures of a source, spread over its list.")] = 1000,
    cells: Annotated[int, typer.Option(help="Most cells of a picture, drawn at random.")] = 1000,
) -> None:
    """Print the table."""
    loaded = load_model(model, device)
    by_source = defaultdict(list)
    for entry in list_entries(folder, split):
        by_source[entry.source].append(entry)
    head = "  ".join(f"to {target:.2f}: med mean fail" for target in _TARGETS)
    print(f"{'source':20}{'cells':>6}  median IoU after 1, 2, 3, 5, 10 clicks | {head} | box")
    for source, entries in sorted(by_source.items()):
        ious, boxes = [], list[float]()
        for i in np.unique(np.linspace(0, len(entries) - 1, min(images, len(entries))).round().astype(int)):
            image, labels = read_image(entries[i].image), read_labels(entries[i].mask)
            numbers, centres = click_centres(labels)
            some = np.sort(np.random.default_rng(0).permutation(len(numbers))[:cells])
            ious.append(click_ious(loaded, image, labels, numbers[some], centres[some]))
            boxes += box_ious(loaded, image, labels, numbers[some])
        print(line(source, np.concatenate(ious), boxes), flush=True)


if __name__ == "__main__":
    typer.run(main)
