"""The parts of messages: arrays, masks, prompts, and the names of images."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = [
    "ArrayData",
    "BitsData",
    "CellData",
    "FeatureEntry",
    "ImageRef",
    "LogitsData",
    "MaskData",
    "Message",
    "Name",
    "PromptData",
    "Prompts",
]

Name = Annotated[str, msgspec.Meta(max_length=256)]
"""A name that somebody made up, and others keep."""

_Lengths = Annotated[tuple[int, ...], msgspec.Meta(max_length=8)]


class Message(msgspec.Struct, frozen=True):
    """Base of everything that is sent."""


class ArrayData(Message, frozen=True, kw_only=True):
    """An array.

    Attributes
    ----------
    dtype
        Name in the table of `napari_cellsam.service.arrays`.
    shape
        Lengths of the axes.
    data
        Little-endian bytes in C order, compressed if so said.
    compression
        ``"zstd"``: the bytes of the elements are grouped by significance, then compressed.
    """

    dtype: str
    shape: _Lengths
    data: bytes
    compression: Literal["none", "zstd"] = "none"


class BitsData(Message, frozen=True, kw_only=True):
    """A boolean crop ``(h, w)``, eight pixels a byte in C order, the first in the highest bit."""

    shape: tuple[int, int]
    data: bytes


class LogitsData(Message, frozen=True, kw_only=True):
    """A decoder's logits and the ``(y_min, x_min, y_max, x_max)`` outer edges that they cover evenly."""

    values: ArrayData
    window: tuple[float, float, float, float]


class MaskData(Message, frozen=True, kw_only=True):
    """A mask as a crop with its ``(y, x)`` corner; ``score`` is the predicted IoU."""

    corner: tuple[int, int]
    crop: BitsData
    score: float
    probability: ArrayData | None = None
    low_res: LogitsData | None = None


class CellData(Message, frozen=True, kw_only=True):
    """A cell of an automatic segmentation and its detector's score."""

    mask: MaskData
    score: float


class PromptData(Message, frozen=True, kw_only=True):
    """Clicks inside and outside ``(N, 2)``, a box, a previous mask: what points at one cell."""

    inside: ArrayData | None = None
    outside: ArrayData | None = None
    box: tuple[float, float, float, float] | None = None
    previous: LogitsData | None = None


Prompts = Annotated[tuple[PromptData, ...], msgspec.Meta(max_length=2**20)]
"""Prompts, fewer than would fill the memory when each is a single byte; a service's own limit is far lower."""


class ImageRef(Message, frozen=True, kw_only=True):
    """An image that the service may have: name of its content, and ``(Y, X)``."""

    image_id: Name
    shape: tuple[int, int]


MOST_ENTRIES = 4096
"""Entries of features in a message, fewer than would fill the memory when each is empty."""


class FeatureEntry(Message, frozen=True, kw_only=True):
    """What a model has computed of a part of an image, under the key by which its cache knows it."""

    key: Name
    arrays: Annotated[dict[str, ArrayData], msgspec.Meta(max_length=256)]
