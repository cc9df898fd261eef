"""The corrected picture, as it goes into a data set for retraining and as it comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import DatasetError, ImageShapeError
from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.types import Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Corrected", "RetrainingPicture", "Split"]

Split = Literal["train", "val"]
"""What a group of pictures is for: to learn from, or to be judged on."""


@dataclass(frozen=True, eq=False)
class RetrainingPicture:
    """A picture to learn from.

    Attributes
    ----------
    image
        As acquired, with the roles of its channels.
    labels
        ``(Y, X)`` uint32, 0 background, numbers as the user had them; without the cells that the paper leaves out.
    verified
        ``(Y, X)`` bool. True: every cell is outlined, so what is no cell is background. False: nothing is known, and
        it must not count in any loss or score; labels may reach into it.
    name
        Of the image, unique enough for messages.
    group
        The file or experiment; all of a group are in the same split.
    corner
        ``(y, x)`` pixel of the whole image at which this part of it begins.
    whole
        ``(Y, X)`` shape of the whole image; None if this is all of it.
    """

    image: Image
    labels: NDArray[np.uint32]
    verified: NDArray[np.bool_]
    name: str
    group: str
    corner: tuple[int, int] = (0, 0)
    whole: tuple[int, int] | None = None

    @property
    def whole_shape(self) -> tuple[int, int]:
        """``(Y, X)`` shape of the whole image."""
        return self.image.shape if self.whole is None else self.whole

    def __post_init__(self) -> None:
        shape = self.image.shape
        if self.labels.shape != shape or self.labels.dtype != np.uint32:
            raise ImageShapeError(
                f"{self.name}: got labels of shape {self.labels.shape} and type {self.labels.dtype}; expected uint32 "
                f"of the image's shape {shape}"
            )
        if self.verified.shape != shape or self.verified.dtype != np.bool_:
            raise ImageShapeError(
                f"{self.name}: got a verified region of shape {self.verified.shape} and type {self.verified.dtype}; "
                f"expected bool of the image's shape {shape}"
            )


@dataclass(frozen=True, eq=False)
class Corrected:
    """A picture that a person corrected.

    Attributes
    ----------
    image
        As acquired, all of it, with the roles of its channels.
    labels
        ``(Y, X)`` integers, 0 background.
    verified
        ``(Y, X)``, where every cell is outlined. None, or nowhere: the cells that a person made, changed or reviewed
        are certain, and a narrow rim around them; nothing else is.
    cells
        What is known of the cells; a cell without a record counts as made by hand.
    name
        Of the image.
    group
        The file or experiment that it comes from: all pictures of a group are in the same split. None: that of an
        earlier version in the data set, or else the name.
    split
        What a new group is for; None leaves it to the data set: what an earlier version is for, or else what is
        missing.
    """

    image: Image
    labels: ArrayLike
    verified: ArrayLike | None = None
    cells: tuple[CellRecord, ...] = ()
    name: str = "picture"
    group: str | None = None
    split: Split | None = None

    def __post_init__(self) -> None:
        labels = CellSet.from_array(self.labels).labels
        if labels.shape != self.image.shape:
            raise ImageShapeError(f"{self.name}: the labels are {labels.shape}, but the image {self.image.shape}")
        object.__setattr__(self, "labels", labels)
        if self.verified is not None:
            verified = np.asarray(self.verified) > 0
            if verified.shape != self.image.shape:
                raise ImageShapeError(
                    f"{self.name}: the verified region is {verified.shape}, but the image {self.image.shape}"
                )
            object.__setattr__(self, "verified", verified if verified.any() else None)
        if len({record.label for record in self.cells}) < len(self.cells):
            raise DatasetError(f"{self.name}: a cell has several records; give those of one plane only")
        for what, text in (("name", self.name), ("group", self.group)):
            if text is not None and not (text.strip() and text.isprintable()):
                raise DatasetError(f"the {what} of a picture is {text!r}; expected some text on one line")

    @property
    def labels_yx(self) -> NDArray[np.uint32]:
        """``(Y, X)`` uint32 labels."""
        return np.asarray(self.labels)

    @property
    def verified_yx(self) -> NDArray[np.bool_] | None:
        """``(Y, X)`` bool, or None where a person verified nothing."""
        return None if self.verified is None else np.asarray(self.verified)
