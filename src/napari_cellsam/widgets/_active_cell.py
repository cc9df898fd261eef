"""The active cell: what clicks refine, and what it was before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.editing.edits import Plane, erase
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.types import LowResLogits, Mask, Prompt
from napari_cellsam.widgets._extent import Window, window_around

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ActiveCell", "Below", "Box", "Places", "Snapshot", "box_of", "inside_of", "topic_of", "window_of"]

Box = tuple[float, float, float, float]
"""``(y_min, x_min, y_max, x_max)``, centres of the outermost pixels."""

Places = tuple[tuple[float, float], ...]
"""Each ``(y, x)``."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A cell as it was.

    Attributes
    ----------
    record
        What was known of it; None of a cell of another tool.
    window
        Part of the plane that is known.
    pixels
        ``(h, w)`` those of the window that were the cell's.
    """

    record: CellRecord | None
    window: Window
    pixels: NDArray[np.bool_]

    def extended(self, window: Window, own: NDArray[np.bool_], shape: tuple[int, int]) -> Snapshot:
        """Return the snapshot with what else of the cell lies in a window that is about to be written.

        Parameters
        ----------
        window
            Part of the plane.
        own
            ``(h, w)`` pixels of it that are the cell's now; outside of what is known already, they always were.
        shape
            Of the plane.
        """
        around = window_around(shape, self.window, window)
        pixels = np.zeros([part.stop - part.start for part in around], bool)
        pixels[_within(window, around)] = own
        pixels[_within(self.window, around)] = self.pixels
        return Snapshot(self.record, around, pixels)


@dataclass(frozen=True, eq=False)
class Below:
    """What lies below a cell that has taken pixels of others.

    Attributes
    ----------
    window
        Part of the plane.
    labels
        ``(h, w)`` whose pixels they were; 0 where they were nobody's.
    """

    window: Window
    labels: NDArray[np.integer[Any]]

    def given_back(self, under: NDArray[Any], window: Window, label: int) -> NDArray[Any]:
        """Return the crop of a window that holds this one without a cell: others have again what it had taken."""
        bare = np.where(under == label, 0, under).astype(under.dtype)
        place = _within(self.window, window)
        own = (under[place] == label) & (self.labels > 0)
        bare[place][own] = self.labels[own]
        return bare


@dataclass(frozen=True, eq=False)
class ActiveCell:
    """The cell that clicks and scribbles refine.

    Attributes
    ----------
    label, plane
        Which.
    inside, outside
        Clicks so far and points along scribbles, ``(y, x)``.
    box
        ``(y_min, x_min, y_max, x_max)`` that it is decoded with, or None.
    logits
        The decoder's answer to the last prompt.
    window, before
        Where its pixels are now, and what it was when it was taken up; None for a new one.
    takes, below
        Other cells whose pixels it may take, with where they are; and those that it has taken so far.
    """

    label: int
    plane: Plane
    inside: Places = ()
    outside: Places = ()
    box: Box | None = None
    logits: LowResLogits | None = None
    window: Window | None = None
    before: Snapshot | None = None
    takes: tuple[tuple[int, Window], ...] = ()
    below: Below | None = None

    @property
    def prompt(self) -> Prompt:
        """What the model is asked."""
        return Prompt(inside=self.inside, outside=self.outside, box=self.box, mask_logits=self.logits)

    def without(self, other: int) -> ActiveCell:
        """Return the cell when another one, whose pixels it may have taken, is gone: it gets nothing back."""
        below = self.below and replace(self.below, labels=erase(self.below.labels, other))
        return replace(self, takes=tuple(take for take in self.takes if take[0] != other), below=below)

    @property
    def topic(self) -> str:
        """Of what is asked of the model: only the newest question about a cell counts."""
        return topic_of(self.label)


def topic_of(label: int) -> str:
    """Return the topic of questions about a cell."""
    return f"cell {label}"


def box_of(window: Window) -> Box:
    """Return the box around the pixels of a window."""
    return window[0].start, window[1].start, window[0].stop - 1, window[1].stop - 1


def window_of(mask: Mask) -> Window:
    """Return the window that a mask fills."""
    (y, x), (height, width) = mask.corner, mask.crop.shape
    return slice(y, y + height), slice(x, x + width)


def inside_of(mask: Mask, window: Window) -> NDArray[np.bool_]:
    """Return a mask as the pixels ``(h, w)`` of a window around it."""
    inside = np.zeros([part.stop - part.start for part in window], bool)
    inside[_within(window_of(mask), window)] = mask.crop
    return inside


def _within(window: Window, around: Window) -> tuple[slice, ...]:
    """Return where a window is in a larger one."""
    return tuple(slice(w.start - outer.start, w.stop - outer.start) for w, outer in zip(window, around, strict=True))
