"""The results: masks, boxes, embeddings and label images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Cell", "Detections", "Embedding", "LowResLogits", "Mask", "Segmentation"]


_SURE = 4.0  # logit of a pixel that a person drew
_MARGIN = 4  # pixels around a drawn cell
_FINEST = 170  # values along a drawn cell's longer side


@dataclass(frozen=True, eq=False)
class LowResLogits:
    """A mask decoder's logits before they are scaled to the image.

    Attributes
    ----------
    values
        ``(h, w)`` float32 logits.
    window
        ``(y_min, x_min, y_max, x_max)`` outer edges, in image pixels, of the area that the values cover evenly: value
        ``(i, j)`` has its centre at ``y_min + (i + 0.5) * (y_max - y_min) / h``, likewise for x.
    """

    values: NDArray[np.float32]
    window: tuple[float, float, float, float]

    @classmethod
    def of_outline(cls, crop: NDArray[np.bool_], corner: tuple[int, int]) -> LowResLogits:
        """Return an outline as if a decoder had answered it, so that a model can correct it whoever drew it.

        Parameters
        ----------
        crop
            ``(h, w)`` pixels of the cell, cut to its bounding box.
        corner
            ``(y, x)`` pixel of the image at which the crop begins.

        Returns
        -------
        LowResLogits
            Logits of 4 in the cell and -4 around it, with a quarter of the cell's sides and 4 pixels of margin; coarser
            than the image where the cell is longer than 170 pixels.
        """
        step = max(math.ceil(max(crop.shape) / _FINEST), 1)
        whole = np.pad(crop, [(0, -n % step) for n in crop.shape])
        height, width = (n // step for n in whole.shape)
        share = whole.reshape(height, step, width, step).mean((1, 3), dtype=np.float32)
        around = [n // 4 + math.ceil(_MARGIN / step) for n in share.shape]
        values = np.pad((2 * share - 1) * _SURE, [(n, n) for n in around], constant_values=-_SURE)
        top, left = (float(at - n * step) for at, n in zip(corner, around, strict=True))
        height, width = (n * step for n in values.shape)
        return cls(values, (top, left, top + height, left + width))


@dataclass(frozen=True, eq=False)
class Mask:
    """One cell as a crop of the image.

    Attributes
    ----------
    crop
        ``(h, w)`` bool; may be empty (0, 0) when nothing was found.
    corner
        ``(y, x)`` pixel of the image at which the crop begins.
    score
        Predicted intersection over union, 0 to 1.
    probability
        ``(h, w)`` uint8, 255 times the probability inside the crop, or None.
    low_res
        The decoder's logits, on request, to refine the mask with further clicks.
    """

    crop: NDArray[np.bool_]
    corner: tuple[int, int]
    score: float
    probability: NDArray[np.uint8] | None = None
    low_res: LowResLogits | None = None

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """``(h, w)`` low-resolution logits where they were asked for."""
        return None if self.low_res is None else self.low_res.values

    @property
    def area(self) -> int:
        """Number of pixels in the mask."""
        return int(self.crop.sum())

    @property
    def box(self) -> tuple[float, float, float, float]:
        """``(y_min, x_min, y_max, x_max)``, centres of the outermost pixels; the corner twice when empty."""
        y, x = self.corner
        if not self.crop.any():
            return float(y), float(x), float(y), float(x)
        rows, columns = np.flatnonzero(self.crop.any(1)), np.flatnonzero(self.crop.any(0))
        return float(y + rows[0]), float(x + columns[0]), float(y + rows[-1]), float(x + columns[-1])

    def full(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask as a ``(Y, X)`` bool array of the given shape."""
        result = np.zeros(shape, bool)
        (y, x), (height, width) = self.corner, self.crop.shape
        result[y : y + height, x : x + width] = self.crop
        return result


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell of an automatic segmentation, as it will stay.

    Attributes
    ----------
    mask
        Its pixels, which no other cell of the segmentation shares; ``mask.score`` is the predicted IoU.
    score
        How sure the model is that it is a cell, 0 to 1.
    """

    mask: Mask
    score: float


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes that a detector proposes, best first.

    Attributes
    ----------
    boxes
        ``(N, 4)`` float32, ``(y_min, x_min, y_max, x_max)`` in image pixels, not clipped to the image.
    scores
        ``(N,)`` float32, 0 to 1, falling.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the mask branch sees of an image.

    Attributes
    ----------
    array
        ``(256, h, w)`` float32.
    shape
        ``(Y, X)`` of the image.
    image_id, model_id
        What was embedded, and by which weights.
    """

    array: NDArray[np.float32]
    shape: tuple[int, int]
    image_id: str
    model_id: str


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Every cell of an image.

    Attributes
    ----------
    labels
        ``(Y, X)`` uint32; 0 is background, cells are 1..N without gaps.
    boxes
        ``(N, 4)`` float32, ``(y_min, x_min, y_max, x_max)`` centres of the outermost pixels; row i is cell i + 1.
    scores
        ``(N,)`` float32, how sure the model is of each, 0 to 1.
    predicted_iou
        ``(N,)`` float32, the mask decoder's own estimate, 0 to 1.
    diameter
        Cell diameter in pixels that the image was scaled by, or None where no scaling was asked for.
    notes
        What the user should know about the run.
    """

    labels: NDArray[np.uint32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    predicted_iou: NDArray[np.float32]
    diameter: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.scores)
