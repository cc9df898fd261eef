"""The image that is looked at: which layer, which plane of it, and how its pixels are had."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ChannelError, ImageShapeError
from napari_cellsam.types import Image
from napari_cellsam.types.image import content_id
from napari_cellsam.widgets._axes import LayerAxes, describe_layer
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef, guess_channels, why_not_beside
from napari_cellsam.widgets._picture import Picture, read_image
from napari_cellsam.widgets._placement import data_coordinates, pixel_size_um_of, placement_of, same_place

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_cellsam.editing.edits import Plane

__all__ = ["ImageSource"]


class ImageSource:
    """An image layer, plane by plane, with the layers that give it further channels.

    The labels of such an image have its axes without that of the channels. Only where the channels lie between other
    axes does theirs stay, with a single entry that covers them all, since napari counts axes from the last one.

    Parameters
    ----------
    viewer
        Whose planes are shown.
    layer
        An image layer; shapes and places are its.
    channels
        What the model gets; guessed if None.

    Raises
    ------
    ImageShapeError
        If the layer cannot be used.
    ChannelError
        If a channel does not exist, or its layer has another shape or place.
    """

    def __init__(self, viewer: ViewerModel, layer: Layer, channels: ChannelMap | None = None) -> None:
        axis = None if channels is None else channels.axis
        self._axes = describe_layer(layer, axis)
        if self._axes.problem is not None:
            raise ImageShapeError(self._axes.problem)
        self._viewer, self.layer = viewer, layer
        self._map = channels or guess_channels(viewer.layers, layer)
        self._rgb = self._map.rgb
        if self._rgb and not self._axes.rgb:
            raise ChannelError(f"Layer {layer.name!r} is no colour picture; choose channels.")
        self._parts = {ref: self._find(ref) for ref in self._map.refs}
        self._revision = 0
        for used in self._layers():
            used.events.data.connect(self._on_data)  # held weakly, so nothing has to be disconnected

    @property
    def axes(self) -> LayerAxes:
        """What the axes of the layer are."""
        return self._axes

    @property
    def is_current(self) -> bool:
        """Whether the layer still has the axes that it had when it was chosen."""
        now = describe_layer(self.layer, self._map.axis)
        return now.problem is None and self._is_as(now)

    @property
    def channels(self) -> ChannelMap:
        """What the model gets, under the names that the layers have now."""
        named = {ref: ChannelRef(str(layer.name), ref.index) for ref, (layer, _) in self._parts.items()}
        nuclear, cell = (None if ref is None else named[ref] for ref in (self._map.nuclear, self._map.cell))
        return ChannelMap(nuclear, cell, self._map.rgb, self._map.axis)

    @property
    def path(self) -> Path | None:
        """The file of the layer, as napari knows it or as the layer's metadata say; None if it has none."""
        path = self.layer.source.path or self.layer.metadata.get("path")
        return Path(path) if isinstance(path, str | Path) else None

    @property
    def file_name(self) -> str:
        """What the image is called: as its file, or as its layer if it has none."""
        return str(self.layer.name) if self.path is None else self.path.name

    @property
    def is_multiscale(self) -> bool:
        """Whether the layer has several resolutions; the finest is used."""
        return self._axes.multiscale

    @property
    def pixel_size_um(self) -> tuple[float, float] | None:
        """``(y, x)`` size of a pixel in micrometres as the layer says now, or None where it is not known."""
        return pixel_size_um_of(self.layer)

    @property
    def shape(self) -> tuple[int, ...]:
        """Leading axes, height and width; the shape of the labels."""
        return tuple(1 if axis == self._axes.channel_axis else self._axes.shape[axis] for axis in self._label_axes)

    @property
    def placement(self) -> dict[str, Any]:
        """The arguments that put a labels layer of this shape where the image is."""
        axis = self._axes.channel_axis
        stretched = {axis: self._axes.n_channels} if axis is not None and axis in self._label_axes else None
        return placement_of(self.layer, self._label_axes, stretched)

    @property
    def plane_placement(self) -> dict[str, Any]:
        """The arguments that put a layer of height and width where each plane is."""
        return placement_of(self.layer, (self._axes.ndim - 2, self._axes.ndim - 1))

    @property
    def plane(self) -> Plane:
        """Which plane is shown.

        Raises
        ------
        ImageShapeError
            If the window does not show rows and columns of the layer, or shows none of its planes.
        """
        dims = self._viewer.dims
        if dims.ndisplay != 2 or tuple(dims.displayed) != (dims.ndim - 2, dims.ndim - 1):
            raise ImageShapeError(
                "The window shows the layer in 3-D or along other axes; show rows and columns in 2-D to find cells."
            )
        self._check_layer()
        if dims.ndim < self._axes.ndim:  # while the layer is being removed
            raise ImageShapeError(f"The window shows no plane of layer {self.layer.name!r}; choose the image again.")
        at = self.to_data(dims.point)
        chosen = [(round(float(at[axis])), self._axes.shape[axis]) for axis in self._label_axes[:-2]]
        if any(not 0 <= index < n for index, n in chosen):
            raise ImageShapeError(
                f"The window shows no plane of layer {self.layer.name!r}; move the sliders to where it is."
            )
        return tuple(
            0 if axis == self._axes.channel_axis else index
            for axis, (index, _) in zip(self._label_axes, chosen, strict=False)
        )

    def to_data(self, position: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return where a place of the viewer's world is in the layer's data, in all axes of the layer."""
        return data_coordinates(self._viewer, self.layer, position)

    def planes(self) -> Iterator[Plane]:
        """Yield all planes."""
        yield from product(*map(range, self.shape[:-2]))

    def uses(self, layer: Layer) -> bool:
        """Return whether a layer gives pixels or place."""
        return any(used.unique_id == layer.unique_id for used in self._layers())

    def lies_under(self, labels: Layer) -> bool:
        """Return whether a layer of the shape of the labels lies where the image does."""
        axes = self._axes.picture_axes
        return same_place(self.layer, axes, labels, [axis - self._axes.ndim + labels.ndim for axis in axes])

    def signature(self) -> Hashable:
        """Return what changes when other pixels are meant; writing into an array in place is not noticed."""
        parts = tuple(
            (role, layer.unique_id, id(_finest(layer)), ref.index)
            for role, ref in (("nuclear", self._map.nuclear), ("cell", self._map.cell))
            if ref is not None
            for layer, _ in (self._parts[ref],)
        )
        return self.layer.unique_id, id(_finest(self.layer)), self._map.rgb, self._map.axis, parts, self._revision

    def reader(self, plane: Plane) -> Callable[[], Image]:
        """Return what reads a plane; it may be called in another thread.

        Raises
        ------
        ImageShapeError
            If there is no such plane, or a layer has changed its shape.
        ChannelError
            If a layer that gives a channel was removed, or does not lie on the others any more.
        """
        bare, size = self._bare(plane), self.pixel_size_um
        if self._rgb:
            picture = Picture(_finest(self.layer), self.layer.name, (*bare, slice(None), slice(None), slice(0, 3)))
            return lambda: read_image({"rgb": picture}, size)
        roles = (("nuclear", self._map.nuclear), ("cell", self._map.cell))
        pictures = {role: self._picture(ref, bare) for role, ref in roles if ref is not None}
        return lambda: read_image(pictures, size)

    def namer(self, plane: Plane) -> Callable[[], str]:
        """Return what names the content of a plane of the layer, whichever channels the model gets of it.

        It may be called in another thread.

        Raises
        ------
        ImageShapeError
            If there is no such plane, or the layer has changed its shape.
        """
        leading: list[Any] = list(self._bare(plane))
        if self._axes.channel_axis is not None:
            leading.insert(self._axes.channel_axis, slice(None))
        picture = Picture(_finest(self.layer), str(self.layer.name), (*leading, slice(None), slice(None)))
        return lambda: content_id(picture.read())

    def _bare(self, plane: Plane) -> Plane:
        """Return where a plane is along the axes that are none of channels."""
        self._check_layer()
        leading = self.shape[:-2]
        if len(plane) != len(leading) or any(not 0 <= i < n for i, n in zip(plane, leading, strict=False)):
            raise ImageShapeError(f"there is no plane {plane} in a stack of {leading}")
        return tuple(i for axis, i in zip(self._label_axes, plane, strict=False) if axis != self._axes.channel_axis)

    @property
    def _label_axes(self) -> tuple[int, ...]:
        """The axes of the layer that its labels have as well."""
        first_is_channel = self._axes.channel_axis == 0
        return tuple(range(1 if first_is_channel else 0, self._axes.ndim))

    def _layers(self) -> list[Layer]:
        """Return the layer and those that give channels, each once."""
        used = {layer.unique_id: layer for layer in (self.layer, *(layer for layer, _ in self._parts.values()))}
        return list(used.values())

    def _find(self, ref: ChannelRef) -> tuple[Layer, LayerAxes]:
        """Return the layer that a channel is from, and its axes."""
        layer = next((layer for layer in self._viewer.layers if layer.name == ref.layer), None)
        if layer is None:
            raise ChannelError(f"There is no layer {ref.layer!r}; choose the channels again.")
        same = layer.unique_id == self.layer.unique_id
        # an axis that the user chose is one of the looked-at layer, and of others of as many axes
        as_chosen = same or (ref.index is not None and layer.ndim == self.layer.ndim)
        axes = describe_layer(layer, self._map.axis if as_chosen else None)
        problem = None if same else why_not_beside(self.layer, self._axes, layer, axes)
        if problem is not None:
            raise ChannelError(problem)
        _check_index(ref, axes)
        return layer, axes

    def _check_layer(self) -> None:
        """Refuse a layer that has changed its axes since it was chosen."""
        now = describe_layer(self.layer, self._map.axis)
        if now.problem is not None:
            raise ImageShapeError(now.problem)
        if not self._is_as(now):
            raise ImageShapeError(
                f"Layer {self.layer.name!r} has changed its shape; click another layer, then this one again."
            )

    def _is_as(self, now: LayerAxes) -> bool:
        return (now.shape, now.rgb) == (self._axes.shape, self._axes.rgb)

    def _picture(self, ref: ChannelRef, bare: Plane) -> Picture:
        """Return where the pixels of a channel are."""
        layer, axes = self._parts[ref]
        if not any(there.unique_id == layer.unique_id for there in self._viewer.layers):
            raise ChannelError(f"Layer {layer.name!r}, which gave a channel, is gone; choose the channels again.")
        if layer.unique_id != self.layer.unique_id:
            problem = why_not_beside(self.layer, self._axes, layer, describe_layer(layer, axes.channel_axis))
            if problem is not None:
                raise ChannelError(problem)
        leading: list[Any] = list(bare)
        if axes.channel_axis is not None:
            leading.insert(axes.channel_axis, ref.index)
        colour = (ref.index,) if axes.rgb else ()
        return Picture(_finest(layer), str(layer.name), (*leading, slice(None), slice(None), *colour))

    def _on_data(self, event: Any = None) -> None:  # noqa: ARG002 - napari's signature
        self._revision += 1


def _finest(layer: Layer) -> Any:
    """Return the array with all pixels of a layer."""
    return layer.data[0] if layer.multiscale else layer.data


def _check_index(ref: ChannelRef, axes: LayerAxes) -> None:
    """Refuse a channel that a layer does not have."""
    has_channels = axes.rgb or axes.channel_axis is not None
    if has_channels and (ref.index is None or ref.index >= axes.n_channels):
        raise ChannelError(
            f"Layer {ref.layer!r} has the channels 0 to {axes.n_channels - 1} ({', '.join(axes.channel_names)}); "
            f"got {ref.index}."
        )
    if not has_channels and ref.index is not None:
        raise ChannelError(f"Layer {ref.layer!r} has no axis of channels, so there is no channel {ref.index} in it.")
