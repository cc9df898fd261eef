"""What the engine asks of a model, whatever its design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cellsam.models.feature_store import Arrays
    from napari_cellsam.types import SegmentOptions

__all__ = ["Backend", "Decoded", "PicturePrompt", "box_prompts"]


@dataclass(frozen=True, eq=False)
class PicturePrompt:
    """A prompt in the coordinates of a network's picture.

    Attributes
    ----------
    inside, outside
        ``(N, 2)`` as x, y.
    box
        ``(4,)`` x0, y0, x1, y1, or None.
    logits, window
        Logits of an earlier answer and the outer edges x0, y0, x1, y1 that they cover, or None.
    """

    inside: NDArray[np.float32]
    outside: NDArray[np.float32]
    box: NDArray[np.float32] | None = None
    logits: NDArray[np.float32] | None = None
    window: NDArray[np.float32] | None = None


def box_prompts(boxes: NDArray[np.float32]) -> list[PicturePrompt]:
    """Return a prompt for each of ``(N, 4)`` boxes, and nothing else."""
    empty = np.zeros((0, 2), np.float32)
    return [PicturePrompt(empty, empty, box=box) for box in boxes]


@dataclass(frozen=True, eq=False)
class Decoded:
    """One decoded mask.

    Attributes
    ----------
    logits
        ``(h, w)`` float32.
    window
        ``(4,)`` outer edges x0, y0, x1, y1 of the area of the picture that the logits cover evenly.
    predicted_iou
        0 to 1 but for rounding.
    """

    logits: NDArray[np.float32]
    window: NDArray[np.float32]
    predicted_iou: float


class Backend(Protocol):
    """A loaded model on its device.

    Attributes
    ----------
    side
        Pixels along the picture that is encoded at once.
    squashes
        True if the picture always has that side, whatever the region's shape; False if smaller pictures are encoded as
        they are.
    half_pixel
        As `Frame.half_pixel`.
    can_detect
        Whether `detect` works; models for prompts only raise `UnsupportedTaskError` there.
    repeats
        Whether two of its queries may answer for one cell.
    defaults
        Every option that a user leaves open.
    nominal_diameter
        Cell diameter in picture pixels that the model was trained around.
    native_zoom
        Picture pixels per image pixel where nothing is known of the cells' size.
    stride
        Pixels of the picture on whose multiples tiles begin; 1 where it does not matter.
    n_queries
        Most cells that one picture can give.
    grid_side
        Pixels along the logits that can be given back as a previous mask.
    precision
        Type of the numbers that it computes in, as its features depend on it.
    """

    side: int
    squashes: bool
    half_pixel: bool
    can_detect: bool
    repeats: bool
    defaults: SegmentOptions
    nominal_diameter: float
    native_zoom: float
    stride: int
    n_queries: int
    grid_side: int
    precision: str

    def measure(self, prepared: NDArray[np.float32]) -> Any:
        """Return what of a whole prepared image ``(3, Y, X)`` all its regions must share, so that no seams show."""

    def encode(self, prepared: NDArray[np.float32], size: tuple[int, int], shared: Any) -> Any:
        """Return the features of a prepared region.

        Parameters
        ----------
        prepared
            ``(3, h, w)`` in 0-1.
        size
            ``(height, width)`` of the picture that it is scaled to.
        shared
            What `measure` returned for the whole image.
        """

    def pack(self, features: Any) -> Arrays:
        """Return features as arrays that can be kept and sent: float16 for half precision, else float32."""

    def unpack(self, arrays: Arrays) -> Any:
        """Return the features that arrays hold, on the device; None if they are not such as `pack` returns."""

    def n_bytes(self, features: Any) -> int:
        """Return the device's memory that features take."""

    def detects_from(self, features: Any) -> bool:
        """Return whether features, or their arrays, have all that a detection needs."""

    def embedding(self, features: Any) -> NDArray[np.float32]:
        """Return the mask branch's embedding ``(256, h, w)``."""

    def detect(self, features: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return all boxes ``(N, 4)`` x0, y0, x1, y1 and scores ``(N,)``, best first."""

    def score_cut(self, scores: NDArray[np.float32], options: SegmentOptions) -> float:
        """Return the score above which a box counts."""

    def outlined_from(self, scores: NDArray[np.float32], options: SegmentOptions) -> float:
        """Return the score above which a box is outlined, before `cell_score` decides."""

    def cell_score(self, score: float, predicted_iou: float, options: SegmentOptions) -> float | None:
        """Return how sure the model is of an outlined cell, 0 to 1, from its box's score; None if it is none."""

    def decode(self, features: Any, prompts: list[PicturePrompt], *, whole: bool, threshold: float) -> list[Decoded]:
        """Return one mask per prompt.

        ``whole`` asks for logits that can be given back as a previous mask; ``threshold`` is the probability from which
        a pixel will belong to the cell: everything above it must be there.
        """
