"""The remembered channels: what was chosen for one picture serves for those whose files are called alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from napari_cellsam.errors import ChannelError
from napari_cellsam.settings import config_dir
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef
from napari_cellsam.widgets._settings_places import JsonFile, Place

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["ChannelMemory", "pattern_of"]

_MOST = 300
_DIGITS = re.compile(r"\d+")


class ChannelMemory:
    """What was chosen, by pattern of file name and layer name: ``day 12.tif`` and ``day 7.tif`` have the same.

    Parameters
    ----------
    place
        Where it is kept; ``channels.json`` among the user's choices if None.
    """

    def __init__(self, place: Place | None = None) -> None:
        self._place = place or JsonFile(config_dir() / "channels.json")

    def remember(self, layer: Layer, channels: ChannelMap) -> None:
        """Keep what was chosen for a layer; the oldest choices are forgotten when there are hundreds.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        kept = self._place.read()
        key = pattern_of(layer)
        kept.pop(key, None)
        kept[key] = {
            "name": str(layer.name),
            "nuclear": _as_json(channels.nuclear),
            "cell": _as_json(channels.cell),
            "rgb": channels.rgb,
            "axis": channels.axis,
            "axes": _axes_of(layer, channels.axis),
        }
        self._place.write(dict(list(kept.items())[-_MOST:]))

    def recall(self, layer: Layer, layers: Iterable[Layer]) -> ChannelMap | None:
        """Return what was chosen for a picture called like this one; None if nothing was, or a layer is missing.

        Parameters
        ----------
        layer
            The layer that is looked at.
        layers
            All layers of the viewer.
        """
        entry = self._place.read().get(pattern_of(layer))
        if entry is None:
            return None
        names = {str(there.name) for there in layers}
        try:
            nuclear, cell = (_as_ref(entry[role], str(entry["name"]), str(layer.name)) for role in ("nuclear", "cell"))
            if any(ref is not None and ref.layer not in names for ref in (nuclear, cell)):
                return None
            axis = entry["axis"]
            if axis is not None and entry["axes"] != _axes_of(layer, int(axis)):
                return None  # a stack that is called like a picture of several channels
            return ChannelMap(nuclear, cell, bool(entry["rgb"]), None if axis is None else int(axis))
        except (ChannelError, KeyError, TypeError, ValueError):
            return None  # written by another version, or by hand


def pattern_of(layer: Layer) -> str:
    """Return what the file and the layer are called, with ``#`` for every number."""
    path = layer.source.path
    file_name = "" if path is None else PurePath(str(path)).name
    return f"{_DIGITS.sub('#', file_name)} / {_DIGITS.sub('#', str(layer.name))}"


def _axes_of(layer: Layer, channel_axis: int | None) -> list[int] | None:
    """Return the number of axes and that of channels; None without an axis of channels."""
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    return None if channel_axis is None or channel_axis >= len(shape) else [len(shape), int(shape[channel_axis])]


def _as_json(ref: ChannelRef | None) -> list[Any] | None:
    return None if ref is None else [ref.layer, ref.index]


def _as_ref(kept: Any, name_then: str, name_now: str) -> ChannelRef | None:
    """Return a channel, with the numbers of the layer that is looked at now."""
    if kept is None:
        return None
    name, index = kept
    return ChannelRef(_renumbered(str(name), name_then, name_now), None if index is None else int(index))


def _renumbered(name: str, name_then: str, name_now: str) -> str:
    """Return a layer's name with each number that it shared with another one then as that one has it now.

    The first numbers are compared with the first, and so on: beside ``C0-img7``, ``C1-img7`` is ``C1-img12`` once
    ``C0-img7`` is ``C0-img12``.
    """
    then, now, own = (_DIGITS.findall(text) for text in (name_then, name_now, name))
    numbers = iter(
        new if number == old and new is not None else number
        for number, old, new in zip_longest(own, then[: len(own)], now[: len(own)])
    )
    return _DIGITS.sub(lambda _: next(numbers), name)
