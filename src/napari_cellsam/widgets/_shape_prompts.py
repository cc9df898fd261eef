"""The shape as a prompt: boxes, polygons and scribbles in pixels of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.types import Mask, Prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DrawnPrompt", "box_prompt", "polygon_prompt", "sample_path"]

_SMALLEST_PX = 2.0
_AGREEMENT = 0.3  # of the polygon, and of the model's cell, that both must have
_COARSE_PX = 128  # side of the grid on which places deep inside a polygon are looked for
_MOST_POINTS = 3  # with the two corners of the box, as many as the model has met in training
_MOST_ALONG = 8
_EVERY_PX = 4.0


@dataclass(frozen=True, eq=False)
class DrawnPrompt:
    """What the user drew, as the model is asked.

    Attributes
    ----------
    prompt
        The question.
    polygon
        ``(N, 2)`` corners ``(y, x)`` that the cell does not leave, or None.
    """

    prompt: Prompt
    polygon: NDArray[np.float64] | None = None

    def outcome(self, mask: Mask, shape: tuple[int, int]) -> tuple[Mask, bool]:
        """Return the cell, and whether it is the outline as it was drawn.

        A polygon is a promise: the cell lies in it, so the model's answer is cut off at it. Where the answer has
        nothing to do with it - less than three tenths of the polygon are cell, or less than three tenths of the
        answer lie in the polygon - the person knows better, and the polygon is the cell.

        Parameters
        ----------
        mask
            The model's answer.
        shape
            Height and width of the picture.
        """
        if self.polygon is None:
            return mask, False
        drawn = _filled(self.polygon, shape)
        common = _common(mask, drawn)
        if common.area < _AGREEMENT * max(drawn.area, mask.area, 1):
            return drawn, True
        return common, False


def box_prompt(corners: NDArray[np.float64], shape: tuple[int, int]) -> DrawnPrompt | None:
    """Return a rectangle or an ellipse as a box; None if too little of it lies in the picture.

    Parameters
    ----------
    corners
        ``(4, 2)`` corners ``(y, x)``; of a turned one, the box around it is meant.
    shape
        Height and width of the picture.
    """
    low = np.maximum(corners.min(0) + 0.5, 0)  # from the edges of pixels to their centres
    high = np.minimum(corners.max(0) - 0.5, np.array(shape) - 1)
    if (high - low < _SMALLEST_PX - 1).any():
        return None
    return DrawnPrompt(Prompt(box=(low[0], low[1], high[0], high[1])))


def polygon_prompt(corners: NDArray[np.float64], shape: tuple[int, int]) -> DrawnPrompt | None:
    """Return a polygon as the box around it and places deep inside; None if too little of it lies in the picture.

    Parameters
    ----------
    corners
        ``(N, 2)`` corners ``(y, x)``.
    shape
        Height and width of the picture.
    """
    inside = np.clip(corners, -0.5, np.array(shape) - 0.5)
    boxed = box_prompt(inside, shape) if len(corners) >= 3 else None
    if boxed is None:
        return None
    points = _deep_places(inside)
    if len(points) == 0:
        return None
    return DrawnPrompt(Prompt(inside=points, box=boxed.prompt.box), np.asarray(corners, np.float64))


def sample_path(path: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return places ``(n, 2)`` evenly along a line, at most eight, those in the picture.

    Parameters
    ----------
    path
        ``(N, 2)`` corners ``(y, x)``.
    shape
        Height and width of the picture.
    """
    steps = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))))
    n_places = int(np.clip(np.ceil(steps[-1] / _EVERY_PX) + 1, 1, _MOST_ALONG))
    at = np.linspace(0, steps[-1], n_places)
    places = np.stack([np.interp(at, steps, path[:, axis]) for axis in (0, 1)], axis=1)
    held = ((places >= -0.5) & (places < np.array(shape) - 0.5)).all(1)
    return np.asarray(places[held])


def _deep_places(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return up to three places in a polygon, far from its border and from each other; the deepest first."""
    from scipy.ndimage import distance_transform_edt

    low = corners.min(0)
    step = max(float(np.ptp(corners, axis=0).max()) / _COARSE_PX, 1e-3)
    grid = np.ceil(np.ptp(corners, axis=0) / step).astype(int) + 1
    inside = _fill((corners - low) / step, (int(grid[0]), int(grid[1])))
    depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    places: list[tuple[int, int]] = []
    apart = np.full(inside.shape, np.inf)
    rows, columns = np.indices(inside.shape)
    candidates = depth >= 0.5 * depth.max()
    while inside.any() and len(places) < _MOST_POINTS:
        worth = depth if not places else np.where(candidates, apart, 0)
        y, x = np.unravel_index(int(worth.argmax()), worth.shape)
        if worth[y, x] < 0.5 * depth.max():
            break
        places.append((int(y), int(x)))
        apart = np.minimum(apart, np.hypot(rows - y, columns - x))
    return np.asarray(low + np.array(places, np.float64).reshape(-1, 2) * step)


def _filled(polygon: NDArray[np.float64], shape: tuple[int, int]) -> Mask:
    """Return the pixels whose centres lie in a polygon, as far as they lie in the picture."""
    low = np.clip(np.floor(polygon.min(0)).astype(int), 0, shape)
    high = np.clip(np.ceil(polygon.max(0)).astype(int) + 1, low, shape)
    crop = _fill(polygon - low, (int(high[0] - low[0]), int(high[1] - low[1])))
    return Mask(crop, (int(low[0]), int(low[1])), 1.0)


def _fill(polygon: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    from skimage.draw import polygon as pixels_in

    filled = np.zeros(shape, bool)
    filled[pixels_in(polygon[:, 0], polygon[:, 1], shape)] = True  # type: ignore[no-untyped-call]
    return filled


def _common(mask: Mask, other: Mask) -> Mask:
    """Return the pixels that two masks share, with the score of the first."""
    low = np.maximum(mask.corner, other.corner)
    high = np.minimum(
        np.add(mask.corner, mask.crop.shape),
        np.add(other.corner, other.crop.shape),
    )
    if (high <= low).any():
        return Mask(np.zeros((0, 0), bool), (0, 0), mask.score)
    parts = [
        each.crop[tuple(slice(a - c, b - c) for a, b, c in zip(low, high, each.corner, strict=True))]
        for each in (mask, other)
    ]
    return Mask(parts[0] & parts[1], (int(low[0]), int(low[1])), mask.score)
