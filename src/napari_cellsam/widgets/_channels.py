"""The channels: which pictures a model gets as nuclei and as whole cells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_cellsam.errors import ChannelError
from napari_cellsam.widgets._axes import LayerAxes, describe_layer
from napari_cellsam.widgets._placement import same_place

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["ChannelMap", "ChannelRef", "guess_channels", "role_of", "why_not_beside"]

Role = Literal["nuclear", "cell"]
_WORDS: dict[Role, tuple[str, ...]] = {
    "nuclear": (
        *("nuc", "nuclei", "nuclear", "nucleus", "chromatin", "dna", "histone", "histones", "h2b", "h3", "nls"),
        *("dapi", "hoechst", "draq5", "draq7", "sytox", "syto13", "topro"),
    ),
    "cell": (
        *("cell", "cells", "wholecell", "cyto", "cytoplasm", "cytosol", "cytoplasmic", "membrane", "membranes"),
        *("actin", "phalloidin", "wga", "cellmask", "cadherin", "ecadherin"),
    ),
}


@dataclass(frozen=True)
class ChannelRef:
    """One picture: a layer, or one channel of it.

    Attributes
    ----------
    layer
        Name of the layer.
    index
        Channel, 0 first, if the layer has an axis of channels; colour (0 red, 1 green, 2 blue) if it is a colour
        picture; None if it is neither.
    """

    layer: str
    index: int | None = None

    def __post_init__(self) -> None:
        if self.index is not None and self.index < 0:
            raise ChannelError(f"got channel {self.index} of layer {self.layer!r}; channels begin at 0")


@dataclass(frozen=True)
class ChannelMap:
    """Which pictures a model gets.

    Attributes
    ----------
    nuclear, cell
        The pictures of the nuclei and of the whole cells; None where there is none.
    rgb
        Whether the layer is taken as a colour picture; it then has no other channels.
    axis
        The axis of the layer on which its channels are, if the layer itself does not say so.
    """

    nuclear: ChannelRef | None = None
    cell: ChannelRef | None = None
    rgb: bool = False
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.rgb and (self.nuclear or self.cell or self.axis is not None):
            raise ChannelError("a colour picture is taken as a whole; choose it, or channels, but not both")
        if not (self.rgb or self.nuclear or self.cell):
            raise ChannelError("choose a channel of nuclei, of whole cells, or both")

    @property
    def refs(self) -> tuple[ChannelRef, ...]:
        """The pictures, each once."""
        return tuple(dict.fromkeys(ref for ref in (self.nuclear, self.cell) if ref is not None))


def guess_channels(layers: Iterable[Layer], active: Layer, axis: int | None = None) -> ChannelMap:
    """Guess which pictures a model should get when a layer is looked at.

    A colour picture is taken whole. Of several channels, the first is nuclear and the second whole-cell. Of a layer
    without channels, the name decides; a layer of the other role joins in if it lies in the same place and is called
    the same otherwise, as ``"a nuclei"`` and ``"a membrane"`` are.

    Parameters
    ----------
    layers
        All layers of the viewer.
    active
        The one that is looked at.
    axis
        Its axis of channels, if the user has chosen one.
    """
    axes = describe_layer(active, axis)
    name = str(active.name)
    if axes.rgb:
        return ChannelMap(rgb=True)
    if axes.channel_axis is not None:
        if axes.n_channels == 1:
            return ChannelMap(cell=ChannelRef(name, 0), axis=axis)
        return ChannelMap(ChannelRef(name, 0), ChannelRef(name, 1), axis=axis)
    role = role_of(name)
    partner = _partner(layers, active, axes, role) if role else None
    if role == "nuclear":
        return ChannelMap(ChannelRef(name), partner)
    return ChannelMap(partner, ChannelRef(name))


def role_of(name: str) -> Role | None:
    """Return what a layer shows, as far as its name says; "cell nuclei" are nuclei."""
    words = set(_words(name))
    return next((role for role, known in _WORDS.items() if words.intersection(known)), None)


def why_not_beside(layer: Layer, axes: LayerAxes, other: Layer, other_axes: LayerAxes) -> str | None:
    """Return why a layer cannot give a channel to the picture of another one; None if it can.

    Parameters
    ----------
    layer, axes
        What is looked at.
    other, other_axes
        What shall give a channel.
    """
    if other_axes.problem is not None:
        return other_axes.problem
    if other_axes.picture_shape != axes.picture_shape:
        return (
            f"Layer {other.name!r} has shape {other_axes.picture_shape} and {layer.name!r} {axes.picture_shape}; "
            "channels of one picture need equal shapes."
        )
    if not same_place(layer, axes.picture_axes, other, other_axes.picture_axes):
        return (
            f"Layer {other.name!r} does not lie where {layer.name!r} does; give both the same scale, translation, "
            "rotation, shear, affine transform and units."
        )
    return None


def _partner(layers: Iterable[Layer], active: Layer, axes: LayerAxes, role: Role) -> ChannelRef | None:
    """Return the only layer that shows the other role of the same picture."""
    other_role: Role = "cell" if role == "nuclear" else "nuclear"
    fitting = [
        layer
        for layer in layers
        if role_of(layer.name) == other_role and _belong_together(layer, active) and _is_plain(layer, active, axes)
    ]
    return ChannelRef(str(fitting[0].name)) if len(fitting) == 1 else None


def _is_plain(layer: Layer, active: Layer, axes: LayerAxes) -> bool:
    """Whether a layer of the user's has a single channel and lies where the active one does."""
    theirs = describe_layer(layer)
    return (
        "napari-cellsam" not in layer.metadata
        and not theirs.rgb
        and theirs.channel_axis is None
        and why_not_beside(active, axes, layer, theirs) is None
    )


def _belong_together(layer: Layer, other: Layer) -> bool:
    """Whether two layers come from one file, or are called the same but for what they show."""
    path = layer.source.path
    return (path is not None and path == other.source.path) or _stem(layer.name) == _stem(other.name)


def _stem(name: str) -> list[str]:
    """Return the words of a name that say neither role nor number of a channel."""
    roles = _WORDS["nuclear"] + _WORDS["cell"]
    return [word for word in _words(name) if word not in roles and not re.fullmatch(r"(c|ch|w|channel)\d*", word)]


def _words(name: str) -> list[str]:
    """Return the words of a name; ``"CellNuclei_w1"`` has three."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", str(name))
    return re.findall(r"[a-z]+\d*|\d+", parted.casefold().replace("_", " "))
