"""Contrast-limited adaptive histogram equalization (CLAHE; Zuiderveld, Graphics Gems IV, 1994) in little memory.

The numbers are those of `skimage.exposure.equalize_adapthist` with its defaults, which the published model was trained
on. That function holds about 40 bytes per pixel while it works, this one 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["equalize"]

_LEVELS = 2**14
_N_BINS = 256
_LEVELS_PER_BIN = 1 + _LEVELS // _N_BINS
_CLIP = 0.01  # of a block's pixels, the most that a bin may hold
_UINT16 = 65535
_ROWS_AT_ONCE = 256  # while pixels are sorted into bins


def equalize(channel: NDArray[np.float32], kernel: int) -> NDArray[np.float32]:
    """Equalize a channel in place.

    Parameters
    ----------
    channel
        ``(Y, X)`` float32, smallest value 0 and largest 1; overwritten.
    kernel
        Pixels along a block's side, even.

    Returns
    -------
    NDArray
        The channel, 0 to 1.
    """
    bins = _sort_into_bins(channel)
    rows, columns = (_reflect(n, kernel) for n in channel.shape)
    maps = _map_blocks(bins, rows, columns, kernel)
    weights = _corner_weights(kernel)
    half = kernel // 2
    for i in range(len(rows) // kernel):
        strip = bins[rows[i * kernel : (i + 1) * kernel]][:, columns]  # (kernel, padded X)
        blocks = strip.reshape(kernel, -1, kernel).transpose(1, 0, 2).reshape(-1, kernel * kernel)
        values = _interpolate(blocks, maps[i : i + 2], weights)
        values = values.reshape(-1, kernel, kernel).transpose(1, 0, 2).reshape(kernel, -1)
        top, bottom = max(i * kernel - half, 0), min((i + 1) * kernel - half, len(channel))
        if bottom > top:
            offset = top - (i * kernel - half)
            channel[top:bottom] = values[offset : offset + bottom - top, half : half + channel.shape[1]]
    return _stretch(channel)


def _sort_into_bins(channel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the bin of every pixel, by way of 16-bit and 14-bit levels as scikit-image goes."""
    levels = np.round(np.arange(_UINT16 + 1) / _UINT16 * (_LEVELS - 1)).astype(np.uint16)
    bin_of = (levels // _LEVELS_PER_BIN).astype(np.uint8)
    bins = np.empty(channel.shape, np.uint8)
    for start in range(0, len(channel), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        bins[some] = bin_of[np.rint(channel[some] * np.float32(_UINT16)).astype(np.uint16)]
    return bins


def _reflect(n: int, kernel: int) -> NDArray[np.int64]:
    """Return which pixel stands where, with half a kernel before and as much after whole kernels."""
    return np.pad(np.arange(n), (kernel // 2, -n % kernel + (kernel + 1) // 2), mode="reflect")


def _map_blocks(
    bins: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64], kernel: int
) -> NDArray[np.int64]:
    """Return the level of each bin in every block, ``(blocks + 2, blocks + 2, bins)``: the outermost blocks twice."""
    half = kernel // 2
    inner = columns[half : half + (len(columns) // kernel - 1) * kernel]
    limit = max(int(_CLIP * kernel * kernel), 1)
    maps = []
    for i in range(len(rows) // kernel - 1):
        strip = bins[rows[half + i * kernel : half + (i + 1) * kernel]][:, inner]
        blocks = strip.reshape(kernel, -1, kernel).transpose(1, 0, 2).reshape(-1, kernel * kernel)
        counts = [_clip_counts(np.bincount(block, minlength=_N_BINS), limit) for block in blocks]
        share = np.cumsum(counts, axis=-1) * ((_LEVELS - 1) / (kernel * kernel))
        maps.append(np.minimum(share, _LEVELS - 1).astype(np.int64))
    return np.pad(np.array(maps), ((1, 1), (1, 1), (0, 0)), mode="edge")


def _clip_counts(counts: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Cut a histogram at a limit and spread what was cut off over the other bins, as evenly as it goes."""
    excess = int(np.maximum(counts - limit, 0).sum())
    counts = np.minimum(counts, limit)
    share = excess // len(counts)
    low = counts < limit - share
    counts[low] += share
    excess -= share * int(low.sum())
    nearly_full = (counts >= limit - share) & (counts < limit)
    excess -= int((limit - counts[nearly_full]).sum())
    counts[nearly_full] = limit
    while excess > 0:
        left = _spread(counts, limit, excess)
        if left == excess:
            break
        excess = left
    return counts


def _spread(counts: NDArray[np.int64], limit: int, excess: int) -> int:
    """Add ones to bins with room, spaced evenly, in place; return what is left."""
    for first in range(len(counts)):
        step = max(1, int((counts < limit).sum()) // excess)
        some = counts[first::step]
        room = some < limit
        some[room] += 1
        excess -= int(room.sum())
        if excess <= 0:
            break
    return excess


def _corner_weights(kernel: int) -> list[NDArray[np.float64]]:
    """Return the weights ``(kernel * kernel,)`` of the four blocks around a pixel."""
    after = np.arange(kernel) / kernel
    sides = (1 - after, after)
    return [np.multiply.outer(down, across).ravel() for down in sides for across in sides]


def _interpolate(
    blocks: NDArray[np.uint8], maps: NDArray[np.int64], weights: list[NDArray[np.float64]]
) -> NDArray[Any]:
    """Return the levels ``(n, pixels)`` of a row of blocks between the maps ``(2, n + 1, bins)`` around them."""
    values = np.zeros(blocks.shape, np.float32)
    index = blocks.astype(np.intp)
    for corner, weight in enumerate(weights):
        down, across = divmod(corner, 2)
        levels = np.take_along_axis(maps[down, across : across + len(blocks)], index, axis=1)
        values += (levels * weight).astype(np.float32)
    return values.astype(np.uint16)


def _stretch(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = channel.min(), channel.max()
    if low == high:
        return np.clip(channel, 0, 1, out=channel)
    channel -= low
    channel /= high - low
    return channel
