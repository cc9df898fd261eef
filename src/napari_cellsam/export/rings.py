"""The closed lines around cells, traced along the edges of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Rings", "group_rings", "trace_rings"]

_ROWS = 512  # of the image, looked at together
# a line goes right, down, left or up, with its cell on its right hand
_RIGHT, _DOWN, _LEFT, _UP = range(4)
# the pixel on the right hand of a line's first step, from the corner where it starts
_INNER_Y, _INNER_X = np.array([0, 0, -1, -1]), np.array([0, -1, -1, 0])


@dataclass(frozen=True, eq=False)
class Rings:
    """Closed lines around cells and around their holes.

    Coordinates are corners of pixels: ``(0, 0)`` is the outer corner of the first pixel, whose centre is (0.5, 0.5).
    Each ring goes through a corner once. The pixels of a ring that meet at a corner only belong to two rings.

    Attributes
    ----------
    points
        ``(M, 2)`` int32 ``(y, x)``, the corners where lines turn, ring after ring, none repeated at the end.
    starts
        ``(R + 1,)``, where in `points` each ring begins; the last is M.
    labels
        ``(R,)`` uint32, the cell of each ring; rising.
    areas
        ``(R,)`` in pixels; negative for holes.
    """

    points: NDArray[np.int32]
    starts: NDArray[np.int64]
    labels: NDArray[np.uint32]
    areas: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def trace_rings(labels: NDArray[np.uint32]) -> Rings:
    """Trace the rings of every cell: those around its pieces, clockwise on the screen, and those around its holes.

    Pixels that share an edge form a piece; so each piece has one ring around it, and filling all rings of a cell by
    the even-odd rule gives back its pixels exactly.

    Parameters
    ----------
    labels
        ``(Y, X)``, 0 background.
    """
    width = labels.shape[1] + 1
    corners, directions, following = _find_turns(_mark_lines(labels), width)
    order, starts = _walk(following)
    points = np.stack(np.divmod(corners[order], width), 1).astype(np.int32)
    points, starts, first = _split(points, starts, order)
    y, x = points[starts[:-1]].T
    way = directions[first]
    owners = labels[y + _INNER_Y[way], x + _INNER_X[way]] if len(first) else np.zeros(0, np.uint32)
    return _sort(points, starts, owners)


def _mark_lines(labels: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Mark at each corner of a pixel, as one bit per direction, which lines between cells start there."""
    height, width = labels.shape
    lines = np.zeros((height + 1, width + 1), np.uint8)
    for top in range(0, height + 1, _ROWS):
        stop = min(top + _ROWS, height + 1)
        part = np.zeros((stop - top + 1, width), np.uint32)  # one row above the first corner, one below the last
        rows = labels[max(top - 1, 0) : min(stop, height)]
        part[int(top == 0) : int(top == 0) + len(rows)] = rows
        above, below = part[:-1], part[1:]
        differs = above != below
        lines[top:stop, :-1] |= differs & (below > 0)
        lines[top:stop, 1:] |= (differs & (above > 0)).astype(np.uint8) << _LEFT
    for top in range(0, height, _ROWS):
        rows = np.pad(labels[top : top + _ROWS], ((0, 0), (1, 1)))
        left, right = rows[:, :-1], rows[:, 1:]
        differs = left != right
        stop = top + len(rows)
        lines[top:stop] |= (differs & (left > 0)).astype(np.uint8) << _DOWN
        lines[top + 1 : stop + 1] |= (differs & (right > 0)).astype(np.uint8) << _UP
    return lines


def _find_turns(lines: NDArray[np.uint8], width: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Find where lines turn.

    Returns
    -------
    corners, directions
        Of each straight run: the corner it starts at, and where it goes.
    following
        The run that goes on where this one ends.
    """
    flat = lines.ravel()
    steps = (1, width, -1, -width)
    starts, ends, ways = [], [], []
    used = np.flatnonzero(flat)
    present = flat[used]
    by_column = np.lexsort((used // width, used % width)) if len(used) else used
    for direction, step in enumerate(steps):
        order = by_column if direction in (_DOWN, _UP) else slice(None)
        along, bits = used[order], present[order]
        along = along[bits >> direction & 1 == 1]
        if step < 0:
            along = along[::-1]
        next_bits = flat[along + step]
        right_turn, straight = (next_bits >> ((direction + 1) % 4) & 1) == 1, (next_bits >> direction & 1) == 1
        turns = np.flatnonzero(right_turn | ~straight)  # where a pixel touches another at a corner, stay with the first
        starts.append(along[np.concatenate([turns[:0], [0], turns[:-1] + 1])] if len(turns) else along[:0])
        way = np.where(right_turn[turns], direction + 1, direction - 1) % 4
        ends.append((along[turns] + step) * 4 + way)
        ways.append(np.full(len(turns), direction, np.int8))
    corners, directions = np.concatenate(starts), np.concatenate(ways)
    keys = corners * 4 + directions
    rank = np.argsort(keys)
    following = rank[np.searchsorted(keys[rank], np.concatenate(ends))]
    return corners, directions, following


def _walk(following: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Follow the runs round and round: return them in order, and where in that order each ring begins."""
    left = following.tolist()
    order: list[int] = []
    starts: list[int] = []
    for first in range(len(left)):
        if left[first] < 0:
            continue
        starts.append(len(order))
        run = first
        while left[run] >= 0:
            order.append(run)
            left[run], run = -1, left[run]
    return np.array(order, np.int64), np.array([*starts, len(order)], np.int64)


def _split(
    points: NDArray[np.int32], starts: NDArray[np.int64], order: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[Any]]:
    """Split rings that touch themselves in a corner; return points, starts, and the first run of each ring."""
    ring = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    rank = np.lexsort((points[:, 1], points[:, 0], ring))
    same = (np.diff(points[rank], axis=0) == 0).all(1) & (np.diff(ring[rank]) == 0)
    touching = np.unique(ring[rank[1:]][same])
    if not len(touching):
        return points, starts, order[starts[:-1]]
    pieces: list[NDArray[Any]] = []
    kept = np.ones(len(starts) - 1, bool)
    kept[touching] = False
    for i in touching:
        where = np.arange(starts[i], starts[i + 1])
        pieces += [where[piece] for piece in _loops(points[where].tolist())]
    whole = np.flatnonzero(kept[ring])
    lengths = np.concatenate([np.diff(starts)[kept], [len(piece) for piece in pieces]])
    taken = np.concatenate([whole, *pieces])
    new_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return points[taken], new_starts, order[taken][new_starts[:-1]]


def _loops(points: list[list[int]]) -> Iterator[list[int]]:
    """Cut a line that passes through some points twice into loops that do not; yield the indices of each."""
    path: list[int] = []
    place: dict[tuple[int, ...], int] = {}
    for i, point in enumerate(map(tuple, points)):
        if point in place:
            loop = path[place[point] :]
            yield loop
            del path[place[point] :]
            for j in loop:
                del place[tuple(points[j])]
        place[point] = len(path)
        path.append(i)
    yield path


def _sort(points: NDArray[np.int32], starts: NDArray[np.int64], owners: NDArray[np.uint32]) -> Rings:
    """Sort rings by cell, those around pieces before those around holes, larger before smaller."""
    if not len(owners):
        return Rings(points, np.zeros(1, np.int64), owners, np.zeros(0, np.int64))
    y, x = points.T.astype(np.int64)
    following = np.arange(1, len(y) + 1)
    following[starts[1:] - 1] = starts[:-1]
    areas = np.add.reduceat(x * y[following] - x[following] * y, starts[:-1]) // 2
    rank = np.lexsort((-areas, owners))
    lengths = np.diff(starts)[rank]
    new_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    taken = np.repeat(starts[:-1][rank] - new_starts[:-1], lengths) + np.arange(len(points))
    return Rings(points[taken], new_starts, owners[rank], areas[rank])


def group_rings(rings: Rings) -> Iterator[tuple[int, list[list[NDArray[np.int32]]]]]:
    """Go through the cells: label, and its pieces, each a ring around it followed by the rings around its holes.

    Yields
    ------
    tuple
        Rings are ``(n, 2)`` points as in `Rings`.
    """
    _, first, counts = np.unique(rings.labels, return_index=True, return_counts=True)
    bounds, labels, areas = rings.starts.tolist(), rings.labels.tolist(), rings.areas.tolist()
    for start, count in zip(first.tolist(), counts.tolist(), strict=True):
        own = [rings.points[bounds[i] : bounds[i + 1]] for i in range(start, start + count)]
        n_pieces = sum(area > 0 for area in areas[start : start + count])
        pieces = [[ring] for ring in own[:n_pieces]]
        for hole in own[n_pieces:]:
            _home(pieces, hole).append(hole)
        yield labels[start], pieces


def _home(pieces: list[list[NDArray[np.int32]]], hole: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Return the smallest piece that a hole lies in; pieces come in falling size."""
    if len(pieces) == 1:
        return pieces[0]
    # the middle of a pixel of the cell at the hole's edge: the hole's lines have the cell on their right hand
    (y, x), (next_y, next_x) = hole[:2].tolist()
    way = (_RIGHT if next_x > x else _LEFT) if y == next_y else (_DOWN if next_y > y else _UP)
    point = y + int(_INNER_Y[way]) + 0.5, x + int(_INNER_X[way]) + 0.5
    return next(piece for piece in reversed(pieces) if _holds(piece[0], point))


def _holds(ring: NDArray[np.int32], point: tuple[float, float]) -> bool:
    """Tell whether a point that is on no line lies inside a ring, by the lines it meets on its way to the left."""
    y, x = ring.T
    next_y = np.roll(y, -1)
    crossed = (np.minimum(y, next_y) < point[0]) & (point[0] < np.maximum(y, next_y)) & (x < point[1])
    return bool(np.count_nonzero(crossed) % 2)
