"""Which regions of an image a model looks at, and at what zoom."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from napari_cellsam.data.tiling import Tile, plan_spans, plan_tiles
from napari_cellsam.geometry import Frame

if TYPE_CHECKING:
    from napari_cellsam.models.backend import Backend
    from napari_cellsam.types import Prompt, SegmentOptions

__all__ = ["frame_at", "frame_for", "frames_of", "quarters", "squashes", "whole_frame", "zoom_for"]

_ZOOM_LIMITS = (0.1, 4.0)
_PROMPT_OCTAVES = 1.0  # a box within this many octaves of the nominal size needs no zoom of its own
_SMALLEST_TILE = 8  # pixels of the image
_QUARTER = 0.6  # of a frame's side, so that quarters overlap by a third of their own
_ROOM = 1.5  # a prompt's tile is at least this many times as long as its box


def squashes(backend: Backend, shape: tuple[int, int], options: SegmentOptions) -> bool:
    """Return whether the whole image goes into one field, whatever its shape (the published path)."""
    if options.scaling is not None:
        return options.scaling == "squash"
    return backend.squashes and max(shape) <= backend.side and options.diameter in (None, "auto", "native")


def zoom_for(backend: Backend, diameter: float | None) -> float:
    """Return picture pixels per image pixel for a cell diameter in image pixels; None leaves the scale as it is."""
    if diameter is None:
        return backend.native_zoom
    return float(np.clip(backend.nominal_diameter / diameter, *_ZOOM_LIMITS))


def whole_frame(backend: Backend, shape: tuple[int, int]) -> Frame:
    """Return the frame of a whole image as one field: squashed, or shrunk as far as it has to be."""
    region = (0, 0, *shape)
    if backend.squashes:
        return Frame(region, (backend.side, backend.side), backend.half_pixel)
    return frame_at(backend, region, min(1.0, backend.side / max(shape)))


def frame_at(backend: Backend, region: tuple[int, int, int, int], zoom: float) -> Frame:
    """Return the frame of a region ``(y0, x0, y1, x1)`` at a zoom.

    A model whose picture always has the same shape gets a square region, which may reach beyond the image.
    """
    y0, x0, y1, x1 = region
    if backend.squashes:
        side = round(backend.side / zoom)
        return Frame((y0, x0, y0 + side, x0 + side), (backend.side, backend.side), backend.half_pixel)
    size = tuple(min(max(round(n * zoom), 1), backend.side) for n in (y1 - y0, x1 - x0))
    return Frame(region, (size[0], size[1]), backend.half_pixel)


def frames_of(
    backend: Backend, shape: tuple[int, int], options: SegmentOptions, zoom: float
) -> tuple[list[Frame], list[Tile]]:
    """Return the frames that cover an image, and their tiles, in the same order."""
    if squashes(backend, shape, options):
        return [whole_frame(backend, shape)], plan_tiles(shape, max(shape), 0)
    plan, zoom = _plan(backend, options.overlap or 0.0, zoom)
    tiles = plan_tiles(shape, **plan)
    return [frame_at(backend, tile.region, zoom) for tile in tiles], tiles


class _Plan(TypedDict):
    """How an image is covered with tiles, as `plan_tiles` takes it."""

    tile: int
    overlap_px: int
    tight: bool
    unit: int


def _plan(backend: Backend, overlap: float, zoom: float) -> tuple[_Plan, float]:
    """Return how an image is covered with tiles of the model's field, and the zoom at which they are looked at.

    A convolution with stride answers differently to a picture that is shifted by less than the stride; tiles that begin
    on one grid see the same cells as the whole picture does. Their zoom is that at which strides are whole pixels of
    the image.
    """
    if backend.stride > 1:
        unit = max(round(backend.stride / zoom), 1)
        side, zoom = max(backend.side // backend.stride, 1), backend.stride / unit
    else:
        unit, side = 1, max(math.floor(backend.side / zoom), _SMALLEST_TILE)
    return _Plan(tile=side, overlap_px=round(side * overlap), tight=backend.stride > 1, unit=unit), zoom


def frame_for(backend: Backend, shape: tuple[int, int], prompt: Prompt, options: SegmentOptions, zoom: float) -> Frame:
    """Return the frame in which a prompt is decoded.

    It is the tile with most room around the prompt, so that prompts of one place share a tile; where no tile has
    enough, it is a frame around the prompt, as large as the model sees at once.
    """
    if squashes(backend, shape, options):
        return whole_frame(backend, shape)
    y0, x0, y1, x1 = _extent(prompt)
    if prompt.box_yxyx is not None:
        diameter = max(math.sqrt((y1 - y0 + 1) * (x1 - x0 + 1)), 1.0)
        octaves = math.log2(diameter * zoom / backend.nominal_diameter)
        if abs(octaves) > _PROMPT_OCTAVES:  # whole octaves, so that prompts of like size share a tile
            zoom = zoom / 2 ** round(octaves)
    zoom = min(zoom, backend.side / (_ROOM * max(y1 - y0 + 1, x1 - x0 + 1)))
    plan, zoom = _plan(backend, options.overlap or 0.0, zoom)  # of a whole image: its features may be there already
    step = max(round(backend.stride / zoom), 1)
    longest = max(round(backend.side / zoom) // step * step, _SMALLEST_TILE)
    room = backend.nominal_diameter / zoom
    (top, bottom), (left, right) = (
        _span_around((low, high), along, n, min(n, longest), room, step)
        for low, high, along, n in zip((y0, x0), (y1, x1), plan_spans(shape, **plan), shape, strict=True)
    )
    return frame_at(backend, (top, left, bottom, right), zoom)


def _span_around(
    extent: tuple[float, float], spans: Sequence[tuple[int, int]], n: int, longest: int, room: float, step: int
) -> tuple[int, int]:
    """Return the span with most room on both sides of an extent, or a new one where none has enough.

    Parameters
    ----------
    extent
        First and last pixel that matter.
    spans
        Start and end of the tiles along a side of ``n`` pixels, in order; all are as long but perhaps the last.
    n
        Pixels along the side; behind its ends nothing can be cut off.
    longest
        Pixels of a new span.
    room
        Pixels that are enough.
    step
        A new span begins on a multiple of it, where that leaves the extent in.
    """
    low, high = extent

    def gap(span: tuple[int, int]) -> float:
        return min(low - span[0] if span[0] > 0 else math.inf, span[1] - 1 - high if span[1] < n else math.inf)

    length = spans[0][1] - spans[0][0]
    after = bisect_right(spans, (low + high + 1 - length) / 2, key=lambda span: span[0])  # where it would be centred
    near = sorted({0, max(after - 1, 0), min(after, len(spans) - 1), len(spans) - 1})  # others have less room
    best = max((spans[i] for i in near), key=gap)
    if gap(best) >= min(room, (length - (high - low)) / 2 - 1):
        return best
    middle = min(max(round((low + high + 1 - longest) / 2), 0), n - longest)
    aligned = min(round(middle / step) * step, (n - longest) // step * step)
    start = aligned if gap((aligned, aligned + longest)) >= 0 else middle
    return start, start + longest


def _extent(prompt: Prompt) -> tuple[float, float, float, float]:
    """Return the ``(y0, x0, y1, x1)`` area that a prompt speaks of."""
    points = [prompt.inside_yx]
    if prompt.box_yxyx is not None:
        points.append(prompt.box_yxyx.reshape(2, 2))
    elif prompt.mask_logits is not None:
        points.append(np.array(prompt.mask_logits.window, np.float32).reshape(2, 2))
    together = np.concatenate(points)
    (y0, x0), (y1, x1) = together.min(0), together.max(0)
    return float(y0), float(x0), float(y1), float(x1)


def quarters(frame: Frame, squashed: bool) -> list[Frame]:
    """Return the four overlapping parts of a frame, at twice the zoom where its picture has a fixed size."""
    y0, x0, y1, x1 = frame.region
    height, width = math.ceil((y1 - y0) * _QUARTER), math.ceil((x1 - x0) * _QUARTER)
    size = frame.size if squashed else (math.ceil(height * frame.zoom[0]), math.ceil(width * frame.zoom[1]))
    corners = [(top, left) for top in (y0, y1 - height) for left in (x0, x1 - width)]
    return [Frame((y, x, y + height, x + width), size, frame.half_pixel) for y, x in corners]
