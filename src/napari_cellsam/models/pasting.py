"""Decoded logits, brought from a network's window to the pixels of the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.geometry import hat_matrix
from napari_cellsam.types import LowResLogits, Mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.geometry import Frame
    from napari_cellsam.models.backend import Decoded

__all__ = ["paste"]


def paste(
    decoded: Decoded, frame: Frame, shape: tuple[int, int], threshold: float, *, keep_logits: bool = False
) -> Mask:
    """Return a decoded mask in pixels of the image.

    Parameters
    ----------
    decoded
        What the network answered.
    frame
        Where its picture lies in the image.
    shape
        ``(Y, X)`` of the image; the mask ends at its border and at the frame's.
    threshold
        Probability from which a pixel belongs to the cell, 0 to 1.
    keep_logits
        Whether the mask carries the logits.

    Returns
    -------
    Mask
        Cut to its bounding box; a crop of ``(0, 0)`` when nothing is above the threshold.
    """
    edges = frame.edges_to_image(decoded.window[None])[0]
    top, left, bottom, right = map(float, edges)
    low_res = LowResLogits(decoded.logits, (top, left, bottom, right)) if keep_logits else None
    score = float(np.clip(decoded.predicted_iou, 0, 1))
    start = [max(math.floor(edges[i]), frame.region[i], 0) for i in (0, 1)]
    stop = [min(math.ceil(edges[i + 2]), frame.region[i + 2], shape[i]) for i in (0, 1)]
    if stop[0] <= start[0] or stop[1] <= start[1]:
        return Mask(np.zeros((0, 0), bool), (max(start[0], 0), max(start[1], 0)), score, low_res=low_res)
    down, across = (_resample(decoded, frame, axis, start[axis], stop[axis]) for axis in (0, 1))
    logits = down @ decoded.logits @ across.T
    inside = logits > math.log(threshold / (1 - threshold))
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows) == 0:
        return Mask(np.zeros((0, 0), bool), (start[0], start[1]), score, low_res=low_res)
    cut = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    probability = np.rint(255 / (1 + np.exp(-np.clip(logits[cut], -30, 30)))).astype(np.uint8)
    corner = (int(start[0] + rows[0]), int(start[1] + columns[0]))
    return Mask(inside[cut].copy(), corner, score, probability, low_res)


def _resample(decoded: Decoded, frame: Frame, axis: int, start: int, stop: int) -> NDArray[np.float32]:
    """Return the interpolation matrix from the logits' grid to image pixels ``start`` to ``stop`` along an axis.

    As in SAM, the grid is first scaled to the network's picture and from there to the image, both bilinear with aligned
    outer edges.
    """
    first, last = decoded.window[1 - axis], decoded.window[3 - axis]  # the window is x before y
    n_grid, zoom = decoded.logits.shape[axis], frame.zoom[axis]
    low = max(math.floor(first), 0)
    n_picture = min(math.ceil(last), frame.size[axis]) - low
    per_grid = n_grid / (last - first)
    to_picture = hat_matrix(n_grid, (low + 0.5 - first) * per_grid - 0.5, per_grid, n_picture)
    at = (start + 0.5 - frame.region[axis]) * zoom - 0.5 - low
    to_image = hat_matrix(n_picture, at, zoom, stop - start)
    result: NDArray[np.float32] = to_image @ to_picture
    return result
