"""The prompt: what a person points at to have one cell outlined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.errors import PromptError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_cellsam.types.results import LowResLogits

__all__ = ["Prompt"]


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
        with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite, and is refused
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
        with np.errstate(over="ignore"):
            array = np.asarray(box, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"a box must be four numbers: {error}") from error
    if array.shape != (4,) or not np.isfinite(array).all():
        raise PromptError(f"got a box of shape {array.shape}; expected finite (y_min, x_min, y_max, x_max)")
    if array[2] < array[0] or array[3] < array[1]:
        raise PromptError(f"got box {array.tolist()}; its minimum is above its maximum (y_min, x_min, y_max, x_max)")
    return array
