"""The values that pass between the parts of napari-cellsam.

Coordinates are ``(y, x)`` in pixels of the image; ``(0, 0)`` is the centre of the first pixel, as in napari.
A box is ``(y_min, x_min, y_max, x_max)`` in the same coordinates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_cellsam.errors import ChannelError, ImageShapeError, OptionError, PromptError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Detections", "Embedding", "Image", "Mask", "Prompt", "SegmentOptions", "Segmentation"]

_PIXEL_DTYPES = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, eq=False)
class Image:
    """A two-dimensional picture with the roles of its channels.

    Attributes
    ----------
    pixels
        ``(Y, X, C)`` as acquired: uint8, uint16, or float32 without NaN or infinity; read-only.
    nuclear, cell
        Indices of the nuclear and the whole-cell channel; None where there is none.
    rgb
        Whether the first three channels are the red, green and blue of a colour picture (histology), used as grey.
    pixel_size_um
        ``(y, x)`` size of a pixel in micrometres, or None where it is not known.
    channel_names
        One name per channel, or empty.
    """

    pixels: NDArray[Any]
    nuclear: int | None = None
    cell: int | None = None
    rgb: bool = False
    pixel_size_um: tuple[float, float] | None = None
    channel_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.dtype not in _PIXEL_DTYPES:
            raise ImageShapeError(
                f"got pixels of shape {pixels.shape} and type {pixels.dtype}; expected (Y, X, C) of uint8, uint16 or "
                "float32. Use Image.from_array to convert an array."
            )
        if 0 in pixels.shape:
            raise ImageShapeError(f"got an image of shape {pixels.shape}, which has no pixels")
        n_channels = pixels.shape[2]
        for role, index in (("nuclear", self.nuclear), ("cell", self.cell)):
            if index is not None and not 0 <= index < n_channels:
                raise ChannelError(f"{role} channel {index} does not exist; channels are 0 to {n_channels - 1}")
        if self.rgb and n_channels < 3:
            raise ChannelError(f"an RGB image needs three channels; this one has {n_channels}")
        if not self.rgb and self.nuclear is None and self.cell is None:
            raise ChannelError(f"choose a nuclear or a whole-cell channel among the {n_channels} channels (0 first)")
        pixels.setflags(write=False)

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        *,
        nuclear: int | None = None,
        cell: int | None = None,
        rgb: bool | None = None,
        pixel_size_um: tuple[float, float] | None = None,
    ) -> Image:
        """Make an image from an array, guessing the roles of channels that are not given.

        Parameters
        ----------
        array
            ``(Y, X)`` or ``(Y, X, C)``, any real number type or bool. The values are copied where a conversion is
            needed: 8- and 16-bit unsigned integers stay, everything else becomes float32. NaN becomes the smallest
            finite value, infinities the nearest finite value.
        nuclear, cell
            Channel indices. If neither is given: one channel is the whole cell; two are nuclear, whole-cell; three
            or four 8-bit channels are RGB(A); anything else must be told.
        rgb
            True forces, False forbids the reading as a colour picture.
        pixel_size_um
            ``(y, x)`` size of a pixel in micrometres.

        Raises
        ------
        ImageShapeError
            If the array is not a picture: wrong number of axes, no pixels, objects or complex numbers.
        ChannelError
            If a channel does not exist or the roles cannot be guessed.
        """
        pixels = _as_pixels(array)
        if rgb is None:
            rgb = nuclear is None and cell is None and pixels.dtype == np.uint8 and pixels.shape[2] in (3, 4)
        if not rgb and nuclear is None and cell is None:
            if pixels.shape[2] == 1:
                cell = 0
            elif pixels.shape[2] == 2:
                nuclear, cell = 0, 1
            else:
                raise ChannelError(
                    f"the image has {pixels.shape[2]} channels of type {pixels.dtype}; say which one is nuclear and "
                    "which one is whole-cell (0 first), or that it is RGB"
                )
        return cls(pixels, nuclear=nuclear, cell=cell, rgb=rgb, pixel_size_um=pixel_size_um)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def image_id(self) -> str:
        """Name of the content: blake2b over shape, type, roles and bytes."""
        digest = hashlib.blake2b(digest_size=16)
        head = (self.pixels.shape, str(self.pixels.dtype), self.nuclear, self.cell, self.rgb)
        digest.update(repr(head).encode())
        digest.update(np.ascontiguousarray(self.pixels))
        return digest.hexdigest()


def _as_pixels(array: ArrayLike) -> NDArray[Any]:
    """Return ``(Y, X, C)`` pixels of a type that `Image` accepts."""
    try:
        pixels = np.asarray(array)
    except ValueError as error:
        raise ImageShapeError(f"got something that is not an array: {error}") from error
    if pixels.dtype.kind not in "buif":
        raise ImageShapeError(f"got an image of type {pixels.dtype}; expected real numbers")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3:
        raise ImageShapeError(
            f"got an array of {pixels.ndim} axes, shape {pixels.shape}; expected (Y, X) or (Y, X, C). Choose one plane "
            "of a stack first."
        )
    if 0 in pixels.shape:
        raise ImageShapeError(f"got an image of shape {pixels.shape}, which has no pixels")
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.copy() if pixels.flags.writeable else pixels
    return _finite(pixels.astype(np.float32))


def _finite(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the pixels with NaN as the smallest finite value and infinities as the nearest finite ones."""
    finite = np.isfinite(pixels)
    if finite.all():
        return pixels
    low, high = (pixels[finite].min(), pixels[finite].max()) if finite.any() else (0.0, 0.0)
    return np.nan_to_num(pixels, nan=low, posinf=high, neginf=low)


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a person points at to have one cell outlined.

    Attributes
    ----------
    inside, outside
        ``(N, 2)`` points ``(y, x)`` in and out of the cell, pixels.
    box
        ``(y_min, x_min, y_max, x_max)`` around the cell, or None.
    mask_logits
        A previous answer's low-resolution logits (`Mask.logits`) to refine, or None.
    """

    inside: ArrayLike = ()
    outside: ArrayLike = ()
    box: ArrayLike | None = None
    mask_logits: LowResLogits | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inside", _points(self.inside, "inside"))
        object.__setattr__(self, "outside", _points(self.outside, "outside"))
        if self.box is not None:
            object.__setattr__(self, "box", _box(self.box))
        if self.box is None and len(self.inside_yx) == 0 and self.mask_logits is None:
            raise PromptError("a prompt needs at least one point inside the cell, a box, or a previous mask")

    @property
    def inside_yx(self) -> NDArray[np.float32]:
        """``(N, 2)`` points inside the cell."""
        return np.asarray(self.inside)

    @property
    def outside_yx(self) -> NDArray[np.float32]:
        """``(N, 2)`` points outside the cell."""
        return np.asarray(self.outside)

    @property
    def box_yxyx(self) -> NDArray[np.float32] | None:
        """``(4,)`` box, or None."""
        return None if self.box is None else np.asarray(self.box)


def _points(points: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return points as ``(N, 2)`` float32 and refuse what is not points."""
    try:
        array = np.asarray(points, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} points must be numbers (y, x): {error}") from error
    if array.size == 0:
        return np.zeros((0, 2), np.float32)
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise PromptError(f"{name} points have shape {array.shape}; expected finite (N, 2) as (y, x)")
    return array


def _box(box: ArrayLike) -> NDArray[np.float32]:
    """Return a box as ``(4,)`` float32 and refuse what is not one."""
    try:
        array = np.asarray(box, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"a box must be four numbers: {error}") from error
    if array.shape != (4,) or not np.isfinite(array).all():
        raise PromptError(f"got a box of shape {array.shape}; expected finite (y_min, x_min, y_max, x_max)")
    if array[2] < array[0] or array[3] < array[1]:
        raise PromptError(f"got box {array.tolist()}; its minimum is above its maximum (y_min, x_min, y_max, x_max)")
    return array


@dataclass(frozen=True, eq=False)
class LowResLogits:
    """A mask decoder's logits before they are scaled to the image.

    Attributes
    ----------
    values
        ``(h, w)`` float32 logits.
    window
        ``(y_min, x_min, y_max, x_max)`` outer edges, in image pixels, of the area that the values cover evenly: value ``(i, j)``
        has its centre at ``y_min + (i + 0.5) * (y_max - y_min) / h``, likewise for x.
    """

    values: NDArray[np.float32]
    window: tuple[float, float, float, float]


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
        ``(N,)`` float32 detector scores, 0 to 1.
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


@dataclass(frozen=True)
class SegmentOptions:
    """How a whole image is segmented. None means the model's own default.

    Attributes
    ----------
    box_score
        Detector score from which a box counts, 0 to 1.
    score_rule
        ``"fixed"`` cuts at ``box_score``; ``"adaptive"`` moves the cut with the scores of the image, as the published package does.
    diameter
        Typical cell diameter in pixels; the image is rescaled to what the model was trained on. ``"auto"`` estimates
        it in a first pass; ``"native"`` leaves the image as it is.
    scaling
        ``"tiles"`` keeps the aspect ratio and tiles what does not fit; ``"squash"`` is the published path: the whole image
        in one field, whatever its size. None: a published model squashes what is not larger than its field and tiles the rest.
    clahe
        Whether local contrast is equalized (CLAHE) before the network.
    min_predicted_iou
        Masks whose predicted IoU is lower are dropped, 0 to 1.
    mask_threshold
        Probability from which a pixel belongs to a cell, 0 to 1 exclusive.
    min_area
        Cells with fewer pixels are dropped.
    overlap
        Overlap of neighbouring tiles, as a fraction of the tile, 0 to 0.75.
    """

    box_score: float | None = None
    score_rule: Literal["fixed", "adaptive"] | None = None
    diameter: float | Literal["auto", "native"] | None = None
    scaling: Literal["tiles", "squash"] | None = None
    clahe: bool | None = None
    min_predicted_iou: float | None = None
    mask_threshold: float = 0.5
    min_area: int | None = None
    overlap: float | None = None

    def __post_init__(self) -> None:
        for name in ("box_score", "min_predicted_iou", "overlap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= (0.75 if name == "overlap" else 1):
                raise OptionError(f"{name} is {value}; expected 0 to {0.75 if name == 'overlap' else 1}")
        if not 0 < self.mask_threshold < 1:
            raise OptionError(f"mask_threshold is {self.mask_threshold}; expected more than 0 and less than 1")
        if self.min_area is not None and self.min_area < 0:
            raise OptionError(f"min_area is {self.min_area}; expected 0 or more pixels")
        if self.scaling not in (None, "tiles", "squash"):
            raise OptionError(f"scaling is {self.scaling!r}; expected 'tiles' or 'squash'")
        if self.score_rule not in (None, "fixed", "adaptive"):
            raise OptionError(f"score_rule is {self.score_rule!r}; expected 'fixed' or 'adaptive'")
        if isinstance(self.diameter, str) and self.diameter not in ("auto", "native"):
            raise OptionError(f"diameter is {self.diameter!r}; expected pixels, 'auto' or 'native'")
        if isinstance(self.diameter, int | float) and not 1 <= self.diameter <= 10_000:
            raise OptionError(f"diameter is {self.diameter} pixels; expected 1 to 10,000")

    def with_defaults(self, defaults: SegmentOptions) -> SegmentOptions:
        """Return these options with every None taken from ``defaults``."""
        missing = {f.name: getattr(defaults, f.name) for f in fields(self) if getattr(self, f.name) is None}
        return replace(self, **missing)
