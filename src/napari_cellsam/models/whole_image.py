"""The work on a whole image: frame by frame, until every cell is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cellsam.models.frame_features import cut_region
from napari_cellsam.models.framing import frames_of, quarters, whole_frame, zoom_for
from napari_cellsam.models.memory_limits import (
    DecodeWork,
    OutOfMemoryError,
    free_memory,
    no_more_memory,
    one_step,
)
from napari_cellsam.models.pasting import paste
from napari_cellsam.models.repeats import without_repeats
from napari_cellsam.models.search import Search
from napari_cellsam.models.second_look import Looks
from napari_cellsam.models.steps import Advance, Aside, Found
from napari_cellsam.types import Detections

if TYPE_CHECKING:
    from napari_cellsam.geometry import Frame
    from napari_cellsam.models.backend import Backend
    from napari_cellsam.models.cell_sizes import CellSizes
    from napari_cellsam.models.frame_features import FrameFeatures, Prepared
    from napari_cellsam.models.second_look import Seen
    from napari_cellsam.models.steps import Steps
    from napari_cellsam.types import AbsentImage, Cell, Image, SegmentOptions

__all__ = ["SegmentSummary", "WholeImageWork"]

_TWICE = 2
_SMALLER_BATCH = "the device's memory was full: fewer prompts were decoded at once"


@dataclass(frozen=True)
class SegmentSummary:
    """What is to be said of a whole image when all cells were found.

    Attributes
    ----------
    diameter
        Cell diameter in pixels that the image was scaled by, or None where no scaling was asked for.
    notes
        What the user should know about the run.
    """

    diameter: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Run:
    """What all looks at an image have in common; the prepared image stays for as long as the run goes on."""

    image: Image | AbsentImage
    options: SegmentOptions
    prepared: Prepared
    search: Search
    decode: DecodeWork


class WholeImageWork:
    """Finds all cells of an image with a model."""

    def __init__(self, backend: Backend, features: FrameFeatures, sizes: CellSizes) -> None:
        self._backend, self._features, self._sizes = backend, features, sizes

    def detect_steps(self, image: Image | AbsentImage, options: SegmentOptions) -> Steps[Detections]:
        """Find boxes in the whole image as one field."""
        frame = whole_frame(self._backend, image.shape)
        with one_step("look at the image"):
            features: Any = yield from self._features.steps(image, frame, clahe=bool(options.clahe))
            yield None
            boxes, scores = self._backend.detect(features)
        counted = scores >= self._backend.score_cut(scores, options)
        return Detections(frame.boxes_to_image(boxes[counted]), scores[counted])

    def segment_steps(self, image: Image | AbsentImage, options: SegmentOptions) -> Steps[SegmentSummary]:
        """Outline every cell; each is handed over as soon as it is final."""
        prepared: Prepared = yield from self._features.prepare_steps(image, clahe=bool(options.clahe))
        diameter = yield from self._sizes.steps(image, options)
        frames, tiles = frames_of(self._backend, image.shape, options, zoom_for(self._backend, diameter))
        search = Search(frames, tiles, options.min_area or 0)
        run = _Run(image, options, prepared, search, DecodeWork(self._backend))
        while (look := search.next()) is not None:
            yield from self._look(run, *look)
            cells: tuple[Cell, ...] = yield Aside(search.settle)
            if cells:
                yield Found(cells)
            yield Advance("segmenting", search.n_done, search.n_frames)
        return SegmentSummary(diameter, search.notes)

    def _look(self, run: _Run, number: int, frame: Frame) -> Steps[None]:
        """Look into a frame, or have its quarters looked into where memory is too small for it."""
        n_at_once = run.decode.n_at_once
        try:
            yield from self._look_into(run, number, frame)
        except OutOfMemoryError as error:
            free_memory()
            parts = [] if self._backend.squashes else quarters(frame, squashed=False)
            if not parts or not run.search.split(number, parts, memory=True):
                raise no_more_memory("look at a part of the image") from error
        if run.decode.n_at_once < n_at_once:
            run.search.note(_SMALLER_BATCH)

    def _look_into(self, run: _Run, number: int, frame: Frame) -> Steps[None]:
        """Add the cells of a frame to a search, or its quarters if it may hold more than the detector has queries."""
        image, options, search = run.image, run.options, run.search
        features: Any = yield from self._features.steps(image, frame, clahe=bool(options.clahe), prepared=run.prepared)
        turned: Any = (yield from self._turned(run, frame)) if options.looks == _TWICE else None
        looks = Looks(self._backend, frame.size, features, turned)
        seen: Seen = yield from looks.detect_steps(options)
        if seen.is_full and search.split(number, quarters(frame, self._backend.squashes)):
            return
        counted = seen.scores > self._backend.outlined_from(seen.scores, options)
        boxes, scores = seen.boxes[counted], seen.scores[counted]
        answers = yield from looks.outline_steps(run.decode, boxes, scores, options)

        def add_all() -> None:
            found = []
            for answer, box_score in zip(answers, scores.tolist(), strict=True):
                score = self._backend.cell_score(box_score, answer.predicted_iou, options)
                if score is None or answer.predicted_iou < (options.min_predicted_iou or 0):
                    continue
                mask = paste(answer, frame, image.shape, options.mask_threshold)
                if mask.area:
                    found.append((mask, score))
            for mask, score in without_repeats(found) if self._backend.repeats else found:
                search.add(mask, score, number)

        yield Aside(add_all)

    def _turned(self, run: _Run, frame: Frame) -> Steps[Any]:
        """Return the features of a frame turned by half."""
        yield None
        pixels, shared = run.prepared
        return self._backend.encode(cut_region(pixels, frame.region)[:, ::-1, ::-1].copy(), frame.size, shared)
