"""A loaded model: images in; boxes, masks and label images out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from napari_cellsam.data.tiling import Candidate, join
from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.geometry import Frame
from napari_cellsam.labels import assemble, boxes_of
from napari_cellsam.models.backend import Backend, PicturePrompt
from napari_cellsam.models.frame_features import FrameFeatures
from napari_cellsam.models.framing import frame_at, frame_for, frames_of, quarters, squashes, whole_frame, zoom_for
from napari_cellsam.models.pasting import paste
from napari_cellsam.models.scale import centre_region, estimate_diameter
from napari_cellsam.models.search import Search
from napari_cellsam.types import Detections, Embedding, Image, Mask, Prompt, Segmentation, SegmentOptions

__all__ = ["Model", "load_model"]
_LOOK_SCORE = 0.3  # from which a detection counts in a look for the cells' size, whatever counts as a cell later

Progress = Callable[[int, int], None]


def load_model(name: str = "compact", device: str = "auto", precision: str = "auto") -> Model:
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
    from napari_cellsam.models.registry import find_model, find_weights, list_models

    where = choose_device(device)
    weights = find_weights(name)
    backend = load_backend(weights, where, precision)
    if name in {spec.name for spec in list_models()}:
        return Model(backend, name, find_model(name).defaults)
    return Model(backend, weights.stem)


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
    """

    def __init__(self, backend: Backend, model_id: str, defaults: SegmentOptions | None = None) -> None:
        self.backend = backend
        self.model_id = model_id
        self.defaults = (defaults or SegmentOptions()).with_defaults(backend.defaults)
        self._features = FrameFeatures(backend)
        self._diameters: dict[tuple[str, bool], float | None] = {}

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
        features = self._features.of(image, whole_frame(self.backend, image.shape), clahe=bool(self.defaults.clahe))
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
        image = _as_image(image)
        self._require_detector()
        options = SegmentOptions(box_score=box_score, score_rule=None if box_score is None else "fixed")
        options = options.with_defaults(self.defaults)
        return self._detect(image, whole_frame(self.backend, image.shape), options)

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
        """
        image = _as_image(image)
        options = (options or SegmentOptions()).with_defaults(self.defaults)
        zoom = self._prompt_zoom(image, prompts, options)
        groups: dict[Frame, list[int]] = {}
        for i, prompt in enumerate(prompts):
            frame = frame_for(self.backend, image.shape, prompt, options, zoom)
            groups.setdefault(frame, []).append(i)
        masks: dict[int, Mask] = {}
        for frame, members in groups.items():
            features = self._features.of(image, frame, clahe=bool(options.clahe))
            asked = [_to_picture(prompts[i], frame) for i in members]
            answers = self.backend.decode(features, asked, whole=logits, threshold=options.mask_threshold)
            for i, decoded in zip(members, answers, strict=True):
                masks[i] = paste(decoded, frame, image.shape, options.mask_threshold, keep_logits=logits)
        return [masks[i] for i in range(len(prompts))]

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
        self._require_detector()
        options = (options or SegmentOptions()).with_defaults(self.defaults)
        diameter = self.diameter(image, options)
        frames, tiles = frames_of(self.backend, image.shape, options, zoom_for(self.backend, diameter))
        search = Search(frames, tiles)
        for number, frame in enumerate(search.frames):  # grows while it is walked
            self._look_into(image, frame, number, options, search)
            if on_progress:
                on_progress(number + 1, len(search.frames))
        joined = [search.candidates[i] for i in join(search.candidates, search.tiles)]
        labels, rows = assemble(
            [c.mask for c in joined], [c.score for c in joined], image.shape, min_area=options.min_area or 0
        )
        chosen = [joined[row] for row in rows]
        return Segmentation(
            labels,
            boxes_of(labels),
            np.array([c.score for c in chosen], np.float32),
            np.array([c.mask.score for c in chosen], np.float32),
            diameter,
            tuple(dict.fromkeys(search.notes)),
        )

    def diameter(self, image: Image, options: SegmentOptions) -> float | None:
        """Return the cell diameter in pixels by which the image is scaled; None where it stays as it is."""
        if options.diameter == "native" or squashes(self.backend, image.shape, options):
            return None
        if isinstance(options.diameter, int | float):
            return float(options.diameter)
        key = image.image_id, bool(options.clahe)
        if key not in self._diameters:
            self._diameters[key] = estimate_diameter(
                lambda zoom: self._look(image, zoom, options), self.backend.nominal_diameter
            )
        return self._diameters[key]

    def _look(self, image: Image, zoom: float, options: SegmentOptions) -> tuple[Detections, float]:
        """Detect in the middle of the image at a zoom; return the boxes and the area that was seen."""
        region = centre_region(image.shape, self.backend.side / zoom)
        frame = frame_at(self.backend, region, zoom)
        area = (region[2] - region[0]) * (region[3] - region[1])
        return self._detect(image, frame, replace(options, box_score=_LOOK_SCORE, score_rule="fixed")), float(area)

    def _look_into(self, image: Image, frame: Frame, number: int, options: SegmentOptions, search: Search) -> None:
        """Add the cells of a frame to a search, or its quarters if it may hold more than the detector has queries."""
        features = self._features.of(image, frame, clahe=bool(options.clahe))
        boxes, scores = self.backend.detect(features)
        counted = scores > self.backend.score_cut(scores, options)
        full = counted.sum() >= self.backend.n_queries
        if full and search.split(number, quarters(frame, self.backend.squashes)):
            return
        empty = np.zeros((0, 2), np.float32)
        prompts = [PicturePrompt(empty, empty, box=box) for box in boxes[counted]]
        answers = self.backend.decode(features, prompts, whole=False, threshold=options.mask_threshold)
        for answer, score in zip(answers, scores[counted], strict=True):
            mask = paste(answer, frame, image.shape, options.mask_threshold)
            if mask.area and answer.predicted_iou >= (options.min_predicted_iou or 0):
                search.candidates.append(Candidate(mask, float(score), number))

    def _detect(self, image: Image, frame: Frame, options: SegmentOptions) -> Detections:
        boxes, scores = self.backend.detect(self._features.of(image, frame, clahe=bool(options.clahe)))
        counted = scores >= self.backend.score_cut(scores, options)
        return Detections(frame.boxes_to_image(boxes[counted]), scores[counted])

    def forget(self) -> None:
        """Drop all that is kept of images: encoded tiles, the prepared image, estimated diameters."""
        self._features.forget()
        self._diameters.clear()

    def _prompt_zoom(self, image: Image, prompts: Sequence[Prompt], options: SegmentOptions) -> float:
        """Return the zoom for prompts: from their boxes where all have one, else from the image's cells."""
        boxes = [p.box_yxyx for p in prompts if p.box_yxyx is not None]
        if options.diameter == "auto" and (len(boxes) == len(prompts) or not self.backend.can_detect):
            if not boxes:
                return self.backend.native_zoom
            sides = np.array([(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in boxes])
            return zoom_for(self.backend, float(np.sqrt(np.median(sides))))
        return zoom_for(self.backend, self.diameter(image, options))

    def _require_detector(self) -> None:
        if not self.backend.can_detect:
            raise UnsupportedTaskError(
                f"model {self.model_id!r} is a SAM model without CellFinder: it answers clicks and boxes, but cannot "
                "find cells by itself. Use a CellSAM model or 'compact' for automatic segmentation."
            )


def _as_image(image: Image | ArrayLike) -> Image:
    return image if isinstance(image, Image) else Image.from_array(image)


def _to_picture(prompt: Prompt, frame: Frame) -> PicturePrompt:
    """Return a prompt in the coordinates of a frame's picture."""
    box, previous = prompt.box_yxyx, prompt.mask_logits
    return PicturePrompt(
        frame.points_to_picture(prompt.inside_yx),
        frame.points_to_picture(prompt.outside_yx),
        None if box is None else frame.boxes_to_picture(box[None])[0],
        None if previous is None else previous.values,
        None if previous is None else frame.edges_to_picture(np.array([previous.window], np.float32))[0],
    )
