"""The sizes of cells, by which images are scaled."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.models.backend import Decoded, box_prompts
from napari_cellsam.models.framing import frame_at, squashes
from napari_cellsam.models.memory_limits import DecodeWork, one_step
from napari_cellsam.models.pasting import paste
from napari_cellsam.models.scale import centre_region, judge, search_diameter
from napari_cellsam.types import Detections, SegmentOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.geometry import Frame
    from napari_cellsam.models.backend import Backend
    from napari_cellsam.models.feature_store import Arrays
    from napari_cellsam.models.frame_features import FrameFeatures
    from napari_cellsam.models.steps import Steps
    from napari_cellsam.types import AbsentImage, Image

__all__ = ["CellSizes"]

_LOOK_SCORE = 0.3  # from which a detection counts in a look for the cells' size, whatever counts as a cell later
_MEASURED = 48  # cells of a look whose areas are measured
_MOST_KEPT = 4096
_METHOD = 2  # of estimating: what an earlier version of this program kept on disk is not used any more
_ALL = SegmentOptions(box_score=0.0)  # whatever the score, it is told


@dataclass(frozen=True, eq=False)
class _Look:
    """What a look at the middle of an image showed.

    Attributes
    ----------
    zoom
        Pixels of the picture per pixel of the image.
    frame
        Where, and at what zoom.
    boxes
        ``(N, 4)`` in pixels of the frame's picture.
    found
        The same in pixels of the image, with scores.
    area
        Pixels of the image that were seen.
    """

    zoom: float
    frame: Frame
    boxes: NDArray[np.float32]
    found: Detections
    area: float


@dataclass(frozen=True, eq=False)
class _Outlined:
    """What outlines of some cells of a look say of all.

    Attributes
    ----------
    trust
        In the look.
    slimness
        Ratio of the cells' diameters by area, which training goes by, to those of their boxes. The box of a slanting
        rod is far larger than the rod.
    """

    trust: float
    slimness: float


class CellSizes:
    """Estimates the cell diameter of images, once for each."""

    def __init__(self, backend: Backend, features: FrameFeatures) -> None:
        self._backend, self._features = backend, features
        self._kept: OrderedDict[tuple[str, bool], float | None] = OrderedDict()

    def steps(self, image: Image | AbsentImage, options: SegmentOptions) -> Steps[float | None]:
        """Return the cell diameter in pixels by which an image is scaled; None where it stays as it is."""
        if options.diameter == "native" or squashes(self._backend, image.shape, options):
            return None
        if isinstance(options.diameter, int | float):
            return float(options.diameter)
        key = image.image_id, bool(options.clahe)
        if key not in self._kept:
            self._kept[key] = yield from self._estimate(image, *key)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]

    def packed(self, image: Image | AbsentImage, *, clahe: bool) -> tuple[str, Arrays] | None:
        """Return the diameter of an image as a store keeps it, with its key; None if it was not estimated."""
        key = image.image_id, clahe
        if key not in self._kept:
            return None
        return self._features.key(*_parts(*key)), _pack(self._kept[key])

    def forget(self) -> None:
        """Drop all that is kept in memory."""
        self._kept.clear()

    def _estimate(self, image: Image | AbsentImage, image_id: str, clahe: bool) -> Steps[float | None]:
        known: Arrays | None = yield from self._features.stored_steps(*_parts(image_id, clahe))
        if known is not None and _is_diameter(known):
            return _unpack(known)
        search = search_diameter(self._backend.nominal_diameter)
        looks: dict[float, _Look] = {}
        zoom = next(search)
        while True:
            looks[zoom] = yield from self._look(image, zoom, clahe)
            try:
                zoom = search.send((looks[zoom].found, looks[zoom].area))
            except StopIteration as end:
                ranking: list[tuple[float, float]] = end.value
                break
        diameter: float | None = (yield from self._choose(image, clahe, looks, ranking)) if ranking else None
        arrays = _pack(diameter)
        self._features.keep(self._features.key(*_parts(image_id, clahe)), arrays)
        return _unpack(arrays)  # rounded as after a restart, or parts of the image would lie elsewhere then

    def _choose(
        self, image: Image | AbsentImage, clahe: bool, looks: dict[float, _Look], ranking: list[tuple[float, float]]
    ) -> Steps[float]:
        """Return the diameter by area of the best look; rivals (zoom and diameter) are told apart by their outlines."""
        outlined: dict[float, _Outlined] = {}
        for zoom, _ in ranking if len(ranking) > 1 else ():
            outlined[zoom] = yield from self._outline(image, looks[zoom], clahe)
        _, diameter = max(ranking, key=lambda rival: outlined[rival[0]].trust) if outlined else ranking[0]
        wanted = self._backend.nominal_diameter / diameter
        nearest = min(looks, key=lambda zoom: max(zoom / wanted, wanted / zoom))
        if nearest not in outlined:
            outlined[nearest] = yield from self._outline(image, looks[nearest], clahe)
        return diameter * outlined[nearest].slimness

    def _look(self, image: Image | AbsentImage, zoom: float, clahe: bool) -> Steps[_Look]:
        """Detect in the middle of the image at a zoom."""
        region = centre_region(image.shape, self._backend.side / zoom)
        frame = frame_at(self._backend, region, zoom)
        with one_step("look at the image"):
            features: Any = yield from self._features.steps(image, frame, clahe=clahe)
            yield None
            boxes, scores = self._backend.detect(features)
        counted = scores >= _LOOK_SCORE
        area = float((region[2] - region[0]) * (region[3] - region[1]))
        found = Detections(frame.boxes_to_image(boxes[counted]), scores[counted])
        return _Look(zoom, frame, boxes[counted], found, area)

    def _outline(self, image: Image | AbsentImage, look: _Look, clahe: bool) -> Steps[_Outlined]:
        """Outline some cells of a look."""
        some = np.linspace(0, len(look.boxes) - 1, min(len(look.boxes), _MEASURED)).astype(int)
        if not len(some):
            return _Outlined(0.0, 1.0)
        with one_step("look at the image"):
            features: Any = yield from self._features.steps(image, look.frame, clahe=clahe)
        work = DecodeWork(self._backend)
        answers: list[Decoded] = yield from work.steps(features, box_prompts(look.boxes[some]))
        boxes, scores = look.found.boxes[some], look.found.scores[some]
        sure = [
            self._backend.cell_score(score, answer.predicted_iou, _ALL)
            for score, answer in zip(scores.tolist(), answers, strict=True)
        ]
        _, trust = judge(Detections(boxes, np.array(sure, np.float32)), look.zoom, self._backend.nominal_diameter)
        areas = np.array([paste(answer, look.frame, image.shape, 0.5).area for answer in answers], float)
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        ratios = np.sqrt(4 / np.pi * areas / np.maximum(sides, 1).prod(1))[areas > 0]
        slimness = float(np.median(ratios)) if len(ratios) else 1.0
        return _Outlined(trust * len(look.boxes) / len(some) / look.area, slimness)


def _parts(image_id: str, clahe: bool) -> tuple[object, ...]:
    """Return what names an image's diameter in the store."""
    return "diameter", _METHOD, image_id, clahe


def _pack(diameter: float | None) -> Arrays:
    return {"diameter": np.array([np.nan if diameter is None else diameter], np.float32)}


def _is_diameter(arrays: Arrays) -> bool:
    """Return whether arrays are what `_pack` returns: another machine may have sent them."""
    array = arrays.get("diameter")
    return array is not None and array.shape == (1,) and bool(np.isnan(array[0]) or 0 < array[0] < np.inf)


def _unpack(arrays: Arrays) -> float | None:
    value = float(arrays["diameter"][0])
    return None if np.isnan(value) else value
