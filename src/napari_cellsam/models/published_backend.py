"""CellSAM and SAM at their published sizes on a device, as the engine uses them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.models.backend import Decoded, PicturePrompt
from napari_cellsam.models.mask_windows import lay_over
from napari_cellsam.models.network.cellsam import CellSam, adaptive_cut
from napari_cellsam.models.network.mask_decoding import FieldPrompt
from napari_cellsam.types import SegmentOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cellsam.models.feature_store import Arrays
    from napari_cellsam.models.network.inputs import Scale

__all__ = ["PublishedBackend"]

_GRID_STEP = 4  # pixels of the field per logit
_EDGE = 0.6  # a crop is decoded again where its edge comes so close, in logits, to belonging to the cell


class _Lazy:
    """A picture whose two encoders run when they are needed: prompts need one, boxes the other."""

    def __init__(self, network: CellSam, picture: Tensor | None, scale: Scale | None) -> None:
        self._network, self._picture, self._scale = network, picture, scale
        self._mask: Tensor | None = None
        self._detector: Tensor | None = None

    @classmethod
    def of_mask(cls, network: CellSam, mask: Tensor) -> _Lazy:
        """Make one for prompts alone, from the embedding that was computed before."""
        lazy = cls(network, None, None)
        lazy._mask = mask
        return lazy

    @property
    def has_picture(self) -> bool:
        """Whether both encoders can run."""
        return self._picture is not None and self._scale is not None

    @property
    def n_bytes(self) -> int:
        """Memory of what is there now; it grows when an encoder runs."""
        parts = [part for part in (self._picture, self._mask, self._detector) if part is not None]
        return sum(part.numel() * part.element_size() for part in parts)

    def _source(self) -> tuple[Tensor, Scale]:
        if self._picture is None or self._scale is None:
            raise UnsupportedTaskError("these features were kept for prompts alone; encode the image to detect cells")
        return self._picture, self._scale

    @property
    def mask(self) -> Tensor:
        """Embedding of the mask branch."""
        if self._mask is None:
            self._mask = self._network.encode_mask(*self._source())
        return self._mask

    @property
    def detector(self) -> Tensor:
        """Features for CellFinder."""
        if self._detector is None:
            self._detector = self._network.encode_detector(*self._source())
        return self._detector


class PublishedBackend:
    """Encode, detect and decode with a published network.

    Parameters
    ----------
    network
        CellSAM, or SAM alone.
    device
        Where it runs.
    dtype
        ``torch.float32``, or ``torch.bfloat16`` for products in half precision.
    """

    squashes = True
    half_pixel = False  # prompts are multiplied only; SAM adds its own half pixel
    stride = 1  # its fields are squashed, so no two share a grid
    native_zoom = 2.0  # it was trained on tiles of 512 pixels, enlarged to its field
    repeats = False  # its results are those of the paper
    nominal_diameter = 60.0

    def __init__(self, network: CellSam, device: torch.device, dtype: torch.dtype) -> None:
        self.network = network.eval().requires_grad_(False).to(device)
        if dtype == torch.bfloat16:
            self.network.use_bfloat16()
        self.precision = str(dtype).removeprefix("torch.")
        self.side = network.side
        self.grid_side = network.side // _GRID_STEP
        self.can_detect = network.can_detect
        finder = network.config.finder
        self.n_queries = finder.n_anchors if finder else 0
        self.defaults = SegmentOptions(
            box_score=0.4,
            score_rule="adaptive",
            diameter="native",
            clahe=True,
            min_predicted_iou=0.5,
            min_area=25,
            overlap=0.25,
            looks=1,
        )

    def measure(self, prepared: NDArray[np.float32]) -> Scale:
        """Return the limits between which the whole image's values are stretched."""
        with torch.inference_mode():
            return self.network.measure_scale(torch.from_numpy(prepared))

    def encode(self, prepared: NDArray[np.float32], size: tuple[int, int], shared: Scale) -> _Lazy:  # noqa: ARG002 - always the field's
        """Return the features of a prepared region ``(3, h, w)``, squashed to the field."""
        return _Lazy(self.network, torch.from_numpy(np.ascontiguousarray(prepared)), shared)

    def pack(self, features: _Lazy) -> Arrays:
        """Return the mask branch's embedding, which is all that prompts need."""
        return {"mask": self.embedding(features)}

    def unpack(self, arrays: Arrays) -> _Lazy | None:
        """Return features for prompts; None if the arrays are not such as `pack` returns."""
        vit = self.network.config.vit
        n_tokens = vit.side // vit.patch
        if arrays.keys() != {"mask"} or arrays["mask"].shape != (vit.n_out, n_tokens, n_tokens):
            return None
        mask = torch.from_numpy(arrays["mask"].astype(np.float32)).to(self.network.device)
        return _Lazy.of_mask(self.network, mask)

    def n_bytes(self, features: _Lazy) -> int:
        """Return the memory that features take."""
        return features.n_bytes

    def detects_from(self, features: _Lazy | Arrays) -> bool:
        """Return whether the picture is still there: the detector's encoder runs when it is needed."""
        return isinstance(features, _Lazy) and features.has_picture

    def embedding(self, features: _Lazy) -> NDArray[np.float32]:
        """Return the mask branch's embedding ``(256, 64, 64)``."""
        with torch.inference_mode():
            result: NDArray[np.float32] = features.mask.float().cpu().numpy()
        return result

    def detect(self, features: _Lazy) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return all boxes ``(N, 4)`` x0, y0, x1, y1 and scores ``(N,)``, best first.

        Raises
        ------
        UnsupportedTaskError
            If the network is SAM alone.
        """
        with torch.inference_mode():
            found = self.network.detect(features.detector)
        return found.boxes.float().cpu().numpy(), found.scores.float().cpu().numpy()

    def score_cut(self, scores: NDArray[np.float32], options: SegmentOptions) -> float:
        """Return the score above which a box counts: the option itself, or moved by the scores as in the package."""
        threshold = float(options.box_score or 0.0)
        return adaptive_cut(torch.from_numpy(scores), threshold) if options.score_rule == "adaptive" else threshold

    outlined_from = score_cut

    def cell_score(self, score: float, predicted_iou: float, options: SegmentOptions) -> float:  # noqa: ARG002
        """Return the detector's score: published models go by it alone."""
        return score

    def decode(
        self, features: _Lazy, prompts: list[PicturePrompt], *, whole: bool = False, threshold: float = 0.5
    ) -> list[Decoded]:
        """Return one mask per prompt: the whole field's logits on request, else those around the box."""
        if not prompts:
            return []
        edge = math.log(threshold / (1 - threshold)) - _EDGE
        with torch.inference_mode():
            asked = [self._field_prompt(prompt) for prompt in prompts]
            answer = self.network.decode(features.mask, asked, whole_field=whole, edge_logit=edge)
        results = []
        for logits, corner, iou in zip(answer.logits, answer.corners.tolist(), answer.iou.tolist(), strict=True):
            grid = logits.float().cpu().numpy()
            x, y = corner
            window = np.array([x, y, x + grid.shape[1], y + grid.shape[0]], np.float32) * _GRID_STEP
            results.append(Decoded(grid, window, iou))
        return results

    def _field_prompt(self, prompt: PicturePrompt) -> FieldPrompt:
        def tensor(array: NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(array.astype(np.float32)).to(self.network.device)

        points = np.concatenate((prompt.inside, prompt.outside))
        labels = np.repeat(np.array([1, 0], np.int64), (len(prompt.inside), len(prompt.outside)))
        previous = None
        if prompt.logits is not None and prompt.window is not None:
            n, field = self.side // _GRID_STEP, np.array([0, 0, self.side, self.side], np.float32)
            previous = tensor(lay_over(prompt.logits, prompt.window, field, (n, n)))
        return FieldPrompt(
            tensor(points) if len(points) else None,
            torch.from_numpy(labels).to(self.network.device) if len(points) else None,
            None if prompt.box is None else tensor(prompt.box),
            previous,
        )
