"""The absent image: one of which only the name is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from napari_cellsam.errors import ImageNotCachedError, ImageShapeError

__all__ = ["AbsentImage"]


@dataclass(frozen=True)
class AbsentImage:
    """An image whose pixels are elsewhere; a model can still answer what its cache holds all of.

    Attributes
    ----------
    image_id
        As of the `Image` itself.
    shape
        ``(Y, X)``.
    """

    image_id: str
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ImageShapeError(f"got an image of shape {self.shape}, which has no pixels")

    def __getattr__(self, name: str) -> Any:
        if name in ("pixels", "nuclear", "cell", "rgb"):
            self.need()
        raise AttributeError(name)

    def need(self) -> NoReturn:
        """Say that the pixels are needed.

        Raises
        ------
        ImageNotCachedError
            Always.
        """
        raise ImageNotCachedError(
            f"the service does not have image {self.image_id[:12]} of shape {self.shape}; send it, then ask again"
        )
