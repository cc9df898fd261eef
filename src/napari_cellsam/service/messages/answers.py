"""The answers of a service: results, and the frames in which they are streamed."""

from __future__ import annotations

from napari_cellsam.service.messages.parts import ArrayData, CellData, FeatureEntry, MaskData, Message
from napari_cellsam.types.finetuning import TrainingProgress, TrainingRecord

__all__ = [
    "BoxesFound",
    "Cancelled",
    "CellsFound",
    "Failure",
    "FeaturesFound",
    "FeaturesKept",
    "Frame",
    "ImageKept",
    "Learning",
    "LimitsInfo",
    "MasksFound",
    "ModelInfo",
    "Prefetched",
    "Progress",
    "Reply",
    "Result",
    "Segmented",
    "ServiceInfo",
    "Trained",
    "TrainingStopped",
    "Waiting",
]


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
    weights_id
        Hash of the weights that encoded them; empty from a service that does not say.
    """

    n_encoded: int
    n_cached: int
    diameter: float | None
    seconds: float
    weights_id: str = ""


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


class Trained(Message, frozen=True, kw_only=True, tag="trained"):
    """The name of a new model, which the service offers from now on, where it comes from and how good it is."""

    name: str
    record: TrainingRecord


class TrainingStopped(Message, frozen=True, kw_only=True, tag="training_stopped"):
    """Whether there was such a training; it ends within a step or two, and is answered as if its time were up."""

    found: bool


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
    training
        Where it comes from, if it was fine-tuned there.
    """

    name: str
    title: str
    licence: str
    weights_id: str
    loaded: bool
    can_detect: bool | None
    training: TrainingRecord | None = None


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
    trains
        Whether clients may have models trained.
    """

    version: str
    protocol: int
    device: str
    memory_bytes: int
    memory_used_bytes: int
    models: tuple[ModelInfo, ...]
    limits: LimitsInfo
    private: bool
    trains: bool = False


Result = (
    ImageKept
    | Prefetched
    | BoxesFound
    | MasksFound
    | Segmented
    | FeaturesFound
    | FeaturesKept
    | Trained
    | TrainingStopped
    | Cancelled
    | ServiceInfo
)


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


class Learning(Message, frozen=True, kw_only=True, tag="learning"):
    """Where a training stands."""

    progress: TrainingProgress


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


Frame = Waiting | Progress | CellsFound | Learning | Reply | Failure
