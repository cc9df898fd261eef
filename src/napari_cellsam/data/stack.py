"""The stack of planes that a file holds, and the choice of one plane and its channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ChannelError, ImageShapeError
from napari_cellsam.memory import check_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Stack", "choose_plane", "find_channel", "read_plane"]

_MAX_GUESSED_CHANNELS = 4
_MEANINGS = {"T": "time", "Z": "depth", "C": "channel"}


@dataclass(frozen=True, eq=False)
class Stack:
    """The pixels of a file, not yet decoded, and the meaning of their axes.

    Attributes
    ----------
    sizes
        Length of each axis by name, in the order of the file: ``Y`` and ``X``; ``S`` samples of a pixel; ``C``
        channels; ``T`` time; ``Z`` depth. Any other name is an axis whose meaning the file does not say.
    dtype
        Type of the stored values.
    load
        Takes an index for each axis other than Y, X and S, and returns what is left, in the order of the file.
    colour
        Whether the samples are red, green and blue.
    channel_names
        One name per channel, or empty.
    pixel_size_um
        ``(y, x)`` in micrometres, or None.
    n_scenes
        Number of pictures in the file, of which this is one.
    """

    sizes: Mapping[str, int]
    dtype: np.dtype[Any]
    load: Callable[[Mapping[str, int]], NDArray[Any]]
    colour: bool = False
    channel_names: tuple[str, ...] = ()
    pixel_size_um: tuple[float, float] | None = None
    n_scenes: int = 1

    def __post_init__(self) -> None:
        missing = [axis for axis in "YX" if axis not in self.sizes]
        if missing or 0 in self.sizes.values():
            raise ImageShapeError(f"got axes {_describe(self.sizes)}; expected a picture with height Y and width X")

    @property
    def n_samples(self) -> int:
        """Samples per pixel."""
        return self.sizes.get("S", 1)


def choose_plane(
    stack: Stack, plane: Mapping[str, int] | None = None, choose_channels: bool = False
) -> tuple[dict[str, int], str | None]:
    """Fix every axis other than Y, X, S and the channels.

    The first time point and the middle depth are taken where nothing is said. One axis without a meaning is read as
    channels if channels were asked for or if it is at most 4 long, else as depth.

    Parameters
    ----------
    stack
        What the file holds.
    plane
        Index by axis name, 0 first; negative ones count from the end.
    choose_channels
        Whether channels were asked for by number or name.

    Returns
    -------
    tuple
        The index of each fixed axis, and the name of the channel axis or None.

    Raises
    ------
    ImageShapeError
        If an axis or index does not exist, or several axes have no meaning and no choice.
    """
    asked = {name.upper(): index for name, index in (plane or {}).items()}
    _check_plane(stack, asked)
    fixed = {name: index % stack.sizes[name] for name, index in asked.items() if name in stack.sizes}
    free = [name for name in stack.sizes if name not in "YXS" and name not in fixed]
    unknown = [name for name in free if name not in _MEANINGS and stack.sizes[name] > 1]
    channel_axis = "C" if "C" in free else None
    if len(unknown) > 1:
        raise ImageShapeError(
            f"the file holds {_describe(stack.sizes)} and does not say what {' and '.join(unknown)} are; choose a "
            f"plane, for example {', '.join(f'{name}=0' for name in unknown)}"
        )
    if unknown and "C" not in stack.sizes and (choose_channels or stack.sizes[unknown[0]] <= _MAX_GUESSED_CHANNELS):
        channel_axis = unknown[0]
    for name in free:
        if name != channel_axis:
            fixed[name] = 0 if name == "T" else stack.sizes[name] // 2
    return fixed, channel_axis


def _check_plane(stack: Stack, asked: Mapping[str, int]) -> None:
    """Refuse a choice of plane that the file does not have."""
    for name, index in asked.items():
        if name in ("Y", "X", "S"):
            raise ImageShapeError(f"a plane is not chosen along {name}; the file holds {_describe(stack.sizes)}")
        size = stack.sizes.get(name, 1)  # axes of length one are often not stored
        if not -size <= index < size:
            raise ImageShapeError(f"{name}={index} does not exist; the file holds {_describe(stack.sizes)}")


def find_channel(channel: int | str, names: tuple[str, ...], n_channels: int) -> int:
    """Return the index of a channel given by number (0 first) or name.

    Parameters
    ----------
    channel
        Index, name, or an index as text. A name that fits exactly wins over one that fits but for capitals.
    names
        Names of the channels, or empty.
    n_channels
        Number of channels.

    Raises
    ------
    ChannelError
        If there is no such channel, or the name fits several; the message lists what there is.
    """
    number = channel if isinstance(channel, int) else None
    if isinstance(channel, str):
        same = [i for i, name in enumerate(names) if name == channel]
        alike = same or [i for i, name in enumerate(names) if name.casefold() == channel.strip().casefold()]
        if len(alike) == 1:
            return alike[0]
        if not alike and channel.strip().isdecimal():
            number = int(channel)
    if number is not None and 0 <= number < n_channels:
        return number
    listed = ", ".join(f"{i} {names[i]!r}" if i < len(names) else str(i) for i in range(n_channels))
    raise ChannelError(f"channel {channel!r} does not exist or is not unique; the channels are {listed}")


def read_plane(
    stack: Stack, fixed: Mapping[str, int], channel_axis: str | None, channels: list[int] | None = None
) -> NDArray[Any]:
    """Read one plane as ``(Y, X, C)``.

    Parameters
    ----------
    stack
        What the file holds.
    fixed, channel_axis
        From `choose_plane`.
    channels
        Channels to read, in this order; all when None. A channel is a sample of an entry of the channel axis:
        number ``entry * n_samples + sample``.

    Raises
    ------
    ImageTooLargeError
        If the plane does not fit in the free memory; nothing has been decoded then.
    """
    n_entries = stack.sizes[channel_axis] if channel_axis else 1
    wanted = list(range(n_entries * stack.n_samples)) if channels is None else channels
    shape = (stack.sizes["Y"], stack.sizes["X"], len(wanted))
    check_memory(shape, stack.dtype.itemsize)
    pixels = np.empty(shape, stack.dtype)
    for entry in sorted({channel // stack.n_samples for channel in wanted}):
        index = dict(fixed) | ({channel_axis: entry} if channel_axis else {})
        values = _samples_last(stack, stack.load(index))
        for position, channel in enumerate(wanted):
            if channel // stack.n_samples == entry:
                pixels[:, :, position] = values[:, :, channel % stack.n_samples]
    pixels.setflags(write=False)  # so that an Image takes them over without a copy
    return pixels


def _samples_last(stack: Stack, values: NDArray[Any]) -> NDArray[Any]:
    """Return what was loaded as ``(Y, X, S)``."""
    order = [axis for axis in stack.sizes if axis in "YXS"]
    if "S" not in order:
        order, values = [*order, "S"], values[..., None]
    return values.transpose([order.index(axis) for axis in "YXS"])


def _describe(sizes: Mapping[str, int]) -> str:
    """Return the axes as text, with their meanings."""
    return ", ".join(
        f"{name}={size}" + (f" ({_MEANINGS[name]})" if name in _MEANINGS else "") for name, size in sizes.items()
    )
