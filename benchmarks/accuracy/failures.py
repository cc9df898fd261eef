"""Print in what ways a model fails, by source, and draw the worst cells.

Usage: python benchmarks/accuracy/failures.py FOLDER [--model compact] [--split val] [--sheet worst.png]

FOLDER is a data set as `napari-cellsam train` takes it. Every true cell without an outline of IoU 0.6 or more is of one
kind, the first that fits:

- merged: an outline covers half or more of it and of another cell;
- missed: no outline covers a quarter of it;
- split: several outlines lie mostly in it and cover a quarter of it each;
- large, small: its outline is larger, smaller than it;

and outlines that lie mostly on background are invented. The sheet shows the 24 worst cells: by IoU, then the largest
first, at most three of a picture (true outlines green, the model's magenta, the cell's own thick).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from napari_cellsam.data.dataset import list_entries
from napari_cellsam.data.prepare import prepare
from napari_cellsam.data.read import read_image
from napari_cellsam.engine import load_model
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.labels import relabel_sequential
from napari_cellsam.types import Image

_RIGHT = 0.6  # IoU
_KINDS = ("right", "missed", "merged", "split", "large", "small", "invented")
_WORST, _OF_PICTURE, _ACROSS = 24, 3, 6
_TILE = 220  # pixels of the sheet
_AROUND = 1.2  # of a cell's longer side, shown on each side of it

Labels = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Failure:
    """A true cell that has no right outline."""

    kind: str
    iou: float
    number: int
    box: tuple[slice, slice]
    area: int


def failures_of(true: Labels, found: Labels) -> tuple[list[Failure], int]:
    """Return the cells of ``(Y, X)`` labels that a model got wrong, and the number of outlines that it invented."""
    from scipy.ndimage import find_objects

    numbers = np.unique(true[true > 0])
    true, found = relabel_sequential(true), relabel_sequential(found)  # numbers may be anything up to 2**32
    shared = np.zeros((int(true.max()) + 1, int(found.max()) + 1), np.int64)
    np.add.at(shared, (true, found), 1)
    areas, outlines = shared.sum(1), shared.sum(0)
    invented = int((2 * shared[0, 1:] > outlines[1:]).sum())
    both = shared[1:, 1:]
    iou = both / np.maximum(areas[1:, None] + outlines[None, 1:] - both, 1)
    covers = both >= 0.5 * np.maximum(areas[1:, None], 1)  # an outline covers half of a cell
    result = []
    for i, box in enumerate(find_objects(true.astype(np.int32))):
        best = float(iou[i].max(initial=0))
        if best < _RIGHT:
            kind = _kind(both[i], areas[i + 1], outlines[1:], covers[i], covers.sum(0))
            result.append(Failure(kind, best, int(numbers[i]), box, int(areas[i + 1])))
    return result, invented


def _kind(both: Any, area: int, outlines: Any, covers: Any, n_covered: Any) -> str:
    """Return how a cell is wrong, from the pixels that it shares with each outline."""
    if (covers & (n_covered > 1)).any():
        return "merged"
    if (both < 0.25 * area).all():
        return "missed"
    if ((both >= 0.25 * area) & (2 * both > outlines)).sum() > 1:
        return "split"
    return "large" if outlines[both.argmax()] > area else "small"


def tile_of(image: Image, true: Labels, found: Labels, failure: Failure) -> NDArray[np.uint8]:
    """Return a cell with its surroundings, ``(side, side, 3)``."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw

    rows, columns = failure.box
    reach = int((0.5 + _AROUND) * max(rows.stop - rows.start, columns.stop - columns.start)) + 4
    y, x = (rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2
    cut = np.s_[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
    grey = prepare(image, clahe=False).max(0)[cut]
    grey = (255 * (grey - grey.min()) / max(float(np.ptp(grey)), 1e-6)).astype(np.uint8)
    zoom = max(_TILE // max(grey.shape), 1)
    large, truth, ours = (np.kron(part, np.ones((zoom, zoom), part.dtype)) for part in (grey, true[cut], found[cut]))
    picture = np.repeat(large[..., None], 3, 2)
    picture[_border(truth)] = (0, 160, 0)
    picture[_border(truth == failure.number, 2)] = (0, 255, 0)
    picture[_border(ours)] = (255, 0, 255)
    canvas = PillowImage.new("RGB", (_TILE, _TILE + 14))
    canvas.paste(PillowImage.fromarray(picture[:_TILE, :_TILE]))
    ImageDraw.Draw(canvas).text((2, _TILE), f"{failure.kind}, IoU {failure.iou:.2f}", fill="white")
    return np.asarray(canvas)


def _border(labels: Labels, width: int = 1) -> NDArray[np.bool_]:
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * width + 1
    return (maximum_filter(labels, size) != minimum_filter(labels, size)) & (labels > 0)


def main(
    folder: Path,
    model: str = "compact",
    split: str = "val",
    device: str = "auto",
    sheet: Annotated[Path | None, typer.Option(help="Draw the worst cells here.")] = None,
) -> None:
    """Print the table."""
    loaded = load_model(model, device)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    worst: list[tuple[float, int, NDArray[np.uint8]]] = []
    for entry in list_entries(folder, split):
        image, true = read_image(entry.image), read_labels(entry.mask)
        found = loaded.segment(image).labels
        failures, invented = failures_of(true, found)
        count = counts[entry.source]
        count.update(failure.kind for failure in failures)
        count.update({"invented": invented, "right": len(np.unique(true[true > 0])) - len(failures)})
        chosen = sorted(failures, key=lambda f: (f.iou, -f.area))[:_OF_PICTURE] if sheet else []
        worst += [(f.iou, -f.area, tile_of(image, true, found, f)) for f in chosen]
        worst = sorted(worst, key=lambda item: item[:2])[:_WORST]
    print(f"{'source':24}" + "".join(f"{kind:>10}" for kind in _KINDS))
    for source in sorted(counts):
        print(f"{source:24}" + "".join(f"{counts[source][kind]:10}" for kind in _KINDS))
    if sheet and worst:
        import imageio.v3 as iio

        tiles = [tile for *_, tile in worst]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _ACROSS)
        iio.imwrite(sheet, np.vstack([np.hstack(tiles[i : i + _ACROSS]) for i in range(0, len(tiles), _ACROSS)]))


if __name__ == "__main__":
    typer.run(main)
