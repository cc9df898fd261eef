"""The client: what a model does, asked of a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from napari_cellsam.errors import ImageNotCachedError, MessageError
from napari_cellsam.service import convert
from napari_cellsam.service.expecting import expect
from napari_cellsam.service.gathering import Gathering
from napari_cellsam.service.messages import (
    BoxesFound,
    CellsFound,
    DetectBoxes,
    FeatureEntry,
    FeaturesFound,
    FeaturesKept,
    FetchFeatures,
    GetInfo,
    ImageKept,
    MasksFound,
    Prefetch,
    Prefetched,
    Progress,
    PutFeatures,
    Segmented,
    SegmentImage,
    SegmentPrompts,
    ServiceInfo,
)
from napari_cellsam.service.training_requests import TrainingRequests
from napari_cellsam.service.transport import ImageNotSentError
from napari_cellsam.service.uploads import Uploads
from napari_cellsam.types import Image, SegmentOptions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from napari_cellsam.service.messages import Frame, Request
    from napari_cellsam.service.transport import Call, Transport
    from napari_cellsam.types import Cell, Detections, Mask, Prompt, Segmentation

__all__ = ["Client"]

_MAX_SENT = 2  # the images of others may push it out between its arrival and the request
_MAX_SENT_ANEW = 3


class Client(TrainingRequests):
    """Ask a service what a `Model` does, with the same answers.

    Images are sent when the service does not have them, and again when it has forgotten them. Methods wait for the
    answer; any number of threads may ask at once. Each takes a ``call``, by which another thread can cancel it. All may
    raise what the service raised, as if it had been raised here, and a `ServiceError` of their own.

    Parameters
    ----------
    transport
        The way to the service; it is closed with the client.
    model
        Which of the service's models answers; its first one when empty.
    """

    def __init__(self, transport: Transport, model: str = "") -> None:
        super().__init__(transport, model)
        self._uploads = Uploads()

    def info(self, *, call: Call | None = None) -> ServiceInfo:
        """Return what the service is: version, device, models and limits."""
        return expect(ServiceInfo, self._transport.send(GetInfo(), call=call))

    def prefetch(
        self,
        image: Image | ArrayLike,
        options: SegmentOptions | None = None,
        around: tuple[float, float] | None = None,
        *,
        call: Call | None = None,
    ) -> Prefetched:
        """Let the service encode what the first prompts will need.

        Parameters
        ----------
        image
            ``(Y, X)``, ``(Y, X, C)`` or an `Image`.
        options
            With which the prompts will come.
        around
            ``(y, x)`` where the user looks; the middle of the image when None.
        """
        image = _as_image(image)
        request = Prefetch(
            image=convert.ref_of(image), model=self.model, options=options or SegmentOptions(), around=around
        )
        return expect(Prefetched, self._ask(image, request, call=call))

    def detect(
        self, image: Image | ArrayLike, box_score: float | None = None, *, call: Call | None = None
    ) -> Detections:
        """Find boxes around cells in a whole image, as `Model.detect` does.

        Parameters
        ----------
        image
            As for `prefetch`.
        box_score
            Only boxes with at least this score; 0 for all, None for the model's own cut.
        """
        image = _as_image(image)
        request = DetectBoxes(image=convert.ref_of(image), model=self.model, box_score=box_score)
        return convert.detections_of(expect(BoxesFound, self._ask(image, request, call=call)))

    def segment_prompts(
        self,
        image: Image | ArrayLike,
        prompts: Sequence[Prompt],
        options: SegmentOptions | None = None,
        *,
        logits: bool = False,
        slot: str | None = None,
        call: Call | None = None,
        send_image: bool = True,
    ) -> list[Mask]:
        """Outline the cells that prompts point at, as `Model.segment_prompts` does.

        Parameters
        ----------
        image
            As for `prefetch`.
        prompts
            Any number up to the limit of the service.
        options
            ``diameter``, ``scaling``, ``clahe`` and ``mask_threshold`` count.
        logits
            Whether masks carry their low-resolution logits, to be refined by a further prompt.
        slot
            A request that waits in the same slot is replaced by this one: a preview needs only the newest.
        send_image
            Whether the image is sent if the service does not have it; if not, `ImageNotCachedError` comes through.

        Returns
        -------
        list of Mask
            One per prompt, in order; the crop is empty where nothing was found.

        Raises
        ------
        RequestReplacedError
            If a newer request took the slot.
        """
        image = _as_image(image)
        request = SegmentPrompts(
            image=convert.ref_of(image),
            prompts=tuple(convert.prompt_data(prompt) for prompt in prompts),
            model=self.model,
            options=options or SegmentOptions(),
            logits=logits,
        )
        answer = self._ask(image, request, slot=slot, call=call, send_image=send_image)
        masks = expect(MasksFound, answer).masks
        if len(masks) != len(prompts):
            raise MessageError(f"the service answered {len(prompts)} prompts with {len(masks)} masks")
        return [convert.mask_of(mask, image.shape) for mask in masks]

    def segment(
        self,
        image: Image | ArrayLike,
        options: SegmentOptions | None = None,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        on_cells: Callable[[tuple[Cell, ...]], None] | None = None,
        call: Call | None = None,
    ) -> Segmentation:
        """Outline every cell of an image, as `Model.segment` does.

        Parameters
        ----------
        image
            As for `prefetch`, of any size.
        options
            How; what is left open is the model's default.
        on_progress
            Called with tiles done and tiles in all.
        on_cells
            Called with cells that are final as soon as they are. None is handed over twice, also when the service died
            and began anew.
        """
        image = _as_image(image)
        gathering = Gathering(image.shape, on_cells)

        def take(frame: Frame) -> None:
            if isinstance(frame, CellsFound):
                gathering.add([convert.cell_of(cell, image.shape) for cell in frame.cells])
            elif isinstance(frame, Progress) and on_progress:
                on_progress(frame.done, frame.total)

        request = SegmentImage(image=convert.ref_of(image), model=self.model, options=options or SegmentOptions())
        end = expect(Segmented, self._ask(image, request, call=call, on_frame=take))
        return gathering.segmentation(end.n_cells, end.diameter, end.notes)

    def fetch_features(
        self,
        image: Image | ArrayLike,
        prompts: Sequence[Prompt],
        options: SegmentOptions | None = None,
        *,
        call: Call | None = None,
    ) -> FeaturesFound:
        """Get what decoding these prompts needs, for a service of one's own with the same weights.

        Parameters
        ----------
        image, prompts, options
            As for `segment_prompts`; 32 prompts at most.
        """
        image = _as_image(image)
        request = FetchFeatures(
            image=convert.ref_of(image),
            prompts=tuple(convert.prompt_data(prompt) for prompt in prompts),
            model=self.model,
            options=options or SegmentOptions(),
        )
        return expect(FeaturesFound, self._ask(image, request, call=call))

    def put_features(self, entries: Sequence[FeatureEntry], *, call: Call | None = None) -> int:
        """Give a service of one's own features that another one has computed.

        Parameters
        ----------
        entries
            As another service with the same weights gave them.

        Returns
        -------
        int
            How many are in its cache now.
        """
        request = PutFeatures(entries=tuple(entries), model=self.model)
        return expect(FeaturesKept, self._transport.send(request, call=call)).n_entries

    def close(self) -> None:
        """Cancel what is under way and let go of the service."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self,
        image: Image,
        request: Request,
        *,
        slot: str | None = None,
        call: Call | None = None,
        on_frame: Callable[[Frame], None] | None = None,
        send_image: bool = True,
    ) -> object:
        """Send a request about an image; if the service does not have it, send that, twice at most, and ask again.

        A service that died and was replaced has not been sent anything yet, which does not count as forgetting.
        """
        n_sent = 0
        while True:
            before = self._uploads.count(image.image_id)
            try:
                return self._transport.send(request, slot=slot, call=call, on_frame=on_frame)
            except ImageNotCachedError as error:
                if not send_image or n_sent >= (_MAX_SENT_ANEW if isinstance(error, ImageNotSentError) else _MAX_SENT):
                    raise
            n_sent += self._uploads.send(image.image_id, before, partial(self._put, image, call), call)

    def _put(self, image: Image, call: Call | None) -> None:
        """Send an image."""
        kept = expect(ImageKept, self._transport.send(convert.image_data(image), call=call))
        if kept.image_id != image.image_id:
            raise MessageError(f"image {image.image_id} was sent, but the service has kept {kept.image_id}")


def _as_image(image: Image | ArrayLike) -> Image:
    return image if isinstance(image, Image) else Image.from_array(image)
