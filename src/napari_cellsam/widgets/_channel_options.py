"""The channels that can be chosen for an image: of its own layer, and of those that lie on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari_cellsam.widgets._axes import LayerAxes, describe_layer
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef, why_not_beside

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["axes_to_choose", "channels_of_colours", "channels_to_choose"]

_GREEN, _BLUE = 1, 2


def channels_to_choose(
    layers: Iterable[Layer], looked_at: Layer, axis: int | None = None
) -> list[tuple[ChannelRef, str]]:
    """Return the channels that the model could get, and what they are called; those of the image itself come first.

    Parameters
    ----------
    layers
        All layers of the viewer.
    looked_at
        The image.
    axis
        Its axis of channels, if the user has chosen one.
    """
    axes = describe_layer(looked_at, axis)
    found = [(ref, text.rpartition(": ")[2] if axes.channel_names else text) for ref, text in _refs(looked_at, axes)]
    for layer in layers:
        if layer.unique_id == looked_at.unique_id or "napari-cellsam" in layer.metadata:
            continue
        theirs = describe_layer(layer, axis if layer.ndim == looked_at.ndim else None)
        if theirs.problem is None and why_not_beside(looked_at, axes, layer, theirs) is None:
            found += _refs(layer, theirs)
    return found


def axes_to_choose(layer: Layer) -> list[tuple[int | None, str]]:
    """Return the axes on which a layer's channels could be, and what they are called.

    The first choice is what the layer itself says; it is the only one for a colour picture or a single plane.
    """
    axes = describe_layer(layer)
    said = "none" if axes.channel_axis is None else f"axis {axes.channel_axis}, as the layer says"
    if axes.rgb or axes.problem is not None:
        return [(None, "none")]
    labels = [str(label) for label in layer.axis_labels]
    return [
        (None, said),
        *((i, f"axis {i} ({labels[i]}), {n} long") for i, n in enumerate(axes.shape[:-2]) if i != axes.channel_axis),
    ]


def channels_of_colours(layer: Layer) -> ChannelMap:
    """Return what a model should get of a colour picture that is no longer taken as a whole: nuclei are mostly blue."""
    return ChannelMap(ChannelRef(str(layer.name), _BLUE), ChannelRef(str(layer.name), _GREEN))


def _refs(layer: Layer, axes: LayerAxes) -> list[tuple[ChannelRef, str]]:
    name = str(layer.name)
    if not axes.channel_names:
        return [(ChannelRef(name), name)]
    return [(ChannelRef(name, i), f"{name}: {channel}") for i, channel in enumerate(axes.channel_names)]
