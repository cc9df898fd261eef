"""A loaded model: images in; boxes, masks and label images out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.geometry import check_prompt
from napari_cellsam.models.backend import Backend
from napari_cellsam.models.cell_sizes import CellSizes
from napari_cellsam.models.feature_store import Arrays, FeatureStore
from napari_cellsam.models.frame_features import FrameFeatures
from napari_cellsam.models.framing import whole_frame
from napari_cellsam.models.prompt_work import Prefetch, PromptAsk, PromptWork
from napari_cellsam.models.steps import Advance, Found, Step, Steps, run_steps
from napari_cellsam.models.whole_image import SegmentSummary, WholeImageWork
from napari_cellsam.types import (
    AbsentImage,
    Cell,
    Detections,
    Embedding,
    Image,
    Mask,
    Prompt,
    Segmentation,
    SegmentOptions,
)

__all__ = ["Model", "load_model"]

Progress = Callable[[int, int], None]
AnyImage = Image | AbsentImage


def load_model(
    name: str = "compact",
    device: str = "auto",
    precision: str = "auto",
    *,
    store: FeatureStore | None = None,
    feature_bytes: int = 128 * 2**20,
) -> Model:
    """Load a model.

    Parameters
    ----------
    name
        A registered name, or a path to weights.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    precision
        ``"fp32"``, ``"bf16"``, or ``"auto"``: for the compact model bf16 where the processor computes in it; for
        published weights fp32, since their detector's boxes move in bf16.
    store
        Where what prompts need is kept beside memory, such as a `napari_cellsam.models.disk_store.DiskStore`.
    feature_bytes
        Memory of the device for what was computed of images.

    Raises
    ------
    ModelNotFoundError
        If no such model is registered and no such file exists.
    CheckpointError
        If the weights are broken, unsafe or of another design.
    DeviceError
        If the machine has no such device.
    """
    from napari_cellsam.models.loading import choose_device, load_backend
    from napari_cellsam.models.registry import find_model, find_weights, is_registered

    where = choose_device(device)
    weights = find_weights(name)
    backend = load_backend(weights, where, precision)
    known = is_registered(name)
    with weights.open("rb") as file:
        weights_id = hashlib.file_digest(file, "sha256").hexdigest()
    return Model(
        backend,
        name if known else weights.stem,
        find_model(name).defaults if known else None,
        weights_id=weights_id,
        features=FrameFeatures(backend, weights_id, store, feature_bytes),
    )


class Model:
    """Embed, detect, and segment with one set of weights.

    Parameters
    ----------
    backend
        The network on its device.
    model_id
        Name that embeddings carry.
    defaults
        Options for what a caller leaves open; what these leave open too is the back end's.
    weights_id
        sha256 of the weights' file, where they are from one.
    features
        What is computed of images, and kept.
    """

    def __init__(
        self,
        backend: Backend,
        model_id: str,
        defaults: SegmentOptions | None = None,
        *,
        weights_id: str = "",
        features: FrameFeatures | None = None,
    ) -> None:
        self.backend = backend
        self.model_id = model_id
        self.weights_id = weights_id
        self.defaults = (defaults or SegmentOptions()).with_defaults(backend.defaults)
        self.features = features or FrameFeatures(backend, weights_id)
        self._sizes = CellSizes(backend, self.features)
        self._prompts = PromptWork(backend, self.features, self._sizes)
        self._whole = WholeImageWork(backend, self.features, self._sizes)

    def embed(self, image: Image | ArrayLike) -> Embedding:
        """Encode a whole image as one field.

        Parameters
        ----------
        image
            ``(Y, X)``, ``(Y, X, C)`` or an `Image`. What does not fit into the model's field is shrunk to it.

        Returns
        -------
        Embedding
            ``array`` is ``(256, h, w)`` float32.
        """
        image = _as_image(image)
        features = self.features.of(image, whole_frame(self.backend, image.shape), clahe=bool(self.defaults.clahe))
        return Embedding(self.backend.embedding(features), image.shape, image.image_id, self.model_id)

    def detect(self, image: Image | ArrayLike, box_score: float | None = None) -> Detections:
        """Find boxes around cells in a whole image, as one field.

        Parameters
        ----------
        image
            As for `embed`.
        box_score
            Only boxes with at least this score; 0 for all, None for the model's own cut.

        Raises
        ------
        UnsupportedTaskError
            If the model has no detector.
        """
        return run_steps(self.detect_steps(_as_image(image), box_score))

    def detect_steps(self, image: AnyImage, box_score: float | None = None) -> Steps[Detections]:
        """Do `detect` in steps."""
        self._require_detector()
        options = SegmentOptions(box_score=box_score, score_rule=None if box_score is None else "fixed")
        return (yield from self._whole.detect_steps(image, options.with_defaults(self.defaults)))

    def segment_prompts(
        self,
        image: Image | ArrayLike,
        prompts: Sequence[Prompt],
        options: SegmentOptions | None = None,
        *,
        logits: bool = False,
    ) -> list[Mask]:
        """Outline the cells that prompts point at.

        Parameters
        ----------
        image
            As for `embed`.
        prompts
            Any number; those in one tile are decoded together.
        options
            ``diameter``, ``scaling``, ``clahe`` and ``mask_threshold`` count.
        logits
            Whether masks carry their low-resolution logits, to be refined by a further prompt.

        Returns
        -------
        list of Mask
            One per prompt, in order; the crop is empty where nothing was found.

        Raises
        ------
        PromptError
            If a prompt is nowhere near the image.
        """
        picture = _as_image(image)
        for prompt in prompts:
            check_prompt(prompt, picture.shape)
        [masks] = run_steps(self.prompt_steps(picture, [self.ask(prompts, options, logits=logits)]))
        return masks

    def ask(
        self, prompts: Sequence[Prompt], options: SegmentOptions | None = None, *, logits: bool = False
    ) -> PromptAsk:
        """Return prompts as `prompt_steps` takes them; the parameters are those of `segment_prompts`."""
        return PromptAsk(prompts, (options or SegmentOptions()).with_defaults(self.defaults), logits)

    def prompt_steps(self, image: AnyImage, asks: Sequence[PromptAsk]) -> Steps[list[list[Mask]]]:
        """Answer several requests about one image in steps; what they share is computed once."""
        return self._prompts.steps(image, asks)

    def prefetch_steps(
        self, image: AnyImage, options: SegmentOptions | None = None, around_yx: tuple[float, float] | None = None
    ) -> Steps[Prefetch]:
        """Compute what the first click at a point, or in the middle, will need."""
        return self._prompts.prefetch_steps(
            image, (options or SegmentOptions()).with_defaults(self.defaults), around_yx
        )

    def entry_steps(self, image: AnyImage, ask: PromptAsk) -> Steps[dict[str, Arrays]]:
        """Compute what another machine with these weights needs to answer prompts."""
        return self._prompts.entry_steps(image, ask)

    def segment(
        self,
        image: Image | ArrayLike,
        options: SegmentOptions | None = None,
        *,
        on_progress: Progress | None = None,
    ) -> Segmentation:
        """Outline every cell of an image.

        Parameters
        ----------
        image
            As for `embed`, of any size.
        options
            How; what is left open is the model's default.
        on_progress
            Called with tiles done and tiles in all.

        Raises
        ------
        UnsupportedTaskError
            If the model has no detector.
        """
        image = _as_image(image)
        labels = np.zeros(image.shape, np.uint32)
        cells: list[Cell] = []

        def take(step: Step) -> None:
            if isinstance(step, Found):
                for number, cell in enumerate(step.cells, start=len(cells) + 1):
                    (y, x), (height, width) = cell.mask.corner, cell.mask.crop.shape
                    labels[y : y + height, x : x + width][cell.mask.crop] = number
                cells.extend(step.cells)
            elif isinstance(step, Advance) and on_progress:
                on_progress(step.done, step.total)

        summary = run_steps(self.segment_steps(image, options), take)
        return Segmentation(
            labels,
            np.array([cell.mask.box for cell in cells], np.float32).reshape(-1, 4),
            np.array([cell.score for cell in cells], np.float32),
            np.array([cell.mask.score for cell in cells], np.float32),
            summary.diameter,
            summary.notes,
        )

    def segment_steps(self, image: AnyImage, options: SegmentOptions | None = None) -> Steps[SegmentSummary]:
        """Do `segment` in steps, which hand over cells as soon as they are final."""
        self._require_detector()
        return (yield from self._whole.segment_steps(image, (options or SegmentOptions()).with_defaults(self.defaults)))

    def diameter(self, image: Image, options: SegmentOptions) -> float | None:
        """Return the cell diameter in pixels by which the image is scaled; None where it stays as it is."""
        return run_steps(self._sizes.steps(image, options))

    def forget(self) -> None:
        """Drop all that is kept of images in memory: encoded tiles, prepared images, estimated diameters."""
        self.features.forget()
        self._sizes.forget()

    def _require_detector(self) -> None:
        if not self.backend.can_detect:
            raise UnsupportedTaskError(
                f"model {self.model_id!r} is a SAM model without CellFinder: it answers clicks and boxes, but cannot "
                "find cells by itself. Use a CellSAM model or 'compact' for automatic segmentation."
            )


def _as_image(image: Image | ArrayLike) -> Image:
    return image if isinstance(image, Image) else Image.from_array(image)
