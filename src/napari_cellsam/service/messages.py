"""The messages between a client and the model service.

A request travels in an `Envelope`; the answer is a stream of frames, of which the last is a `Reply` or a `Failure`.
Images are named by their content (`napari_cellsam.Image.image_id`), and each request carries all its prompts: the
service keeps nothing of a user but caches. Coordinates are ``(y, x)`` as everywhere.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from napari_cellsam.types import SegmentOptions

__all__ = [
    "PROTOCOL_VERSION",
    "ArrayData",
    "BitsData",
    "BoxesFound",
    "Cancel",
    "Cancelled",
    "CellData",
    "CellsFound",
    "DetectBoxes",
    "Envelope",
    "Failure",
    "FeatureEntry",
    "FeaturesFound",
    "FeaturesKept",
    "FetchFeatures",
    "Frame",
    "GetInfo",
    "ImageKept",
    "ImageRef",
    "LimitsInfo",
    "LogitsData",
    "MaskData",
    "MasksFound",
    "Message",
    "ModelInfo",
    "Prefetch",
    "Prefetched",
    "Progress",
    "PromptData",
    "PutFeatures",
    "PutImage",
    "Reply",
    "Request",
    "Result",
    "SegmentImage",
    "SegmentPrompts",
    "Segmented",
    "ServiceInfo",
    "Waiting",
]

PROTOCOL_VERSION = 1
"""Raised with every change after which an older client or service would misunderstand."""


class Message(msgspec.Struct, frozen=True):
    """Base of everything that is sent."""


# --- parts -----------------------------------------------------------------------------------------------------------


class ArrayData(Message, frozen=True, kw_only=True):
    """An array.

    Attributes
    ----------
    dtype
        Name in the table of `napari_cellsam.service.arrays`.
    shape
        Lengths of the axes.
    data
        Little-endian bytes in C order, compressed if so said.
    compression
        ``"zstd"``: the bytes of the elements are grouped by significance, then compressed.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    compression: Literal["none", "zstd"] = "none"


class BitsData(Message, frozen=True, kw_only=True):
    """A boolean crop ``(h, w)``, eight pixels a byte in C order, the first in the highest bit."""

    shape: tuple[int, int]
    data: bytes


class LogitsData(Message, frozen=True, kw_only=True):
    """A decoder's logits and the ``(y_min, x_min, y_max, x_max)`` outer edges that they cover evenly."""

    values: ArrayData
    window: tuple[float, float, float, float]


class MaskData(Message, frozen=True, kw_only=True):
    """A mask as a crop with its ``(y, x)`` corner; ``score`` is the predicted IoU."""

    corner: tuple[int, int]
    crop: BitsData
    score: float
    probability: ArrayData | None = None
    low_res: LogitsData | None = None


class CellData(Message, frozen=True, kw_only=True):
    """A cell of an automatic segmentation and its detector's score."""

    mask: MaskData
    score: float


class PromptData(Message, frozen=True, kw_only=True):
    """Clicks inside and outside ``(N, 2)``, a box, a previous mask: what points at one cell."""

    inside: ArrayData | None = None
    outside: ArrayData | None = None
    box: tuple[float, float, float, float] | None = None
    previous: LogitsData | None = None


class ImageRef(Message, frozen=True, kw_only=True):
    """An image that the service may have: name of its content, and ``(Y, X)``."""

    image_id: str
    shape: tuple[int, int]


class FeatureEntry(Message, frozen=True, kw_only=True):
    """What a model has computed of a part of an image, under the key by which its cache knows it."""

    key: str
    arrays: dict[str, ArrayData]


# --- requests --------------------------------------------------------------------------------------------------------


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
    model: str = ""
    options: SegmentOptions = SegmentOptions()
    around: tuple[float, float] | None = None


class DetectBoxes(Message, frozen=True, kw_only=True, tag="detect_boxes"):
    """Find boxes around cells. Answered by `BoxesFound`."""

    image: ImageRef
    model: str = ""
    box_score: float | None = None


class SegmentPrompts(Message, frozen=True, kw_only=True, tag="segment_prompts"):
    """Outline the cells that prompts point at. Answered by `MasksFound`, one mask per prompt."""

    image: ImageRef
    prompts: tuple[PromptData, ...]
    model: str = ""
    options: SegmentOptions = SegmentOptions()
    logits: bool = False


class SegmentImage(Message, frozen=True, kw_only=True, tag="segment_image"):
    """Outline every cell. Answered by `CellsFound` frames, in which every cell comes once, then `Segmented`."""

    image: ImageRef
    model: str = ""
    options: SegmentOptions = SegmentOptions()


class FetchFeatures(Message, frozen=True, kw_only=True, tag="fetch_features"):
    """Get what decoding these prompts needs, to decode them elsewhere. Answered by `FeaturesFound`."""

    image: ImageRef
    prompts: tuple[PromptData, ...]
    model: str = ""
    options: SegmentOptions = SegmentOptions()


class PutFeatures(Message, frozen=True, kw_only=True, tag="put_features"):
    """Keep features that another service computed with the same weights. Answered by `FeaturesKept`.

    Only a service that belongs to one user takes them: who can put features decides what others see.
    """

    entries: tuple[FeatureEntry, ...]
    model: str = ""


class Cancel(Message, frozen=True, kw_only=True, tag="cancel"):
    """Cancel another request of the same client. Answered by `Cancelled`."""

    request_id: str


class GetInfo(Message, frozen=True, kw_only=True, tag="get_info"):
    """Say what the service is. Answered by `ServiceInfo`."""


Request = (
    PutImage | Prefetch | DetectBoxes | SegmentPrompts | SegmentImage | FetchFeatures | PutFeatures | Cancel | GetInfo
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
    client_id: str
    request_id: str
    slot: str | None = None
    request: msgspec.Raw


# --- results ---------------------------------------------------------------------------------------------------------


class ImageKept(Message, frozen=True, kw_only=True, tag="image_kept"):
    """The service has the image, and names it so."""

    image_id: str


class Prefetched(Message, frozen=True, kw_only=True, tag="prefetched"):
    """The first prompts will not wait for the encoder.

    Attributes
    ----------
    n_encoded, n_cached
        Parts of the image that were encoded now, and that were there already.
    diameter
        Cell diameter in pixels by which the image is scaled, or None.
    seconds
        How long it took.
    """

    n_encoded: int
    n_cached: int
    diameter: float | None
    seconds: float


class BoxesFound(Message, frozen=True, kw_only=True, tag="boxes_found"):
    """Boxes ``(N, 4)`` and scores ``(N,)``, float32, best first."""

    boxes: ArrayData
    scores: ArrayData


class MasksFound(Message, frozen=True, kw_only=True, tag="masks_found"):
    """One mask per prompt, in order."""

    masks: tuple[MaskData, ...]


class Segmented(Message, frozen=True, kw_only=True, tag="segmented"):
    """The end of an automatic segmentation: how many cells were sent, and what the user should know."""

    n_cells: int
    diameter: float | None
    notes: tuple[str, ...] = ()


class FeaturesFound(Message, frozen=True, kw_only=True, tag="features_found"):
    """Entries for the cache of a service with the same weights.

    Attributes
    ----------
    weights_id
        Hash of the weights that computed them.
    """

    weights_id: str
    entries: tuple[FeatureEntry, ...]


class FeaturesKept(Message, frozen=True, kw_only=True, tag="features_kept"):
    """How many entries are in the cache now."""

    n_entries: int


class Cancelled(Message, frozen=True, kw_only=True, tag="cancelled"):
    """Whether the request was still waiting or running."""

    found: bool


class ModelInfo(Message, frozen=True, kw_only=True):
    """A model of the service.

    Attributes
    ----------
    name, title, licence
        As registered.
    weights_id
        sha256 of the weights' file; empty until it is known.
    loaded
        Whether it is in memory.
    can_detect
        Whether it finds cells by itself; None until it is loaded.
    """

    name: str
    title: str
    licence: str
    weights_id: str
    loaded: bool
    can_detect: bool | None


class LimitsInfo(Message, frozen=True, kw_only=True):
    """What the service refuses: more than this in one request."""

    max_body_bytes: int
    max_pixels: int
    max_prompts: int
    max_waiting: int


class ServiceInfo(Message, frozen=True, kw_only=True, tag="service_info"):
    """What a service is.

    Attributes
    ----------
    version, protocol
        Of the package, and of the messages.
    device
        Such as ``"cpu"`` or ``"cuda:0 (NVIDIA A100)"``.
    memory_bytes, memory_used_bytes
        Of the device; of this process where the device is a CPU.
    models
        What it offers; the first is the default.
    limits
        What it refuses.
    private
        Whether it belongs to one user, and takes features computed elsewhere.
    """

    version: str
    protocol: int
    device: str
    memory_bytes: int
    memory_used_bytes: int
    models: tuple[ModelInfo, ...]
    limits: LimitsInfo
    private: bool


Result = (
    ImageKept
    | Prefetched
    | BoxesFound
    | MasksFound
    | Segmented
    | FeaturesFound
    | FeaturesKept
    | Cancelled
    | ServiceInfo
)


# --- frames of an answer ---------------------------------------------------------------------------------------------


class Waiting(Message, frozen=True, kw_only=True, tag="waiting"):
    """The request waits behind others. Sent every other second, so that silence means trouble."""

    n_ahead: int


class Progress(Message, frozen=True, kw_only=True, tag="progress"):
    """How far the work has come; ``total`` may grow."""

    stage: str
    done: int
    total: int


class CellsFound(Message, frozen=True, kw_only=True, tag="cells_found"):
    """Cells that are final."""

    cells: tuple[CellData, ...]


class Reply(Message, frozen=True, kw_only=True, tag="reply"):
    """The answer; nothing follows."""

    result: Result


class Failure(Message, frozen=True, kw_only=True, tag="failure"):
    """Why there is no answer; nothing follows.

    Attributes
    ----------
    error
        Name of a class of `napari_cellsam.errors`.
    message
        What was got and what to do.
    """

    error: str
    message: str


Frame = Waiting | Progress | CellsFound | Reply | Failure
