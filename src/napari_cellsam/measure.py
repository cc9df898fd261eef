"""The measurements of the cells of a plane: place, size, shape and intensity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.export.cell_set import used_labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_cellsam.types import Image

__all__ = ["measure_cells"]

_TOGETHER = 64  # cells between two looks at whether somebody wants to stop
_SHAPES = {
    "area_px": "area",
    "equivalent_diameter_px": "equivalent_diameter_area",
    "perimeter_px": "perimeter",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
}


def measure_cells(
    labels: ArrayLike,
    image: Image | None = None,
    pixel_size_um: tuple[float, float] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Measure every cell of a plane.

    Parameters
    ----------
    labels
        ``(Y, X)`` of whole numbers, 0 background; numbers may have gaps, and a cell several pieces.
    image
        What the intensities are measured in; none if None.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres; the image's if None.
    on_progress
        Called now and then with the number of cells done, and of all. What it raises ends the measuring.

    Returns
    -------
    dict
        Columns of one row a cell, by rising label: ``label``; ``area_px`` and ``equivalent_diameter_px`` (of the circle
        of that area), also ``_um2`` and ``_um`` where the size of a pixel is known; ``centroid_y`` and ``centroid_x``
        in pixels, (0, 0) the centre of the first; ``perimeter_px``, ``eccentricity`` (0 of a circle) and ``solidity``
        (1 of a convex cell), of the pixels as if they were square; ``mean_``, ``min_`` and ``max_intensity_`` for each
        channel, as acquired.

    Raises
    ------
    ImageShapeError
        If the labels are none, or not of the shape of the image.
    OptionError
        If a pixel has no size.
    """
    plane = _checked(labels, image)
    size_um = pixel_size_um or (image.pixel_size_um if image is not None else None)
    if size_um is not None and not (min(size_um) > 0 and np.isfinite(size_um).all()):
        raise OptionError(f"the pixel size is {size_um}; expected two numbers of micrometres above 0")
    used = used_labels(plane)
    rows: list[tuple[float, ...]] = []
    for region in _regions(plane, used):
        if on_progress is not None and len(rows) % _TOGETHER == 0:
            on_progress(len(rows), len(used))
        rows.append(_measure(region, image))
    if on_progress is not None:
        on_progress(len(used), len(used))
    names = [*_SHAPES, "centroid_y", "centroid_x", *_intensity_names(image)]
    table = np.array(rows, np.float64).reshape(len(used), len(names))
    return _in_order(used, dict(zip(names, table.T, strict=True)), size_um)


def _checked(labels: ArrayLike, image: Image | None) -> NDArray[np.uint32]:
    """Return labels as they can be measured."""
    plane = np.asarray(labels)
    if plane.ndim != 2 or plane.size == 0 or plane.dtype.kind not in "bui":
        raise ImageShapeError(
            f"got labels of shape {plane.shape} and type {plane.dtype}; expected (Y, X) of whole numbers. Measure a "
            "stack plane by plane."
        )
    if plane.dtype.kind == "i" and plane.min() < 0:
        raise ImageShapeError(f"got labels down to {plane.min()}; expected whole numbers from 0")
    if plane.dtype.itemsize == 8 and plane.max() >= 2**32:
        raise ImageShapeError(f"got labels up to {plane.max()}; expected at most {2**32 - 1}")
    if image is not None and image.shape != plane.shape:
        raise ImageShapeError(f"got labels of shape {plane.shape} for an image of shape {image.shape}")
    return plane.astype(np.uint32, copy=False)


def _regions(labels: NDArray[np.uint32], used: NDArray[np.uint32]) -> Iterator[Any]:
    """Yield scikit-image's view of each cell, in the order of the labels."""
    from skimage.measure import regionprops

    places = np.empty(
        labels.shape, np.int32
    )  # numbers without gaps: scikit-image makes room for each up to the highest
    for row, place in zip(labels, places, strict=True):
        place[:] = np.where(row > 0, np.searchsorted(used, row) + 1, 0)
    yield from regionprops(places)  # type: ignore[no-untyped-call]


def _measure(region: Any, image: Image | None) -> tuple[float, ...]:
    values = [float(getattr(region, name)) for name in _SHAPES.values()] + [float(at) for at in region.centroid]
    if image is not None:
        inside = image.pixels[region.slice][region.image]
        for channel in inside.T:
            values += [float(channel.mean(dtype=np.float64)), float(channel.min()), float(channel.max())]
    return tuple(values)


def _intensity_names(image: Image | None) -> list[str]:
    titles = () if image is None else image.channel_titles
    return [f"{what}_intensity_{title}" for title in titles for what in ("mean", "min", "max")]


def _in_order(
    used: NDArray[np.uint32], measured: dict[str, NDArray[Any]], size_um: tuple[float, float] | None
) -> dict[str, NDArray[Any]]:
    """Return columns in the order in which they are read, with those in micrometres."""
    columns: dict[str, NDArray[Any]] = {"label": used, "area_px": measured.pop("area_px").astype(np.int64)}
    if size_um is not None:
        columns["area_um2"] = columns["area_px"] * (size_um[0] * size_um[1])
    columns |= {name: measured.pop(name) for name in ("centroid_y", "centroid_x", "equivalent_diameter_px")}
    if size_um is not None:
        columns["equivalent_diameter_um"] = np.sqrt(4 * columns["area_um2"] / np.pi)
    return columns | measured
