"""Decoding at home: clicks on a distant service's images, answered on this machine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, get_args

from napari_cellsam.errors import (
    CellsamError,
    DeviceError,
    ImageNotCachedError,
    ModelError,
    OptionError,
    RequestCancelledError,
    ServiceError,
)
from napari_cellsam.service.latency import Latency
from napari_cellsam.types import Image, Prompt

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_cellsam.data.retraining.pictures import RetrainingPicture
    from napari_cellsam.service.client import Client
    from napari_cellsam.service.messages import Prefetched, ServiceInfo, Trained
    from napari_cellsam.service.transport import Call
    from napari_cellsam.types import Cell, Detections, Mask, Segmentation, SegmentOptions
    from napari_cellsam.types.finetuning import FinetuneOptions, TrainingProgress

__all__ = ["HomeDecoding", "Mode"]

Mode = Literal["auto", "home", "server"]

_logger = logging.getLogger(__name__)
_MOST_FAILURES = 3  # after which nothing is tried again
_MOST_OF_CLICK = 4  # prompts; more are a batch, which takes longer and needs features of all its parts of the image
_WORTH_FETCHING_S = 0.03  # a service that answers clicks faster than this needs no help


class HomeDecoding:
    """Ask a distant service as a `Client` does, but decode prompts here where the features have arrived.

    The first prompt in a part of an image goes to the distant service. Its features follow in the background, and later
    prompts there are decoded by the service on this machine, which must have the same weights: a click then costs no
    round trip. What is not at home is always answered by the distant service. A batch of prompts brings nothing home.

    Parameters
    ----------
    remote
        The distant service.
    local
        A service of one's own, which gets features but no pixels.
    mode
        ``"auto"`` goes where answers come sooner, as measured; ``"home"`` decodes here whatever can be; ``"server"``
        never does.
    """

    def __init__(self, remote: Client, local: Client, mode: Mode = "auto") -> None:
        self._remote, self._local = remote, local
        self._lock = threading.Lock()
        self._fetcher = ThreadPoolExecutor(1, thread_name_prefix="napari-cellsam features")
        self._fetching: Future[None] | None = None
        self._fetch_call: Call | None = None
        self._latency = Latency()
        self._refused: str | None = None
        self._n_failures = 0
        self._weights_id, self._doubted = "", False  # of what was brought home; whether the server has others since
        self._closed = False
        self.mode = mode

    @property
    def mode(self) -> Mode:
        """Where prompts are decoded; may be set at any time."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise OptionError(f"mode is {mode!r}; expected {', '.join(map(repr, get_args(Mode)))}")
        self._mode: Mode = mode

    @property
    def model(self) -> str:
        """Which of the distant service's models answers."""
        return self._remote.model

    @property
    def why_not(self) -> str | None:
        """Why nothing can be decoded at home; None while it can."""
        return self._refused

    @property
    def latency(self) -> Latency:
        """What clicks have cost, here and there."""
        return self._latency

    def info(self, *, call: Call | None = None) -> ServiceInfo:
        """Return what the distant service is."""
        info = self._remote.info(call=call)
        self._heard(_weights_id(info, self._remote.model))
        return info

    def prefetch(
        self,
        image: Image | ArrayLike,
        options: SegmentOptions | None = None,
        around: tuple[float, float] | None = None,
        *,
        call: Call | None = None,
    ) -> Prefetched:
        """Let the distant service encode what the first prompts need, and bring it home; as `Client.prefetch`."""
        image = _as_image(image)
        answer = self._remote.prefetch(image, options, around, call=call)
        self._heard(answer.weights_id)
        at = around or ((image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
        if self._mode == "home":  # in mode auto the first click shows whether it is worth it
            self._bring_home(image, [Prompt(inside=[at])], options)
        return answer

    def detect(
        self, image: Image | ArrayLike, box_score: float | None = None, *, call: Call | None = None
    ) -> Detections:
        """Find boxes around cells, as `Client.detect`."""
        return self._remote.detect(image, box_score, call=call)

    def segment(
        self,
        image: Image | ArrayLike,
        options: SegmentOptions | None = None,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        on_cells: Callable[[tuple[Cell, ...]], None] | None = None,
        call: Call | None = None,
    ) -> Segmentation:
        """Outline every cell of an image, as `Client.segment`."""
        return self._remote.segment(image, options, on_progress=on_progress, on_cells=on_cells, call=call)

    def segment_prompts(
        self,
        image: Image | ArrayLike,
        prompts: Sequence[Prompt],
        options: SegmentOptions | None = None,
        *,
        logits: bool = False,
        slot: str | None = None,
        call: Call | None = None,
    ) -> list[Mask]:
        """Outline the cells that prompts point at, as `Client.segment_prompts`."""
        image = _as_image(image)
        is_click = len(prompts) <= _MOST_OF_CLICK
        if self._goes_home():
            begun = time.perf_counter()
            try:
                masks = self._local.segment_prompts(
                    image, prompts, options, logits=logits, slot=slot, call=call, send_image=False
                )
            except RequestCancelledError:
                raise
            except ImageNotCachedError:
                _logger.debug("image %s is not at home", image.image_id)
            except (DeviceError, ModelError, ServiceError) as error:
                self._failed(f"the service on this machine failed: {error}")
            else:
                if is_click:
                    self._latency.add("home", time.perf_counter() - begun)
                return masks
        begun = time.perf_counter()
        masks = self._remote.segment_prompts(image, prompts, options, logits=logits, slot=slot, call=call)
        if is_click:
            self._answered(time.perf_counter() - begun, image, prompts, options)
        return masks

    def train(
        self,
        train: Sequence[RetrainingPicture],
        val: Sequence[RetrainingPicture],
        name: str,
        options: FinetuneOptions | None = None,
        *,
        on_progress: Callable[[TrainingProgress], None] | None = None,
        call: Call | None = None,
    ) -> Trained:
        """Let the distant service make a new model, as `Client.train`."""
        return self._remote.train(train, val, name, options, on_progress=on_progress, call=call)

    def stop_training(self, name: str, *, call: Call | None = None) -> bool:
        """End a training early, as `Client.stop_training`."""
        return self._remote.stop_training(name, call=call)

    def wait_until_home(self, timeout_s: float | None = None) -> bool:
        """Wait for features that are on their way; return whether anything can be decoded at home."""
        fetching = self._fetching
        if fetching is not None:
            fetching.result(timeout_s)
        return self._refused is None and fetching is not None

    def close(self) -> None:
        """Cancel what is under way and let go of both services."""
        with self._lock:
            self._closed = True
            call = self._fetch_call
        if call is not None:
            call.cancel()
        self._remote.close()
        self._local.close()
        self._fetcher.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _goes_home(self) -> bool:
        if self._mode == "server" or self._refused is not None or self._doubted:
            return False
        return self._mode == "home" or self._latency.home_is_sooner()

    def _answered(
        self, seconds: float, image: Image, prompts: Sequence[Prompt], options: SegmentOptions | None
    ) -> None:
        """Take note of a click that the distant service has answered; further ones there may be worth a fetch."""
        self._latency.add("server", seconds)
        if self._mode == "home" or (self._latency.server or 0.0) > _WORTH_FETCHING_S:
            self._bring_home(image, prompts, options)

    def _bring_home(self, image: Image, prompts: Sequence[Prompt], options: SegmentOptions | None) -> None:
        """Start to fetch what these prompts need, unless something is on its way: the next prompt asks again."""
        from napari_cellsam.service.transport import Call

        with self._lock:
            under_way = self._fetching is not None and not self._fetching.done()
            if self._closed or under_way or self._mode == "server" or self._refused is not None:
                return
            self._fetch_call = Call()
            self._fetching = self._fetcher.submit(self._fetch, image, tuple(prompts), options, self._fetch_call)

    def _fetch(self, image: Image, prompts: tuple[Prompt, ...], options: SegmentOptions | None, call: Call) -> None:
        """Fetch features, and give them to the service on this machine."""
        try:
            found = self._remote.fetch_features(image, prompts, options, call=call)
            if self._has(found.weights_id):
                self._local.put_features(found.entries, call=call)
            if self._has(found.weights_id):  # by now the model here is loaded, and its weights are known
                self._try_out(image, prompts, options, call)
                self._weights_id, self._doubted = found.weights_id, False
        except RequestCancelledError:
            _logger.debug("features of image %s were on their way when the client was closed", image.image_id)
        except CellsamError as error:
            self._failed(f"features could not be brought home: {error}")

    def _has(self, weights_id: str) -> bool:
        """Return whether the service on this machine has these weights, as far as it knows; if not, refuse for good."""
        own = _weights_id(self._local.info(), self._local.model)
        if own not in ("", weights_id):
            self._refuse("the distant service's weights are not those of its model on this machine")
        return own in ("", weights_id)

    def _heard(self, weights_id: str) -> None:
        """Take note of the weights that the distant service has now; with others, what is at home is out of date."""
        if weights_id and self._weights_id and weights_id != self._weights_id:
            self._doubted = True

    def _try_out(self, image: Image, prompts: tuple[Prompt, ...], options: SegmentOptions | None, call: Call) -> None:
        """See whether the service on this machine can use what it was given."""
        try:
            self._local.segment_prompts(image, prompts, options, call=call, send_image=False)
        except ImageNotCachedError:
            self._refuse("what the distant service has computed does not fit the model on this machine")
        else:
            self._n_failures = 0

    def _failed(self, reason: str) -> None:
        """Take note of something that may work the next time."""
        _logger.info("clicks are decoded by the server for now: %s", reason)
        self._n_failures += 1
        if self._n_failures >= _MOST_FAILURES:
            self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        """Decode nothing at home from now on."""
        if self._refused is None and not self._closed:
            _logger.warning("clicks are decoded by the server: %s", reason)
            self._refused = reason


def _as_image(image: Image | ArrayLike) -> Image:
    return image if isinstance(image, Image) else Image.from_array(image)


def _weights_id(info: ServiceInfo, model: str) -> str:
    """Return the hash of a model's weights, of the first one where none is named; empty while it is not known."""
    return next((offer.weights_id for offer in info.models if model in ("", offer.name)), "")
