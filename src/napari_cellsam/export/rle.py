"""The run-length encoding of COCO: masks as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.runs import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["decode_runs", "encode_runs"]

# five bits a character, lowest first, and a bit that says that more follow; characters begin at "0"
_BITS, _MORE, _SIGN, _ZERO = 5, 0x20, 0x10, 48
_MOST_CHARACTERS = 12  # of one number


def encode_runs(runs: Runs, n_pixels: int) -> Iterator[tuple[int, str]]:
    """Encode the mask of each cell as pycocotools does.

    Parameters
    ----------
    runs
        By rising label, counted down the columns.
    n_pixels
        Of the whole image.

    Yields
    ------
    tuple of int and str
        Label and ``counts``.
    """
    if not len(runs.labels):
        return
    counts, owner_starts, labels = _count(runs, n_pixels)
    index = np.arange(len(counts)) - np.repeat(owner_starts, np.diff(owner_starts, append=len(counts)))
    values = counts.copy()
    values[2:] -= np.where(index[2:] > 2, counts[:-2], 0)
    text, ends = _spell(values)
    borders = [0, *ends[owner_starts[1:] - 1].tolist(), len(text)]
    for i, label in enumerate(labels.tolist()):
        yield label, text[borders[i] : borders[i + 1]]


def _count(runs: Runs, n_pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
    """Count pixels outside and inside in turns; return the counts, where those of each cell begin, and the labels."""
    new = np.concatenate([[True], runs.labels[1:] != runs.labels[:-1]])
    ends = runs.starts + runs.lengths
    joined = np.concatenate([[False], ~new[1:] & (runs.starts[1:] == ends[:-1])])  # over the end of a column
    begins = np.flatnonzero(~joined)
    starts, stops = runs.starts[begins], ends[np.append(begins[1:], len(ends)) - 1]
    first = new[begins]
    gaps = starts - np.where(first, 0, np.concatenate([[0], stops[:-1]]))
    last = np.append(first[1:], True)
    tails = np.where(last, n_pixels - stops, 0)
    table = np.stack([gaps, stops - starts, tails], 1)
    there = np.ones(table.shape, bool)
    there[:, 2] = tails > 0
    sizes = there.sum(1)
    return table[there], (np.cumsum(sizes) - sizes)[first], runs.labels[begins][first]


def _spell(values: NDArray[np.int64]) -> tuple[str, NDArray[np.int64]]:
    """Spell numbers as characters; return the text, and where each number ends."""
    left = values.copy()
    open_ = np.ones(len(values), bool)
    columns, used = [], []
    while open_.any():
        low = left & (2**_BITS - 1)
        left >>= _BITS
        more = np.where(low & _SIGN, left != -1, left != 0)
        columns.append((low + np.where(more, _MORE, 0) + _ZERO).astype(np.uint8))
        used.append(open_)
        open_ = open_ & more
    there = np.stack(used, 1)
    return np.stack(columns, 1)[there].tobytes().decode("ascii"), np.cumsum(there.sum(1))


def decode_runs(labels: Sequence[int], masks: Sequence[str | Sequence[int]], shape: tuple[int, int]) -> Runs:
    """Decode masks to runs, counted down the columns.

    Parameters
    ----------
    labels
        One per mask.
    masks
        ``counts`` as text, or as a list of numbers.
    shape
        ``(Y, X)`` of the image.

    Raises
    ------
    ImageReadError
        If a mask is not of that many pixels, or no such text.
    """
    plain = [np.asarray(mask, np.int64) for mask in masks if not isinstance(mask, str)]
    spelled, sizes = _read([mask for mask in masks if isinstance(mask, str)])
    parts, spelled_parts = iter(plain), iter(np.split(spelled, np.cumsum(sizes)[:-1]) if sizes else [])
    counts = [next(spelled_parts if isinstance(mask, str) else parts) for mask in masks]
    flat = np.concatenate([np.zeros(0, np.int64), *counts])
    lengths = np.array([len(own) for own in counts], np.int64)
    first = np.cumsum(lengths) - lengths
    totals = np.add.reduceat(np.append(flat, 0), first)[: len(first)] if len(first) else flat
    if (flat < 0).any() or (lengths == 0).any() or (totals != shape[0] * shape[1]).any():
        raise ImageReadError(f"a mask does not have the {shape[0]} x {shape[1]} pixels of its image; export it anew")
    owner = np.repeat(np.arange(len(counts)), lengths)
    ends = np.cumsum(flat) - np.repeat(np.arange(len(counts)) * shape[0] * shape[1], lengths)
    inside = (np.arange(len(flat)) - np.repeat(first, lengths)) % 2 == 1
    return Runs(np.asarray(labels, np.uint32)[owner[inside]], (ends - flat)[inside], flat[inside])


def _read(texts: Sequence[str]) -> tuple[NDArray[np.int64], list[int]]:
    """Read the counts of texts: all in a row, and how many each has."""
    try:
        raw = np.frombuffer("".join(texts).encode("ascii"), np.uint8).astype(np.int64) - _ZERO
    except UnicodeEncodeError as error:
        raise ImageReadError(f"a mask holds a character that no mask has: {error}") from error
    ends = np.flatnonzero(raw & _MORE == 0)
    borders = np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if len(ends) else ends
    wrong = (raw < 0) | (raw >= 2 * _MORE)
    if wrong.any() or not np.isin(borders, np.append(ends + 1, 0)).all():
        raise ImageReadError("a mask is cut off, or holds a character that no mask has; export it anew")
    if not len(ends):
        return raw, [0] * len(texts)
    place = np.arange(len(raw)) - np.repeat(starts, ends - starts + 1)
    if place.max() >= _MOST_CHARACTERS:
        raise ImageReadError("a mask holds a number that is too large; export it anew")
    values = np.add.reduceat((raw & (2**_BITS - 1)) << (_BITS * place), starts)
    values -= np.where(raw[ends] & _SIGN, np.int64(1) << (_BITS * (place[ends] + 1)), 0)
    sizes = np.diff(np.searchsorted(ends, borders - 1, side="right"), prepend=0)
    return _undo_differences(values, sizes), sizes.tolist()


def _undo_differences(values: NDArray[np.int64], sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Add to each count of a mask, from the fourth on, the last but one before it."""
    result = values.copy()
    owner = np.repeat(np.arange(len(sizes)), sizes)
    index = np.arange(len(values)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    for parity in (0, 1):
        chain = np.flatnonzero((index % 2 == parity) & (index > 0))
        total = np.cumsum(values[chain])
        new = np.flatnonzero(np.diff(owner[chain], prepend=-1))
        base = (total - values[chain])[new]
        result[chain] = total - np.repeat(base, np.diff(new, append=len(chain)))
    return result
