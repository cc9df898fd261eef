"""The offer to continue earlier work: which journal is of the image that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellsam.editing.journal import JournalSummary, summarize
from napari_cellsam.errors import ImageError, JournalError

if TYPE_CHECKING:
    from napari_cellsam.editing.edits import Plane
    from napari_cellsam.editing.journal_format import Opening
    from napari_cellsam.types import Image

__all__ = ["Look", "Offer", "matching"]


@dataclass(frozen=True)
class Offer:
    """Earlier work on the image, which can be continued."""

    path: Path
    summary: JournalSummary


class Look:
    """What a plane holds, found out when it is asked for; in another thread."""

    def __init__(self, read: Callable[[], Image], name: Callable[[], str]) -> None:
        self._read, self._name = read, name

    @cached_property
    def image_id(self) -> str:
        """Hash of the content as the model gets it."""
        return self._read().image_id

    @cached_property
    def layer_id(self) -> str:
        """Hash of the content with all channels of the layer."""
        return self._name()

    def is_of(self, opening: Opening) -> bool:
        """Whether a journal is of this plane; channels that were chosen since make no difference."""
        if opening.image_id is None and opening.layer_id is None:
            return True
        if opening.layer_id is not None and opening.layer_id == self.layer_id:
            return True
        return opening.image_id is not None and opening.image_id == self.image_id


def matching(path: Path, shape: tuple[int, ...], look_at: Callable[[Plane], Look]) -> Offer | None:
    """Return a journal if it is of the image, and something was done."""
    try:
        summary = summarize(path)
        if summary is None or summary.n_steps == 0 or not summary.is_begun or summary.opening.shape != shape:
            return None
        if not look_at(summary.opening.plane).is_of(summary.opening):
            return None
    except (JournalError, ImageError):
        return None  # a file of another kind, or an image that cannot be read: both are told of when they are used
    return Offer(path, summary)
