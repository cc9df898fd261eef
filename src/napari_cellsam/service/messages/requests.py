"""The requests to a service, and the envelope in which one travels."""

from __future__ import annotations

from typing import Annotated

import msgspec

from napari_cellsam.service.messages.parts import (
    MOST_ENTRIES,
    ArrayData,
    BitsData,
    FeatureEntry,
    ImageRef,
    Message,
    Name,
    Prompts,
)
from napari_cellsam.types import SegmentOptions
from napari_cellsam.types.finetuning import FinetuneOptions

__all__ = [
    "PROTOCOL_VERSION",
    "Cancel",
    "DetectBoxes",
    "Envelope",
    "FetchFeatures",
    "GetInfo",
    "LessonData",
    "Prefetch",
    "PutFeatures",
    "PutImage",
    "Request",
    "SegmentImage",
    "SegmentPrompts",
    "StopTraining",
    "TrainModel",
]

PROTOCOL_VERSION = 1
"""Raised with every change after which an older client or service would misunderstand."""


class PutImage(Message, frozen=True, kw_only=True, tag="put_image"):
    """Keep an image. Answered by `ImageKept`.

    Attributes
    ----------
    pixels
        ``(Y, X, C)`` uint8, uint16 or float32.
    nuclear, cell, rgb
        As in `napari_cellsam.Image`.
    """

    pixels: ArrayData
    nuclear: int | None = None
    cell: int | None = None
    rgb: bool = False


class Prefetch(Message, frozen=True, kw_only=True, tag="prefetch"):
    """Encode what the first prompts will need. Answered by `Prefetched`.

    Attributes
    ----------
    model
        Name of a model of the service; its first one when empty.
    around
        ``(y, x)`` where the user looks; the middle of the image when None.
    """

    image: ImageRef
    model: Name = ""
    options: SegmentOptions = SegmentOptions()
    around: tuple[float, float] | None = None


class DetectBoxes(Message, frozen=True, kw_only=True, tag="detect_boxes"):
    """Find boxes around cells. Answered by `BoxesFound`."""

    image: ImageRef
    model: Name = ""
    box_score: float | None = None


class SegmentPrompts(Message, frozen=True, kw_only=True, tag="segment_prompts"):
    """Outline the cells that prompts point at. Answered by `MasksFound`, one mask per prompt."""

    image: ImageRef
    prompts: Prompts
    model: Name = ""
    options: SegmentOptions = SegmentOptions()
    logits: bool = False


class SegmentImage(Message, frozen=True, kw_only=True, tag="segment_image"):
    """Outline every cell. Answered by `CellsFound` frames, in which every cell comes once, then `Segmented`."""

    image: ImageRef
    model: Name = ""
    options: SegmentOptions = SegmentOptions()


class FetchFeatures(Message, frozen=True, kw_only=True, tag="fetch_features"):
    """Get what decoding these prompts needs, to decode them elsewhere. Answered by `FeaturesFound`."""

    image: ImageRef
    prompts: Prompts
    model: Name = ""
    options: SegmentOptions = SegmentOptions()


class PutFeatures(Message, frozen=True, kw_only=True, tag="put_features"):
    """Keep features that another service computed with the same weights. Answered by `FeaturesKept`.

    Only a service that belongs to one user takes them: who can put features decides what others see.
    """

    entries: Annotated[tuple[FeatureEntry, ...], msgspec.Meta(max_length=MOST_ENTRIES)]
    model: Name = ""


Offset = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class LessonData(Message, frozen=True, kw_only=True):
    """A corrected picture: as `napari_cellsam.data.retraining.pictures.RetrainingPicture`.

    Attributes
    ----------
    labels
        ``(Y, X)`` uint32.
    verified
        ``(Y, X)``, where every cell is outlined.
    corner, whole
        Where it begins in the whole image, and the shape of that; None where this is all of it.
    """

    image: PutImage
    labels: ArrayData
    verified: BitsData
    name: Name
    group: Name
    corner: tuple[Offset, Offset] = (0, 0)
    whole: tuple[Offset, Offset] | None = None


Lessons = Annotated[tuple[LessonData, ...], msgspec.Meta(max_length=100_000)]


class TrainModel(Message, frozen=True, kw_only=True, tag="train_model"):
    """Make a new model out of one that is there. Answered by `Learning` frames, then `Trained`.

    Cancelled, or cut off, it leaves a checkpoint: the same request goes on from there.

    Attributes
    ----------
    name
        Of the new model.
    train, val
        Pictures to learn from, and to be judged on; without the latter, parts of the former are held out.
    model
        As in `Prefetch`: what the new one is made from.
    """

    name: Name
    train: Lessons
    val: Lessons = ()
    model: Name = ""
    options: FinetuneOptions = FinetuneOptions()


class StopTraining(Message, frozen=True, kw_only=True, tag="stop_training"):
    """End a training of the same client early, with the best so far. Answered by `TrainingStopped`.

    Attributes
    ----------
    name
        Of the new model.
    """

    name: Name


class Cancel(Message, frozen=True, kw_only=True, tag="cancel"):
    """Cancel another request of the same client. Answered by `Cancelled`."""

    request_id: Name


class GetInfo(Message, frozen=True, kw_only=True, tag="get_info"):
    """Say what the service is. Answered by `ServiceInfo`."""


Request = (
    PutImage
    | Prefetch
    | DetectBoxes
    | SegmentPrompts
    | SegmentImage
    | FetchFeatures
    | PutFeatures
    | TrainModel
    | StopTraining
    | Cancel
    | GetInfo
)


class Envelope(Message, frozen=True, kw_only=True):
    """A request with what the service needs to order and to cancel it.

    Attributes
    ----------
    protocol
        `PROTOCOL_VERSION` of the sender, read before anything else.
    client_id, request_id
        Names that the client makes up, unlikely to meet another's. Only the same client can cancel a request.
    slot
        A request replaces its client's waiting request of the same slot, which fails with `RequestReplacedError`: the
        preview under a moving cursor needs only the newest. None replaces nothing: two clicks are two cells.
    request
        The `Request` itself, still encoded.
    """

    protocol: int
    client_id: Name
    request_id: Name
    slot: Name | None = None
    request: msgspec.Raw
