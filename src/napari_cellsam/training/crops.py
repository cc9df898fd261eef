"""An endless stream of training crops, balanced between kinds of pictures and mixed with synthetic ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from napari_cellsam.data.augment import AugmentOptions, crop_at_random, damage, mix_channels
from napari_cellsam.data.dataset import Picture, as_picture
from napari_cellsam.data.synthetic import ARCHETYPES, synthesize
from napari_cellsam.errors import OptionError
from napari_cellsam.types import Image

__all__ = ["CropOptions", "Crops", "draw_crop", "draw_synthetic", "mosaic"]

_SYNTHETIC_SIDE = 320
_SQUASHED = 2  # crops' sides up to which a published model sees a picture whole: its field is that large
_POOL = 32  # synthetic pictures of each archetype that are alive at a time
_REUSE = 10  # crops taken of a synthetic picture before it is replaced


@dataclass(frozen=True)
class CropOptions:
    """Which crops are drawn.

    Attributes
    ----------
    side
        Pixels along a crop.
    synthetic_share
        Share of crops from synthetic pictures, 0 to 1.
    seed
        Of the whole stream.
    augment
        How crops are changed.
    emphasis
        Pairs of a word and a factor: groups whose name holds the word are drawn so many times as often.
    """

    side: int = 256
    synthetic_share: float = 0.3
    seed: int = 0
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    emphasis: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.side < 32 or self.side % 32:
            raise OptionError(f"side is {self.side}; expected a multiple of 32 pixels")
        if not 0 <= self.synthetic_share <= 1:
            raise OptionError(f"synthetic_share is {self.synthetic_share}; expected 0 to 1")
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}; expected 0 or more")


class Crops(IterableDataset[tuple[Tensor, Tensor]]):
    """Draw crops without end: pictures ``(3, side, side)`` uint8 and labels ``(side, side)`` int32.

    Parameters
    ----------
    pictures
        Labelled pictures; may be empty when all crops are synthetic.
    options
        Which crops.
    """

    def __init__(self, pictures: Sequence[Picture], options: CropOptions) -> None:
        self.options = options
        groups: dict[str, list[Picture]] = defaultdict(list)
        for picture in pictures:
            if picture.diameter > 0:
                groups[picture.group].append(picture)
        self.groups = list(groups.values())
        # A group counts by the root of its pixels, so that large ones do not drown the rest, and not beyond its number
        # of pictures.
        crops = [sum(p.labels.size for p in group) / options.side**2 for group in self.groups]
        weights = np.array([min(n**0.5, len(group)) for n, group in zip(crops, self.groups, strict=True)])
        for word, factor in options.emphasis:
            weights *= [factor if word in group[0].group else 1.0 for group in self.groups]
        self.weights = weights / weights.sum() if len(weights) else weights

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.options.seed, worker.id if worker else 0])
        if worker:  # a process of its own; without workers the network's threads would be fewer, too
            torch.set_num_threads(1)
        pool: dict[str, list[Picture]] = {name: [] for name in ARCHETYPES}
        while True:
            synthetic = not self.groups or rng.random() < self.options.synthetic_share
            picture = _synthetic(pool, rng) if synthetic else self._real(rng)
            yield draw_crop(picture, self.options, rng)

    def _real(self, rng: np.random.Generator) -> Picture:
        group = self.groups[rng.choice(len(self.groups), p=self.weights)]
        size = np.array([picture.labels.size for picture in group], float) ** 0.5
        return group[rng.choice(len(group), p=size / size.sum())]


def draw_crop(picture: Picture, options: CropOptions, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Draw a crop of a picture: ``(3, side, side)`` uint8 and labels ``(side, side)`` int32."""
    augment = options.augment
    zoom = _plain_zoom(picture, options, rng) * 2 ** rng.normal(0, augment.spread)
    zoom = float(np.clip(zoom, 0.5 / augment.largest_zoom, augment.largest_zoom))
    channels = picture.channels[int(rng.random() < augment.clahe_share)]
    crop, labels = crop_at_random(channels, picture.labels, options.side, zoom, rng)
    crop = mix_channels(crop, rng)
    if rng.random() < augment.damaged_share:
        crop = damage(crop, rng)
    return (crop * 255).round().to(torch.uint8), labels


def _plain_zoom(picture: Picture, options: CropOptions, rng: np.random.Generator) -> float:
    """Return pixels of a crop per pixel of the picture, before chance changes them."""
    if options.augment.diameter is not None:
        return options.augment.diameter / max(picture.diameter, 1.0)
    longest = max(picture.labels.shape)
    whole = longest <= _SQUASHED * options.side and rng.random() < 0.5
    return options.side / longest if whole else 1.0


def _synthetic(pool: dict[str, list[Picture]], rng: np.random.Generator) -> Picture:
    """Return a synthetic picture of a random archetype, a new one as long as the pool is not full."""
    name = ARCHETYPES[rng.integers(len(ARCHETYPES))]
    pictures = pool[name]
    if len(pictures) >= _POOL and rng.random() > 1 / _REUSE:
        return pictures[rng.integers(len(pictures))]
    picture = draw_synthetic(name, rng)
    if len(pictures) >= _POOL:
        pictures.pop(0)
    pictures.append(picture)
    return picture


def draw_synthetic(archetype: str, rng: np.random.Generator) -> Picture:
    """Draw a synthetic picture of an archetype, labelled and prepared."""
    made = synthesize(archetype, (_SYNTHETIC_SIDE, _SYNTHETIC_SIDE), rng)
    image = Image(made.pixels, nuclear=made.nuclear, cell=made.cell, rgb=made.rgb)
    return as_picture(image, made.labels, f"synthetic/{archetype}")


def mosaic(pictures: Tensor, labels: Tensor, down: int, across: int) -> tuple[Tensor, Tensor]:
    """Lay crops side by side, so that a model also learns on larger fields without larger crops.

    Parameters
    ----------
    pictures
        ``(B, 3, side, side)``; B is a multiple of ``down * across``.
    labels
        ``(B, side, side)``.
    down, across
        Crops along a field's sides.

    Returns
    -------
    tuple of Tensor
        ``(B / n, 3, down * side, across * side)`` and ``(B / n, down * side, across * side)`` int32 with labels that do
        not clash.
    """
    n = down * across
    place = torch.arange(len(labels), device=labels.device) % n
    apart = (place * (int(labels.max()) + 1))[:, None, None].int()
    distinct = torch.where(labels > 0, labels.int() + apart, labels.int())
    laid = [
        part.unflatten(0, (-1, down, across)).movedim(1, -3).movedim(1, -2).flatten(-2).flatten(-3, -2)
        for part in (pictures, distinct)
    ]
    return laid[0], laid[1]
