"""The place of a layer in the world: how it is compared, taken over and turned into data coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

__all__ = [
    "are_apart",
    "data_coordinates",
    "pixel_size_um_of",
    "placement_of",
    "same_place",
    "viewer_position",
    "viewer_units",
]

_CLOSE = 1e-6
_UM_PER_M = 1e6


def data_coordinates(viewer: ViewerModel, layer: Layer, position: Sequence[float]) -> NDArray[np.float64]:
    """Return where a place of the viewer's world is in the data of a layer.

    Parameters
    ----------
    viewer
        From napari 0.9 on it may use another unit of length than the layer does.
    layer
        Any layer; of several resolutions, the finest counts.
    position
        As napari tells it for the mouse and for ``dims.point``.
    """
    world = np.asarray(position, np.float64)[-layer.ndim :]
    return np.asarray(layer.world_to_data(world / viewer_units(viewer, layer)), np.float64)


def viewer_position(viewer: ViewerModel, layer: Layer, place: Sequence[float]) -> NDArray[np.float64]:
    """Return where a place of a layer's data is in the viewer's world; on axes that the layer lacks, what is shown.

    Parameters
    ----------
    viewer
        From napari 0.9 on it may use another unit of length than the layer does.
    layer
        Any layer.
    place
        One number per axis of the layer.
    """
    world = np.atleast_1d(np.asarray(layer.data_to_world(place), np.float64)) * viewer_units(viewer, layer)
    position = np.array(viewer.dims.point, np.float64)
    position[-layer.ndim :] = world
    return position


def viewer_units(viewer: ViewerModel, layer: Layer) -> NDArray[np.float64]:
    """Return how many of the viewer's units of length make one of a layer's, for each axis of the layer."""
    units = getattr(viewer.dims, "units", None)  # napari < 0.9 knows none
    if units is None or len(units) < layer.ndim:
        return np.ones(layer.ndim)
    pairs = zip(layer.units, tuple(units)[-layer.ndim :], strict=True)
    return np.array([1.0 if ours == theirs else _in_base(ours) / _in_base(theirs) for ours, theirs in pairs])


def placement_of(layer: Layer, axes: Sequence[int], stretched: Mapping[int, int] | None = None) -> dict[str, Any]:
    """Return the arguments that put a new layer on some axes of another one.

    Parameters
    ----------
    layer
        The layer that is there.
    axes
        Those of its axes that the new layer has, in order.
    stretched
        Axes on which the new layer has a single entry that covers so many entries of the other.
    """
    scale, translate = np.array(layer.scale, float), np.array(layer.translate, float)
    for axis, n_entries in (stretched or {}).items():
        translate[axis] += scale[axis] * (n_entries - 1) / 2
        scale[axis] *= n_entries
    kept = list(axes)
    with_offset = [*kept, layer.ndim]
    return {
        "scale": scale[kept],
        "translate": translate[kept],
        "rotate": np.asarray(layer.rotate)[np.ix_(kept, kept)],
        "shear": _shear_matrix(layer)[np.ix_(kept, kept)],
        "affine": np.asarray(layer.affine.affine_matrix)[np.ix_(with_offset, with_offset)],
        "units": [layer.units[axis] for axis in kept],
        "axis_labels": [layer.axis_labels[axis] for axis in kept],
    }


def same_place(one: Layer, axes: Sequence[int], other: Layer, other_axes: Sequence[int]) -> bool:
    """Return whether the axes of two layers lie on each other in the world."""
    pairs = (one, axes), (other, other_axes)
    if [axis - one.ndim for axis in axes] != [axis - other.ndim for axis in other_axes]:
        return False  # napari counts the axes of the world from the last one
    kinds, other_kinds = ([unit.dimensionality for unit in _units(layer, of)] for layer, of in pairs)
    if kinds != other_kinds:
        return False
    linear, offset = _placed(one, axes)
    other_linear, other_offset = _placed(other, other_axes)
    pixel = np.abs(linear).max(1)
    return bool(
        (np.abs(linear - other_linear) <= _CLOSE * pixel[:, None]).all()
        and (np.abs(offset - other_offset) <= 1e-3 * pixel).all()
    )


def are_apart(layer: Layer, axes: Sequence[int]) -> bool:
    """Return whether some axes are neither turned nor sheared into the other ones."""
    linear = _linear(layer)
    rest = [axis for axis in range(layer.ndim) if axis not in axes]
    for own, others in ((list(axes), rest), (rest, list(axes))):
        if own and others:
            reach = np.abs(linear[np.ix_(own, own)]).max(1, keepdims=True)
            if (np.abs(linear[np.ix_(own, others)]) > _CLOSE * reach).any():
                return False
    return True


def pixel_size_um_of(layer: Layer) -> tuple[float, float] | None:
    """Return the ``(y, x)`` size of a pixel; None unless the layer's unit is one of length."""
    axes = layer.ndim - 2, layer.ndim - 1
    if any(dict(unit.dimensionality) != {"[length]": 1} for unit in _units(layer, axes)):
        return None
    linear, _ = _placed(layer, axes)
    y, x = np.linalg.norm(linear, axis=0) * _UM_PER_M
    return float(y), float(x)


def _placed(layer: Layer, axes: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return matrix and offset of some axes, in base units."""
    kept = list(axes)
    factors = np.array([_in_base(unit) for unit in _units(layer, axes)])
    offset = np.asarray(layer.data_to_world((0,) * layer.ndim), np.float64)[kept]
    return _linear(layer)[np.ix_(kept, kept)] * factors[:, None], offset * factors


def _linear(layer: Layer) -> NDArray[np.float64]:
    """Return the matrix ``(world axis, data axis)``, without the offset."""
    origin = np.asarray(layer.data_to_world((0,) * layer.ndim), np.float64)
    steps = [np.asarray(layer.data_to_world(tuple(step)), np.float64) - origin for step in np.eye(layer.ndim)]
    return np.stack(steps, axis=1)


def _shear_matrix(layer: Layer) -> NDArray[np.float64]:
    """Return the shear as a matrix; napari gives the upper triangle where that is all."""
    shear = np.asarray(layer.shear, np.float64)
    if shear.ndim == 2:
        return shear
    matrix = np.eye(layer.ndim)
    matrix[np.triu_indices(layer.ndim, 1)] = shear
    return matrix


def _units(layer: Layer, axes: Sequence[int]) -> list[Any]:
    return [layer.units[axis] for axis in axes]


def _in_base(unit: Any) -> float:
    """Return how many base units (metres, seconds, pixels) a unit is."""
    return float((1 * unit).to_base_units().magnitude)
