"""Our values as messages carry them, and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import LimitExceededError, MessageError
from napari_cellsam.service.arrays import pack, pack_bits, unpack, unpack_bits
from napari_cellsam.service.messages import (
    ArrayData,
    BoxesFound,
    CellData,
    ImageRef,
    LogitsData,
    MaskData,
    PromptData,
    PutImage,
)
from napari_cellsam.types import Cell, Detections, Image, LowResLogits, Mask, Prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "boxes_found",
    "cell_data",
    "cell_of",
    "detections_of",
    "image_data",
    "image_of",
    "mask_data",
    "mask_of",
    "prompt_data",
    "prompt_of",
    "ref_of",
]

_PIXEL_TYPES = ("uint8", "uint16", "float32")
_MOST_IMAGE_BYTES = 2**33
_FARTHEST = 2**31  # where an empty mask may lie
_MOST_POINTS = 100_000  # of one prompt
_MOST_LOGITS = 2**22  # bytes of one mask's logits
_LEAST_EXTENT = 1e-3  # pixels of the image that logits cover


def ref_of(image: Image) -> ImageRef:
    """Return the name of an image."""
    return ImageRef(image_id=image.image_id, shape=image.shape)


def image_data(image: Image, *, compress: bool = False) -> PutImage:
    """Return the request that sends an image."""
    return PutImage(pixels=pack(image.pixels, compress=compress), nuclear=image.nuclear, cell=image.cell, rgb=image.rgb)


def image_of(request: PutImage, max_pixels: int | None = None, max_bytes: int | None = None) -> Image:
    """Return the image that a request carries.

    Parameters
    ----------
    request
        From anyone.
    max_pixels
        Most pixels that are taken, channels counted once.
    max_bytes
        Most bytes that they may take, uncompressed.

    Raises
    ------
    LimitExceededError
        If there are more than allowed.
    MessageError, ImageShapeError, ChannelError
        If it is no image.
    """
    shape = request.pixels.shape
    n_pixels = math.prod(shape[:2])
    if max_pixels is not None and n_pixels > max_pixels:
        raise LimitExceededError(
            f"got an image of shape {shape[:3]}, {n_pixels} pixels; this service takes {max_pixels}. Crop the image, "
            "or ask who runs the server for a higher limit"
        )
    most = _MOST_IMAGE_BYTES if max_bytes is None else max_bytes
    try:
        pixels = unpack(
            request.pixels, dtypes=_PIXEL_TYPES, ndim=3, max_bytes=most, finite=True, may_be_compressed=True
        )
    except LimitExceededError as error:
        raise LimitExceededError(f"{error}. Crop the image, or ask who runs the server for a higher limit") from error
    return Image(pixels, nuclear=request.nuclear, cell=request.cell, rgb=request.rgb)


def prompt_data(prompt: Prompt) -> PromptData:
    """Return a prompt as a message carries it."""
    box, previous = prompt.box_yxyx, prompt.mask_logits
    return PromptData(
        inside=_points_data(prompt.inside_yx),
        outside=_points_data(prompt.outside_yx),
        box=None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        previous=None if previous is None else _logits_data(previous),
    )


def prompt_of(data: PromptData) -> Prompt:
    """Return the prompt that a message carries.

    Raises
    ------
    PromptError
        If it cannot be one.
    MessageError
        If the message does not hold what it says.
    """
    return Prompt(
        inside=_points_of(data.inside),
        outside=_points_of(data.outside),
        box=data.box,
        mask_logits=None if data.previous is None else _logits_of(data.previous),
    )


def mask_data(mask: Mask) -> MaskData:
    """Return a mask as a message carries it."""
    y, x = mask.corner
    return MaskData(
        corner=(int(y), int(x)),
        crop=pack_bits(mask.crop),
        score=float(mask.score),
        probability=None if mask.probability is None else pack(mask.probability),
        low_res=None if mask.low_res is None else _logits_data(mask.low_res),
    )


def mask_of(data: MaskData, shape: tuple[int, int]) -> Mask:
    """Return the mask that a message carries.

    Parameters
    ----------
    data
        From a service.
    shape
        ``(Y, X)`` of the image, within which it must lie.

    Raises
    ------
    MessageError
        If the message does not hold what it says.
    """
    (y, x), (height, width) = data.corner, data.crop.shape
    bottom, right = (_FARTHEST, _FARTHEST) if data.crop.shape == (0, 0) else shape  # none where a click was outside
    if not (y >= 0 and y + height <= bottom and x >= 0 and x + width <= right):
        raise MessageError(f"got a mask of {data.crop.shape} at {data.corner}, beyond the image of shape {shape}")
    crop = unpack_bits(data.crop, max_pixels=shape[0] * shape[1])
    probability = None
    if data.probability is not None:
        probability = unpack(data.probability, dtypes=("uint8",), ndim=2, max_bytes=max(crop.size, 1))
        if probability.shape != crop.shape:
            raise MessageError(f"got probabilities of shape {probability.shape} for a mask of {crop.shape}")
    low_res = None if data.low_res is None else _logits_of(data.low_res)
    return Mask(crop, (y, x), _share(data.score), probability, low_res)


def cell_data(cell: Cell) -> CellData:
    """Return a cell as a message carries it, without the probabilities and logits that nobody needs any more."""
    mask = Mask(cell.mask.crop, cell.mask.corner, cell.mask.score)
    return CellData(mask=mask_data(mask), score=float(cell.score))


def cell_of(data: CellData, shape: tuple[int, int]) -> Cell:
    """Return the cell that a message carries; as `mask_of`."""
    return Cell(mask_of(data.mask, shape), _share(data.score))


def boxes_found(detections: Detections) -> BoxesFound:
    """Return detections as a message carries them."""
    return BoxesFound(
        boxes=pack(detections.boxes.astype(np.float32)), scores=pack(detections.scores.astype(np.float32))
    )


def detections_of(data: BoxesFound) -> Detections:
    """Return the detections that a message carries.

    Raises
    ------
    MessageError
        If the message does not hold what it says.
    """
    boxes = unpack(data.boxes, dtypes=("float32",), ndim=2, finite=True)
    scores = unpack(data.scores, dtypes=("float32",), ndim=1, finite=True)
    if boxes.shape != (len(scores), 4):
        raise MessageError(f"got boxes of shape {boxes.shape} and {len(scores)} scores; expected (N, 4) and N")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise MessageError(f"got scores from {scores.min()} to {scores.max()}; expected 0 to 1")
    return Detections(boxes, scores)


def _points_data(points: NDArray[np.float32]) -> ArrayData | None:
    return pack(points) if len(points) else None


def _points_of(data: ArrayData | None) -> Any:
    """Return points; whether they are finite ``(N, 2)`` is for `Prompt` to say."""
    if data is None:
        return ()
    return unpack(data, dtypes=("float32",), ndim=2, max_bytes=8 * _MOST_POINTS)


def _logits_data(logits: LowResLogits) -> LogitsData:
    y0, x0, y1, x1 = logits.window
    return LogitsData(
        values=pack(np.asarray(logits.values, np.float32)), window=(float(y0), float(x0), float(y1), float(x1))
    )


def _logits_of(data: LogitsData) -> LowResLogits:
    values = unpack(data.values, dtypes=("float32", "float16"), ndim=2, max_bytes=_MOST_LOGITS, finite=True)
    y0, x0, y1, x1 = data.window
    extents = (y1 - y0, x1 - x0)
    if not all(_LEAST_EXTENT <= extent < math.inf for extent in extents) or values.size == 0:
        raise MessageError(f"got logits of shape {values.shape} in the window {data.window}; expected an area")
    return LowResLogits(values.astype(np.float32, copy=False), data.window)


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise MessageError(f"got a score of {value}; expected 0 to 1")
    return value
