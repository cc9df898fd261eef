"""The axes of an image layer: which are rows, columns and channels, and which lead to a plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cellsam.widgets._placement import are_apart

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_cellsam.export.cell_set import StackAxis

__all__ = ["LayerAxes", "describe_layer", "stack_axis_of"]

_CHANNEL_WORDS = {"c", "ch", "channel", "channels"}
_TIME_WORDS = {"t", "time", "frame", "frames"}


@dataclass(frozen=True)
class LayerAxes:
    """What the axes of an image layer are.

    Attributes
    ----------
    problem
        Why the layer cannot be used, and what to do; None if it can.
    shape
        Length of each axis, without the colours of a colour picture.
    rgb
        Whether it is a colour picture; its colours can then be used as channels.
    channel_axis
        The axis on which the channels are; None if there is none.
    n_channels
        Number of channels or colours; 1 if there is no such axis.
    multiscale
        Whether there are several resolutions; the shape is that of the finest.
    """

    problem: str | None = None
    shape: tuple[int, ...] = ()
    rgb: bool = False
    channel_axis: int | None = None
    n_channels: int = 1
    multiscale: bool = False

    @property
    def ndim(self) -> int:
        """Number of axes, without the colours."""
        return len(self.shape)

    @property
    def picture_axes(self) -> tuple[int, ...]:
        """All axes but that of the channels."""
        return tuple(axis for axis in range(self.ndim) if axis != self.channel_axis)

    @property
    def picture_shape(self) -> tuple[int, ...]:
        """Their lengths."""
        return tuple(self.shape[axis] for axis in self.picture_axes)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[-2], self.shape[-1]

    @property
    def channel_names(self) -> tuple[str, ...]:
        """What the channels are called; empty if there is no such axis."""
        if self.rgb:
            return ("red", "green", "blue")
        return () if self.channel_axis is None else tuple(f"channel {i}" for i in range(self.n_channels))


def describe_layer(layer: Layer, channel_axis: int | None = None) -> LayerAxes:
    """Find out what the axes of a layer are.

    Parameters
    ----------
    layer
        Any layer; only image layers can be used.
    channel_axis
        The axis that the user says has the channels; if None, the one that the layer itself calls so.
    """
    from napari.layers import Image as ImageLayer

    if not isinstance(layer, ImageLayer):
        return LayerAxes(f"Layer {layer.name!r} is no picture; choose an image layer.")
    n_axes = layer.ndim
    shape = tuple(int(n) for n in layer.data.shape[:n_axes])  # a multiscale layer tells that of its finest level
    if 0 in shape:
        return LayerAxes(f"Layer {layer.name!r} has no pixels: its shape is {shape}.", shape)
    axis = _labelled_axis(layer) if channel_axis is None else channel_axis
    problem = _problem_of(layer, n_axes, axis)
    if problem is not None:
        return LayerAxes(f"Layer {layer.name!r} {problem}", shape)
    return LayerAxes(
        None,
        shape,
        bool(layer.rgb),
        axis,
        3 if layer.rgb else (1 if axis is None else shape[axis]),
        bool(layer.multiscale),
    )


def stack_axis_of(layer: Layer) -> StackAxis:
    """Return what the planes of a labels layer are: times where it calls them so, else depths."""
    sizes = layer.data.shape[: layer.ndim - 2]
    words = [str(label).strip().casefold() for label, size in zip(layer.axis_labels, sizes, strict=False) if size > 1]
    return "T" if len(words) == 1 and words[0] in _TIME_WORDS else "Z"


def _labelled_axis(layer: Layer) -> int | None:
    """Return the axis that a layer calls its channels."""
    labels = [str(label).strip().casefold() for label in layer.axis_labels]
    return next((axis for axis, label in enumerate(labels) if label in _CHANNEL_WORDS), None)


def _problem_of(layer: Layer, n_axes: int, channel_axis: int | None) -> str | None:
    """Return what is wrong with the axes."""
    if channel_axis is not None:
        if layer.rgb:
            return f"is a colour picture, so axis {channel_axis} cannot be its channels; take its colours."
        if not 0 <= channel_axis < n_axes:
            return f"has no axis {channel_axis}; its axes are 0 to {n_axes - 1}."
        if channel_axis >= n_axes - 2:
            return (
                f"has its channels on axis {channel_axis}, where rows and columns are looked for; "
                f"open it again with channel_axis={channel_axis}, or move them to the front (numpy.moveaxis)."
            )
        if not are_apart(layer, (channel_axis,)):
            return "is turned or sheared between its channels and other axes; undo that first."
    if not are_apart(layer, (n_axes - 2, n_axes - 1)):
        return "is turned or sheared out of its planes, so no plane of it is shown as it is; undo that first."
    return None
