"""Print what changes of a picture that leave its cells alone do to what a model finds.

Usage: python benchmarks/accuracy/robustness.py FOLDER [--model compact] [--split val] [--every 1]

FOLDER is a data set as `napari-cellsam train` takes it. Every picture is segmented as it is and changed: turned,
mirrored, brighter, with less contrast, other gamma, noise and blur, shrunk and enlarged, in other bits, as JPEG.
Printed are F1 at IoU 0.6 by source and how far the mean over sources falls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import imageio.v3 as iio
import numpy as np
import typer
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import resize

from napari_cellsam.data.dataset import list_entries
from napari_cellsam.data.read import read_image
from napari_cellsam.engine import load_model
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.metrics.matching import Counts, find_overlaps, match_overlaps

_IOU = 0.6

Pixels = NDArray[Any]
Labels = NDArray[Any]
Change = Callable[[Pixels, Labels], tuple[Pixels, Labels]]


def on_values(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Change:
    """Return a change of a picture's values, which it gets in 0-1 of its own range, and gives back in its own type."""

    def changed(pixels: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
        low, high = float(pixels.min()), float(pixels.max())
        values = np.clip(change((pixels.astype(float) - low) / max(high - low, 1e-9)), 0, 1)
        return (low + values * (high - low)).astype(pixels.dtype), labels

    return changed


def scaled(factor: float) -> Change:
    """Return a change of size."""

    def changed(pixels: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
        shape = tuple(round(n * factor) for n in labels.shape)
        picture = resize(pixels, (*shape, pixels.shape[2]), order=1, anti_aliasing=factor < 1, preserve_range=True)
        return picture.astype(pixels.dtype), resize(labels, shape, order=0, preserve_range=True, anti_aliasing=False)

    return changed


def in_bits(dtype: type[np.unsignedinteger[Any]]) -> Change:
    """Return a change to another type, in which the picture uses a quarter of the range, as cameras do."""

    def changed(pixels: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
        low, high = float(pixels.min()), float(pixels.max())
        most = np.iinfo(dtype).max if dtype is np.uint8 else np.iinfo(dtype).max // 4
        return ((pixels.astype(float) - low) / max(high - low, 1e-9) * most).astype(dtype), labels

    return changed


def as_jpeg(pixels: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
    """Compress and read again, as 8 bits."""
    small, _ = in_bits(np.uint8)(pixels, labels)
    channels = [
        iio.imread(iio.imwrite("<bytes>", small[..., i], extension=".jpg", quality=75)) for i in range(small.shape[2])
    ]
    return np.stack(channels, -1), labels


def noisy(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add noise of a twentieth of the range."""
    noise = np.random.default_rng(0).normal(0, 0.05, values.shape)
    return np.asarray(values + noise)


CHANGES: dict[str, Change] = {
    "as it is": lambda pixels, labels: (pixels, labels),
    "turned by 90 degrees": lambda pixels, labels: (np.rot90(pixels).copy(), np.rot90(labels).copy()),
    "turned by 180 degrees": lambda pixels, labels: (np.rot90(pixels, 2).copy(), np.rot90(labels, 2).copy()),
    "mirrored": lambda pixels, labels: (pixels[:, ::-1].copy(), labels[:, ::-1].copy()),
    "brighter by 0.2": on_values(lambda values: values + 0.2),
    "half the contrast": on_values(lambda values: 0.25 + values / 2),
    "gamma 0.7": on_values(lambda values: values**0.7),
    "gamma 1.4": on_values(lambda values: values**1.4),
    "noise, sigma 0.05": on_values(noisy),
    "blur, sigma 1.5 px": on_values(lambda values: ndimage.gaussian_filter(values, (1.5, 1.5, 0))),
    "scaled by 0.6": scaled(0.6),
    "scaled by 1.4": scaled(1.4),
    "8 bits": in_bits(np.uint8),
    "14 of 16 bits": in_bits(np.uint16),
    "JPEG, quality 75": as_jpeg,
}


def main(
    folder: Path,
    model: str = "compact",
    split: str = "val",
    device: str = "auto",
    every: Annotated[int, typer.Option(help="Take every so many pictures of a source only.")] = 1,
) -> None:
    """Print the table."""
    loaded = load_model(model, device)
    by_source: dict[str, list[Any]] = defaultdict(list)
    for entry in list_entries(folder, split):
        by_source[entry.source].append(entry)
    sources, plain = sorted(by_source), 0.0
    print(f"{'change':24}" + "".join(f"{source:>18}" for source in sources) + f"{'mean':>8}{'falls by':>10}")
    for name, change in CHANGES.items():
        f1 = []
        for source in sources:
            counts = Counts(0, 0, 0)
            for entry in by_source[source][::every]:
                image = read_image(entry.image)
                pixels, labels = change(image.pixels, read_labels(entry.mask))
                found = loaded.segment(replace(image, pixels=pixels))
                counts += match_overlaps(find_overlaps(labels, found.labels), _IOU).counts
            f1.append(counts.f1)
        mean = float(np.mean(f1))
        plain = plain or mean
        print(f"{name:24}" + "".join(f"{value:18.3f}" for value in f1) + f"{mean:8.3f}{plain - mean:10.3f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
