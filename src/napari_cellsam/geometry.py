"""Frames of reference: from image pixels ``(y, x)`` to a network's picture ``(x, y)`` and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cellsam.errors import PromptError

if TYPE_CHECKING:
    from napari_cellsam.types import Prompt

__all__ = ["Frame", "boxes_to_xyxy", "boxes_to_yxyx", "check_near", "check_prompt", "hat_matrix"]

_LEAST_MARGIN = 4096  # pixels, for boxes that are larger than a small image


@dataclass(frozen=True)
class Frame:
    """A region of an image as a network sees it.

    Attributes
    ----------
    region
        ``(y0, x0, y1, x1)`` whole pixels of the image, the end excluded; may reach beyond the image, where the picture
        is blank.
    size
        ``(height, width)`` of the network's picture in its own pixels.
    half_pixel
        True maps the outer edges onto each other (centres shift by half a pixel); False multiplies coordinates only, as
        the published package does.
    """

    region: tuple[int, int, int, int]
    size: tuple[int, int]
    half_pixel: bool = True

    @property
    def zoom(self) -> tuple[float, float]:
        """Picture pixels per image pixel, ``(y, x)``."""
        y0, x0, y1, x1 = self.region
        return self.size[0] / (y1 - y0), self.size[1] / (x1 - x0)

    def points_to_picture(self, points_yx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(..., 2)`` points ``(y, x)`` of the image to ``(x, y)`` of the picture."""
        half = 0.5 if self.half_pixel else 0.0
        mapped = (points_yx - np.array(self.region[:2]) + half) * np.array(self.zoom) - half
        return np.asarray(mapped[..., ::-1], np.float32)

    def points_to_image(self, points_xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(..., 2)`` points ``(x, y)`` of the picture to ``(y, x)`` of the image."""
        half = 0.5 if self.half_pixel else 0.0
        mapped = (points_xy[..., ::-1] + half) / np.array(self.zoom) - half + np.array(self.region[:2])
        return np.asarray(mapped, np.float32)

    def boxes_to_picture(self, boxes_yxyx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(N, 4)`` boxes of the image to x0, y0, x1, y1 of the picture."""
        return self.points_to_picture(boxes_yxyx.reshape(-1, 2, 2)).reshape(-1, 4)

    def boxes_to_image(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(N, 4)`` boxes x0, y0, x1, y1 of the picture to y0, x0, y1, x1 of the image."""
        return self.points_to_image(boxes_xyxy.reshape(-1, 2, 2)).reshape(-1, 4)

    def edges_to_image(self, edges_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(N, 4)`` outer edges x0, y0, x1, y1 of areas of the picture to y0, x0, y1, x1 edges of the image.

        Edges are counted from the outer corner of the first pixel, so no half pixel enters.
        """
        scaled = boxes_to_yxyx(edges_xyxy) / np.tile(self.zoom, 2) + np.tile(self.region[:2], 2)
        return np.asarray(scaled, np.float32)

    def edges_to_picture(self, edges_yxyx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map ``(N, 4)`` outer edges y0, x0, y1, x1 of areas of the image to x0, y0, x1, y1 edges of the picture."""
        scaled = (edges_yxyx - np.tile(self.region[:2], 2)) * np.tile(self.zoom, 2)
        return boxes_to_xyxy(scaled).astype(np.float32)


def boxes_to_xyxy(boxes_yxyx: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return ``(..., 4)`` boxes with x before y."""
    return boxes_yxyx[..., [1, 0, 3, 2]]


def boxes_to_yxyx(boxes_xyxy: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return ``(..., 4)`` boxes with y before x."""
    return boxes_xyxy[..., [1, 0, 3, 2]]


def hat_matrix(n_in: int, start: float, step: float, n_out: int) -> NDArray[np.float32]:
    """Return the matrix of linear interpolation from samples on a line to other places on it.

    Parameters
    ----------
    n_in
        Number of samples; sample i has its centre at i.
    start, step
        Output j lies at ``start + j * step``; places beyond the ends take the end's value.
    n_out
        Number of outputs.

    Returns
    -------
    NDArray
        ``(n_out, n_in)`` float32; rows sum to 1.
    """
    position = np.clip(start + np.arange(n_out) * step, 0, n_in - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(position[:, None] - np.arange(n_in))), np.float32)


def check_near(yx: tuple[float, float], shape: tuple[int, int]) -> None:
    """Refuse a point that is further from the image than the image is long.

    Raises
    ------
    PromptError
        If it is.
    """
    margin = max(*shape, _LEAST_MARGIN)
    if not all(-margin <= value <= n + margin for value, n in zip(yx, shape, strict=True)):
        raise PromptError(f"got the point {tuple(yx)} for an image of shape {shape}; expected (y, x) in pixels of it")


def check_prompt(prompt: Prompt, shape: tuple[int, int]) -> None:
    """Refuse a prompt of which any part is nowhere near the image.

    Raises
    ------
    PromptError
        If it is such.
    """
    points = [(y, x) for some in (prompt.inside_yx, prompt.outside_yx) for y, x in some.tolist()]
    areas = [] if prompt.box_yxyx is None else [prompt.box_yxyx.tolist()]
    if prompt.mask_logits is not None:
        areas.append(list(prompt.mask_logits.window))
    points += [corner for y0, x0, y1, x1 in areas for corner in ((y0, x0), (y1, x1))]
    for point in points:
        check_near(point, shape)
