"""Count what a person would have to do until every cell is right, before and after retraining on what was corrected.

Usage: python benchmarks/annotator.py FOLDER SOURCE [SOURCE ...] [--learn 5 --learn 10] [--minutes 6] [--model compact]
           [--named TEXT] [--parts 2]

FOLDER is a data set as `napari-cellsam train` takes it; its pictures of a source stand for a person's images. A
simulated annotator lets the model find the cells of each, and then corrects with the plugin's own verbs until every
true cell has an outline of IoU 0.8 or more and none is too many:

- a cell that is none is deleted (one action), and so is each further outline that a cell has;
- a cell that is missing is clicked at its innermost point (one), and refined with clicks at the innermost point of the
  largest error, inside or outside (one each), at most six;
- an outline that one or two presses of a key make right gets them (one each), at once or between clicks: grow or
  shrink by a pixel, fill holes, smooth, keep the largest piece;
- a cell whose outline is wrong otherwise is taken up as it is (one) and refined likewise; what it lacks and a neighbour
  has is taken by the click (with Control); an outline counts as that of the cell that most of it belongs to;
- an outline that holds several cells is deleted (one), and each of them is clicked;
- what is not right after that is outlined by hand, which counts as ten actions.

Pictures of the split val are corrected one after the other, in the order of the list. The shipped model has learned
nothing from them; quarters of them (or ``--parts`` to a side) count as pictures, since the sources have few, but for
those without a cell. ``--named`` takes only the files whose names hold a text: a source that is a collection has many
kinds of pictures, a person has one. After each number of them that ``--learn`` names, the model in use is retrained on
all corrected labels (not on the truth), and the next are begun with the new one. The pictures behind the last one that
is learned from are corrected with each model: that is what the following images cost. Where there is a choice they are
parts of other files. They are corrected in four orientations, since a few hard cells take most of the actions, and
which of them a model gets right is chance. Sources whose pictures are frames of one movie are nearly alike, as a
person's are who works through a movie. What has less than a tenth of the median cell's area, scraps of annotation and
slivers at the quarters' borders, is not asked for; nothing may be outlined there either.

Printed per source and model: actions per picture and per cell, of these deletions, cells taken up, clicks, presses of
keys, and outlines by hand (ten actions each), and F1 at IoU 0.6 of what the model found by itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import ndimage

from napari_cellsam.corrections import fill, grow, keep_largest, shrink, smooth
from napari_cellsam.data.dataset import list_entries
from napari_cellsam.data.read import read_image
from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.editing.edits import erase, place
from napari_cellsam.engine import Model, load_model
from napari_cellsam.errors import OptionError
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.metrics.matching import Counts, find_overlaps, match_overlaps
from napari_cellsam.models.steps import run_steps
from napari_cellsam.training.lessons import Lessons
from napari_cellsam.training.retraining import Retraining, retrain_steps
from napari_cellsam.types import Image, LowResLogits, Mask, Prompt
from napari_cellsam.types.finetuning import FinetuneOptions

_RIGHT = 0.8  # IoU from which an outline is right
_F1_AT = 0.6
_MOST_CLICKS = 6  # for a cell
_BY_HAND = 10  # actions
_SLIVER = 0.1  # of the median cell's area
_TURNS = 4  # orientations in which pictures are judged

Labels = NDArray[np.uint32]
Bools = NDArray[np.bool_]

_KEYS: tuple[tuple[int, Callable[[Labels, int], Labels]], ...] = (  # presses, and what they do
    *((1, verb) for verb in (grow, shrink, fill, smooth, keep_largest)),
    *((2, partial(verb, pixels=2)) for verb in (grow, shrink)),
)


@dataclass(frozen=True)
class Actions:
    """What a person did."""

    deleted: int = 0
    taken_up: int = 0
    clicks: int = 0
    presses: int = 0
    by_hand: int = 0

    def __add__(self, other: Actions) -> Actions:
        return Actions(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def total(self) -> int:
        """Their number, if an outline by hand counts as ten."""
        return self.deleted + self.taken_up + self.clicks + self.presses + _BY_HAND * self.by_hand


@dataclass(frozen=True)
class Work:
    """What was done on a picture."""

    actions: Actions
    n_cells: int
    counts: Counts
    labels: Labels


class Annotator:
    """Corrects what a model finds, knowing the truth."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def correct(self, image: Image, truth: Labels) -> Work:
        """Let the model find the cells, and correct them until they are right."""
        found = self._model.segment(image).labels
        counts = match_overlaps(find_overlaps(truth, found), _F1_AT).counts
        labels, n_wrong = _without_wrong(found, truth)
        outlines = _outlines_of(labels, truth)
        labels, n_surplus = _without_surplus(labels, outlines)
        actions = Actions(deleted=n_wrong + n_surplus)
        numbers = [n for n in np.unique(truth).tolist() if n]
        for number in numbers:
            labels, more = self._make_right(image, labels, truth == number, outlines.get(number, 0))
            actions += more
        return Work(actions, len(numbers), counts, labels)

    def _make_right(self, image: Image, labels: Labels, cell: Bools, there: int) -> tuple[Labels, Actions]:
        """Return labels in which a cell, that has an outline or 0, is right, and what that took."""
        label = there or int(labels.max()) + 1
        current = labels == label
        inside: list[tuple[float, float]] = []
        outside: list[tuple[float, float]] = []
        bare, takes = erase(labels, label), set[int]()
        previous = LowResLogits.of_outline(*_cropped(current)) if there else None
        while _iou(current, cell) < _RIGHT:
            n_clicks = len(inside) + len(outside)
            pressed = _pressed(labels, label, cell) if current.any() else None
            if pressed:
                labels, n_presses = pressed
                return labels, Actions(0, bool(there and n_clicks), n_clicks, n_presses)
            if n_clicks == _MOST_CLICKS:
                others = np.unique(labels[cell]).tolist()
                labels = place(bare, cell, label, replaceable=others)
                return labels, Actions(0, bool(there), n_clicks, 0, 1)
            is_new = not there and n_clicks == 0
            free = cell & (labels == 0)  # a new cell begins on background
            at, is_inside = (_innermost(free), True) if is_new and free.any() else _next_click(cell, current)
            (inside if is_inside else outside).append(at)
            below = int(labels[int(at[0]), int(at[1])])
            if is_inside and below not in (0, label):
                takes.add(below)  # a click with Control
            prompt = Prompt(inside=inside, outside=outside, mask_logits=previous)
            [mask] = self._model.segment_prompts(image, [prompt], logits=True)
            labels = place(bare, _whole(mask, cell.shape), label, replaceable=takes)
            previous = mask.low_res
            current = labels == label
        n_clicks = len(inside) + len(outside)
        return labels, Actions(0, bool(there and n_clicks), n_clicks)


def _pressed(labels: Labels, label: int, cell: Bools) -> tuple[Labels, int] | None:
    """Return labels in which a key makes an outline right, and how often it is pressed; None if no key does."""
    for n_presses, verb in _KEYS:
        try:
            changed = verb(labels, label)
        except OptionError:  # it would shrink to nothing
            continue
        if _iou(changed == label, cell) >= _RIGHT:
            return np.asarray(changed, np.uint32), n_presses
    return None


def _without_wrong(found: Labels, truth: Labels) -> tuple[Labels, int]:
    """Return labels without cells that are none, or that hold several, and the number of deletions."""
    labels, n_deleted = found.copy(), 0
    for number, window in enumerate(ndimage.find_objects(found.astype(np.int32)), start=1):
        if window is None:
            continue
        inside = found[window] == number
        true, areas = np.unique(truth[window][inside], return_counts=True)
        held = [t for t, area in zip(true, areas, strict=True) if t and area >= 0.5 * np.count_nonzero(truth == t)]
        most = areas[true > 0].max(initial=0) / inside.sum()
        if len(held) > 1 or (not held and most < 0.5):
            labels[window][inside] = 0
            n_deleted += 1
    return labels, n_deleted


def _without_surplus(labels: Labels, outlines: dict[int, int]) -> tuple[Labels, int]:
    """Return labels without outlines that are no cell's, and the number of deletions."""
    surplus = np.setdiff1d(np.unique(labels), [0, *outlines.values()])
    return np.where(np.isin(labels, surplus), 0, labels).astype(labels.dtype), len(surplus)


def _outlines_of(labels: Labels, truth: Labels) -> dict[int, int]:
    """Return the outline of each cell: of those of which most is the cell's, the one with the largest part of it."""
    pairs, areas = np.unique(np.stack((labels, truth))[:, (labels > 0) & (truth > 0)], axis=1, return_counts=True)
    owners: dict[int, tuple[int, int]] = {}  # of outlines: pixels, cell
    for outline, cell, area in zip(*pairs.tolist(), areas.tolist(), strict=True):
        owners[outline] = max(owners.get(outline, (0, 0)), (area, cell))
    found: dict[int, tuple[int, int]] = {}  # of cells: pixels, outline
    for outline, (area, cell) in owners.items():
        found[cell] = max(found.get(cell, (0, 0)), (area, outline))
    return {cell: outline for cell, (_, outline) in found.items()}


def _next_click(cell: Bools, current: Bools) -> tuple[tuple[float, float], bool]:
    """Return where the larger error is thickest, and whether that is inside the cell."""
    missing, surplus = cell & ~current, current & ~cell
    if np.count_nonzero(missing) >= np.count_nonzero(surplus):
        return _innermost(missing), True
    return _innermost(surplus), False


def _innermost(region: Bools) -> tuple[float, float]:
    """Return the pixel ``(y, x)`` of a region that is farthest from its border."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(y), float(x)


def _whole(mask: Mask, shape: tuple[int, ...]) -> Bools:
    result = np.zeros(shape, bool)
    (y, x), (height, width) = mask.corner, mask.crop.shape
    result[y : y + height, x : x + width] = mask.crop
    return result


def _cropped(region: Bools) -> tuple[Bools, tuple[int, int]]:
    """Return a region's pixels in its bounding box, and the box's corner."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], (int(rows[0]), int(columns[0]))


def _iou(a: Bools, b: Bools) -> float:
    return float(np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1))


@dataclass(frozen=True, eq=False)
class Picture:
    """A person's image, with the truth."""

    name: str
    image: Image
    truth: Labels


def run(pictures: Sequence[Picture], model: Model) -> list[Work]:
    """Correct pictures one after the other."""
    annotator, done = Annotator(model), []
    for picture in pictures:
        done.append(annotator.correct(picture.image, picture.truth))
        print(f"  {picture.name}: {done[-1].actions.total} actions for {done[-1].n_cells} cells", flush=True)
    return done


def summary(works: Sequence[Work]) -> str:
    """Return actions per picture and per cell, and F1, in a line."""
    n_cells, actions = sum(w.n_cells for w in works), sum((w.actions for w in works), Actions())
    counts = sum((w.counts for w in works), Counts(0, 0, 0))
    parts = ", ".join(f"{name} {n}" for name, n in asdict(actions).items())
    each = f"{actions.total / len(works):8.1f} a picture {actions.total / max(n_cells, 1):7.2f} a cell"
    return f"{each}   F1@0.6 {counts.f1:.3f}   ({n_cells} cells: {parts})"


class Learner:
    """Retrains the model in use on all corrected pictures, as the plugin does."""

    def __init__(self, parent: str, minutes: float) -> None:
        self._parent, self._minutes = parent, minutes
        self.corrected: list[RetrainingPicture] = []

    def add(self, pictures: Sequence[Picture], works: Sequence[Work]) -> None:
        """Take corrected pictures on."""
        for picture, work in zip(pictures, works, strict=True):
            known = np.ones(work.labels.shape, bool)
            self.corrected.append(RetrainingPicture(picture.image, work.labels, known, picture.name, picture.name))

    def learn(self, name: str) -> Model:
        """Return a new model."""
        task = Retraining(name, self._parent, Lessons(tuple(self.corrected)), FinetuneOptions(minutes=self._minutes))
        record = run_steps(retrain_steps(task))
        f1 = f"F1 {record.before.f1:.3f} before, {record.after.f1:.3f} after"
        iou = f"IoU after a click {record.before.click_iou:.3f}, {record.after.click_iou:.3f}"
        print(f"  {name}: {record.steps} steps; held-out cells of these pictures: {f1}; {iou}", flush=True)
        self._parent = name
        return load_model(name)


def pictures_of(folder: Path, source: str, named: str = "", n_parts: int = 2) -> list[list[Picture]]:
    """Return the parts, quarters by default, of each picture of a source that no shipped model has learned from."""
    result = []
    for entry in list_entries(folder, "val"):
        if entry.source != source or named not in entry.image.name:
            continue
        image, truth = read_image(entry.image), np.asarray(read_labels(entry.mask), np.uint32)
        truth = without_slivers(truth)
        spans = [[slice(n * i // n_parts, n * (i + 1) // n_parts) for i in range(n_parts)] for n in truth.shape]
        parts = []
        for i, (rows, columns) in enumerate(product(*spans)):
            part = replace(image, pixels=np.ascontiguousarray(image.pixels[rows, columns]))
            labels = without_slivers(truth[rows, columns], truth)
            if labels.any():
                parts.append(Picture(f"{entry.image.stem}, part {i + 1}", part, relabel(labels)))
        result.append(parts)
    return result


def turned(picture: Picture, n: int) -> Picture:
    """Return a picture after n quarter turns."""
    image = replace(picture.image, pixels=np.ascontiguousarray(np.rot90(picture.image.pixels, n)))
    return Picture(f"{picture.name}, turned {90 * n}", image, np.ascontiguousarray(np.rot90(picture.truth, n)))


def without_slivers(labels: Labels, like: Labels | None = None) -> Labels:
    """Return labels without what is too small for a cell, by the median area of the cells of a picture."""
    areas = np.bincount((labels if like is None else like).ravel())[1:]
    small = np.bincount(labels.ravel()) < _SLIVER * np.median(areas[areas > 0])
    return np.where(small[labels], 0, labels).astype(np.uint32)


def relabel(labels: Labels) -> Labels:
    """Return labels 1..N without gaps."""
    numbers = np.unique(labels)
    return np.searchsorted(numbers[numbers > 0], labels, side="right").astype(np.uint32) * (labels > 0)


def report(
    whole: Sequence[Sequence[Picture]], source: str, parent: str, learn: Sequence[int], minutes: float, most: int
) -> list[str]:
    """Correct a source's pictures, retraining on the way; return the lines of the table."""
    parts = [part for picture in whole for part in picture]
    pool, rest = parts[: max(learn)], parts[max(learn) :]
    elsewhere = [part for picture in whole if not any(part in pool for part in picture) for part in picture]
    judged = [turned(part, n) for part in (elsewhere or rest)[:most] for n in range(_TURNS)]
    if not judged or len(pool) < max(learn):
        raise typer.BadParameter(f"{source} has too few pictures to learn from {max(learn)} and go on")
    model, learner = load_model(parent), Learner(parent, minutes)
    lines = [f"{source}, {parent:18}{summary(run(judged, model))}"]
    for n_learned in sorted(learn):
        newest = pool[len(learner.corrected) : n_learned]
        learner.add(newest, run(newest, model))
        model = learner.learn(f"{source}-{n_learned}".replace("_", "-"))
        lines.append(f"{source}, after {n_learned:<12}{summary(run(judged, model))}")
        print(lines[-1], flush=True)
    return lines


def main(  # noqa: PLR0913 - each argument is an option
    folder: Path,
    sources: list[str],
    learn: Annotated[list[int] | None, typer.Option(help="Retrain after so many corrected pictures.")] = None,
    minutes: Annotated[float, typer.Option(help="Of each training.")] = 6.0,
    most: Annotated[int, typer.Option(help="Following pictures of each source, at most.")] = 40,
    model: str = "compact",
    named: Annotated[str, typer.Option(help="Only files whose names hold this.")] = "",
    parts: Annotated[int, typer.Option(help="Parts along each side of a file.", min=1)] = 2,
) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as kept:
        for name in ("MODELS", "TRAINING"):
            os.environ[f"NAPARI_CELLSAM_{name}_DIR"] = str(Path(kept) / name)
        tables = [
            report(pictures_of(folder, source, named, parts), source, model, learn or [5, 10], minutes, most)
            for source in sources
        ]
    for lines in tables:
        print("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
