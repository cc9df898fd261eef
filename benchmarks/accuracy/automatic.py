"""Print how well a model finds and outlines cells, beside classical segmentation, by source.

Usage: python benchmarks/accuracy/automatic.py FOLDER [--model compact] [--split val] [--sheet sheet.png]

FOLDER is a data set as `napari-cellsam train` takes it. For every source: F1 at IoU 0.6 of the model and of scikit-
image's Otsu threshold with distance watershed on the same pictures; median and mean IoU of each cell's mask after
one click at its innermost point. ``--sheet`` draws results (true outlines green, the model's magenta).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from napari_cellsam.data.dataset import DatasetEntry, list_entries
from napari_cellsam.data.prepare import prepare
from napari_cellsam.data.read import read_image
from napari_cellsam.engine import Model, load_model
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.metrics.matching import Counts, find_overlaps, match_overlaps
from napari_cellsam.training.validation import counts_by_source, one_click_ious
from napari_cellsam.types import Image

_IOU = 0.6
_THUMBNAIL = 360  # pixels


def main(
    folder: Path,
    model: str = "compact",
    split: str = "val",
    device: str = "auto",
    precision: str = "auto",
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet here.")] = None,
    clicks: Annotated[bool, typer.Option(help="Also measure one click per cell.")] = True,
) -> None:
    """Print the table."""
    entries = list_entries(folder, split)
    loaded = load_model(model, device, precision)
    found = counts_by_source(loaded, entries)[None]
    classical = _classical_counts(entries)
    ious = one_click_ious(loaded, entries) if clicks else {}
    print(f"{'source':24}{'cells':>7}{'F1@0.6':>9}{'prec.':>8}{'recall':>8}{'Otsu F1':>9}{'click med.':>12}{'mean':>7}")
    for source in sorted(found):
        counts, ours = found[source], ious.get(source)
        n = counts.true_positives + counts.false_negatives
        click = f"{np.median(ours):12.3f}{ours.mean():7.3f}" if ours is not None else ""
        print(
            f"{source:24}{n:7}{counts.f1:9.3f}{counts.precision:8.3f}{counts.recall:8.3f}{classical[source].f1:9.3f}{click}"
        )
    if sheet:
        _draw_sheet(loaded, entries, sheet)


def _classical_counts(entries: list[DatasetEntry]) -> dict[str, Counts]:
    result: dict[str, Counts] = defaultdict(lambda: Counts(0, 0, 0))
    for entry in entries:
        labels = otsu_watershed(read_image(entry.image))
        result[entry.source] += match_overlaps(find_overlaps(read_labels(entry.mask), labels), _IOU).counts
    return result


def otsu_watershed(image: Image) -> NDArray[Any]:
    """Return scikit-image's classical answer: Otsu's threshold, then a watershed on the distance to the background."""
    from scipy.ndimage import distance_transform_edt, label
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.segmentation import watershed

    grey = gaussian(prepare(image, clahe=False).max(0), 1)
    if image.rgb:
        grey = -grey  # stained on a bright ground
    if grey.min() == grey.max():
        return np.zeros(image.shape, np.int32)
    mask = grey > threshold_otsu(grey)
    depth = distance_transform_edt(mask)
    seeds = np.zeros(image.shape, bool)
    seeds[tuple(peak_local_max(depth, min_distance=5, labels=label(mask)[0]).T)] = True
    result: NDArray[Any] = watershed(-depth, label(seeds)[0], mask=mask)
    return result


def _draw_sheet(model: Model, entries: list[DatasetEntry], path: Path, per_source: int = 12) -> None:
    import imageio.v3 as iio

    tiles: list[NDArray[np.uint8]] = []
    drawn: dict[str, int] = defaultdict(int)
    for entry in entries:
        if drawn[entry.source] < per_source:
            drawn[entry.source] += 1
            image = read_image(entry.image)
            tiles.append(_tile(image, read_labels(entry.mask), model.segment(image).labels))
    n_across = 6
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % n_across)
    rows = [np.concatenate(tiles[i : i + n_across], 1) for i in range(0, len(tiles), n_across)]
    iio.imwrite(path, np.concatenate(rows, 0))


def _tile(image: Image, true: NDArray[Any], found: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a thumbnail ``(side, side, 3)``: the corner of the picture, enlarged or shrunk by a whole factor."""
    from skimage.segmentation import find_boundaries

    step = max(1, max(image.shape) // (2 * _THUMBNAIL))
    side = _THUMBNAIL * step
    grey = prepare(image)[:, :side, :side].max(0)
    picture = np.repeat((grey * 200).astype(np.uint8)[..., None], 3, 2)
    picture[find_boundaries(true[:side, :side], mode="inner")] = (0, 255, 0)
    picture[find_boundaries(found[:side, :side], mode="inner")] = (255, 0, 255)
    picture = picture[::step, ::step]
    pad = [(0, _THUMBNAIL - n) for n in picture.shape[:2]]
    return np.pad(picture, [*pad, (0, 0)])


if __name__ == "__main__":
    typer.run(main)
