"""The jobs of a service: from a request to steps on the device."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import MessageError, UnsupportedTaskError
from napari_cellsam.geometry import check_near
from napari_cellsam.models.steps import Aside, Found, Step, Steps
from napari_cellsam.service import convert
from napari_cellsam.service.arrays import pack, unpack
from napari_cellsam.service.checks import check_logits, check_ref, prompts_of
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import (
    DetectBoxes,
    FeatureEntry,
    FeaturesFound,
    FeaturesKept,
    FetchFeatures,
    MasksFound,
    Prefetch,
    Prefetched,
    PutFeatures,
    Segmented,
    SegmentImage,
    SegmentPrompts,
    TrainModel,
)
from napari_cellsam.service.running import Job, JobSteps
from napari_cellsam.service.turns import Urgency
from napari_cellsam.types import AbsentImage, SegmentOptions

if TYPE_CHECKING:
    from napari_cellsam.engine import Model
    from napari_cellsam.models.feature_store import Arrays
    from napari_cellsam.models.whole_image import SegmentSummary
    from napari_cellsam.service.images import ImageCache
    from napari_cellsam.service.messages import ImageRef, Result
    from napari_cellsam.service.model_pool import ModelPool
    from napari_cellsam.service.observer import ServiceObserver
    from napari_cellsam.service.ticket import Ticket
    from napari_cellsam.service.training_jobs import TrainingJobs
    from napari_cellsam.types import Image, Prompt

    AboutImage = SegmentPrompts | FetchFeatures | Prefetch | DetectBoxes | SegmentImage

__all__ = ["JobMaker"]

_ARRAYS_OF_FEATURES = ("float16", "float32")
_MOST_ARRAYS = 64
_MOST_FETCHED = 32  # prompts: what each needs takes up to 28 MiB, and a message holds 1 GiB
_LONGEST_KEY = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]{0,63}")  # of an array; others have a meaning in safetensors

SingleSteps = Generator[Step | Future[Any], Any, "Result"]


class JobMaker:
    """Makes jobs of requests: checks all that comes in, and knows which steps answer it.

    Parameters
    ----------
    models, images
        Of the service.
    limits
        What is refused.
    observer
        Is told what was in the caches.
    trainings
        Makes the jobs of trainings.
    private
        Whether features are taken from others.
    """

    def __init__(
        self,
        models: ModelPool,
        images: ImageCache,
        limits: Limits,
        observer: ServiceObserver,
        trainings: TrainingJobs,
        private: bool,
    ) -> None:
        self._models, self._images, self._limits = models, images, limits
        self._observer = observer
        self._private = private
        self._makers: dict[type, Callable[[Any, Ticket], Job]] = {
            SegmentPrompts: self._prompts,
            FetchFeatures: self._fetch,
            Prefetch: self._prefetch,
            DetectBoxes: self._detect,
            SegmentImage: self._segment,
            PutFeatures: self._put,
            TrainModel: trainings.make,
        }

    def make(self, request: object, ticket: Ticket) -> Job:
        """Return the job of a request.

        Raises
        ------
        CellsamError
            If the request cannot be answered, as far as can be seen before it begins.
        """
        return self._makers[type(request)](request, ticket)

    def _prompts(self, request: SegmentPrompts, ticket: Ticket) -> Job:
        name = self._check(request)
        prompts = prompts_of(request.prompts, request.image.shape, self._limits.max_prompts)

        def together(asks: Sequence[Any]) -> JobSteps:
            model = yield from self._model(name)
            for ask in asks:  # of several, the others are asked again without the one that is refused
                check_logits(len(ask.prompts) if ask.logits else 0, model.backend.grid_side)
            model_asks = [model.ask(ask.prompts, ask.options, logits=ask.logits) for ask in asks]
            answers = yield from model.prompt_steps(self._image(request.image), model_asks)
            return [MasksFound(masks=tuple(map(convert.mask_data, masks))) for masks in answers]

        return Job(
            ticket,
            Urgency.PROMPT,
            together,
            ask=_Ask(prompts, request.options, request.logits),
            group=(SegmentPrompts, name, request.image.image_id, request.image.shape),
            weight=len(prompts),
        )

    def _fetch(self, request: FetchFeatures, ticket: Ticket) -> Job:
        name = self._check(request)
        most = min(self._limits.max_prompts, _MOST_FETCHED)
        prompts = prompts_of(request.prompts, request.image.shape, most)

        def begin() -> SingleSteps:
            model = yield from self._model(name)
            entries = yield from model.entry_steps(self._image(request.image), model.ask(prompts, request.options))
            packed = yield Aside(lambda: tuple(_entry(key, arrays) for key, arrays in entries.items()))
            return FeaturesFound(weights_id=model.weights_id, entries=packed)

        return _single(ticket, Urgency.SOON, begin)

    def _prefetch(self, request: Prefetch, ticket: Ticket) -> Job:
        name = self._check(request)
        if request.around is not None:
            check_near(request.around, request.image.shape)

        def begin() -> SingleSteps:
            model = yield from self._model(name)
            begun = time.perf_counter()
            done = yield from model.prefetch_steps(self._image(request.image), request.options, request.around)
            for hit, n in ((True, done.n_cached), (False, done.n_encoded)):
                for _ in range(n):
                    self._observer.cache("features", hit)
            return Prefetched(
                n_encoded=done.n_encoded,
                n_cached=done.n_cached,
                diameter=done.diameter,
                seconds=time.perf_counter() - begun,
                weights_id=model.weights_id,
            )

        return _single(ticket, Urgency.SOON, begin)

    def _detect(self, request: DetectBoxes, ticket: Ticket) -> Job:
        name = self._check(request, needs_pixels=True)
        SegmentOptions(box_score=request.box_score)  # refuses a score out of range

        def begin() -> SingleSteps:
            model = yield from self._model(name)
            found = yield from model.detect_steps(self._image(request.image), request.box_score)
            return convert.boxes_found(found)

        return _single(ticket, Urgency.SOON, begin)

    def _segment(self, request: SegmentImage, ticket: Ticket) -> Job:
        name = self._check(request, needs_pixels=True)

        def begin() -> SingleSteps:
            model = yield from self._model(name)
            steps = model.segment_steps(self._image(request.image), request.options)
            summary, n_cells = yield from _counted(steps)
            return Segmented(n_cells=n_cells, diameter=summary.diameter, notes=summary.notes)

        return _single(ticket, Urgency.RUN, begin)

    def _put(self, request: PutFeatures, ticket: Ticket) -> Job:
        if not self._private:
            raise UnsupportedTaskError(
                "this service is shared, and takes no features: who puts them decides what others see. Send the image"
            )
        name = self._models.resolve(request.model)

        def begin() -> SingleSteps:
            entries = yield Aside(lambda: _arrays_of_all(request.entries, self._limits.max_body_bytes))
            model = yield from self._model(name)
            return FeaturesKept(n_entries=model.features.put(entries))

        return _single(ticket, Urgency.PROMPT, begin)

    def _check(self, request: AboutImage, *, needs_pixels: bool = False) -> str:
        """Refuse what is said about an image where it cannot be; return the name of the model."""
        name = self._models.resolve(request.model)
        ref = request.image
        image = self._images.get(ref.image_id)
        self._observer.cache("image", image is not None)
        check_ref(ref, image, self._limits.max_pixels)
        if image is None and needs_pixels:
            AbsentImage(ref.image_id, ref.shape).need()
        return name

    def _image(self, ref: ImageRef) -> Image | AbsentImage:
        """Return an image as it is here now; a model says so if it needs pixels that are not."""
        return self._images.get(ref.image_id) or AbsentImage(ref.image_id, ref.shape)

    def _model(self, name: str) -> Generator[Future[Model], Any, Model]:
        """Return a model, after loading it elsewhere if that is needed."""
        self._observer.cache("model", self._models.is_loaded(name))
        future = self._models.load(name)
        if not future.done():
            yield future
        return future.result()


@dataclass(frozen=True, eq=False)
class _Ask:
    """What one of several requests for prompts asks."""

    prompts: list[Prompt]
    options: SegmentOptions
    logits: bool


def _single(ticket: Ticket, urgency: Urgency, begin: Callable[[], SingleSteps]) -> Job:
    """Return a job that is never done together with others."""

    def begin_one(_: Sequence[Any]) -> JobSteps:
        return [(yield from begin())]

    return Job(ticket, urgency, begin_one)


def _counted(steps: Steps[SegmentSummary]) -> Generator[Any, Any, tuple[SegmentSummary, int]]:
    """Do steps, and count the cells that are found."""
    n_cells = 0
    answer, error = None, None
    try:
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value, n_cells
            answer, error = None, None
            if isinstance(step, Found):
                n_cells += len(step.cells)
            try:
                answer = yield step
            except Exception as raised:  # noqa: BLE001 - it is raised again in the steps
                error = raised
    finally:
        steps.close()


def _entry(key: str, arrays: Arrays) -> FeatureEntry:
    return FeatureEntry(key=key, arrays={name: pack(array, compress=True) for name, array in arrays.items()})


def _arrays_of_all(entries: Sequence[FeatureEntry], max_bytes: int) -> list[tuple[str, Arrays]]:
    """Return the keys and the arrays of entries for the cache; all together they take so many bytes at most."""
    unpacked = []
    for entry in entries:
        key, arrays = _arrays_of(entry, max_bytes)
        max_bytes -= sum(array.nbytes for array in arrays.values())
        unpacked.append((key, arrays))
    return unpacked


def _arrays_of(entry: FeatureEntry, max_bytes: int) -> tuple[str, Arrays]:
    """Return the key and the arrays of one entry."""
    names_fit = all(_NAME.fullmatch(name) for name in entry.arrays)
    if not 0 < len(entry.key) <= _LONGEST_KEY or len(entry.arrays) > _MOST_ARRAYS or not names_fit:
        raise MessageError("got an entry for the cache that no service made: its key or its arrays' names do not fit")
    arrays: Arrays = {}
    for name, data in entry.arrays.items():
        arrays[name] = unpack(data, dtypes=_ARRAYS_OF_FEATURES, max_bytes=max_bytes, may_be_compressed=True)
        max_bytes -= arrays[name].nbytes
    return entry.key, arrays
