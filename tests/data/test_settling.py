"""Cells are handed over as soon as they are final, and are those of the whole image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellsam.data.joining import Candidate, join
from napari_cellsam.data.settling import Settling
from napari_cellsam.data.tiling import Tile, plan_tiles
from napari_cellsam.labels import assemble
from napari_cellsam.types import Cell, Mask

Ints = np.ndarray


def _random_mask(rng: np.random.Generator, region: tuple[int, int, int, int], longest: int) -> Mask:
    """Draw a disc, a ring or a scatter of pixels, that claims its pixels evenly, unevenly or with its score."""
    y0, x0, y1, x1 = region
    height, width = (int(min(n, rng.integers(1, longest + 1))) for n in (y1 - y0, x1 - x0))
    y, x = np.indices((height, width))
    kind = rng.integers(0, 4)
    if kind == 0:
        crop = rng.random((height, width)) < rng.uniform(0.3, 1)
    elif kind == 1:
        crop = np.ones((height, width), bool)
        crop[1:-1, 1:-1] = False
    else:
        crop = (2 * y + 1 - height) ** 2 / height**2 + (2 * x + 1 - width) ** 2 / width**2 <= 1
    probability = None
    if rng.random() < 0.7:
        probability = rng.integers(*((100, 256) if rng.random() < 0.5 else (127, 131)), crop.shape).astype(np.uint8)
    corner = int(rng.integers(y0, y1 - height + 1)), int(rng.integers(x0, x1 - width + 1))
    return Mask(crop, corner, 0.9, probability)


def _cut(mask: Mask, tile: Tile) -> Mask:
    """Return the part of a mask that a tile shows."""
    (y, x), (height, width) = mask.corner, mask.crop.shape
    y0, x0, y1, x1 = tile.region
    inner = np.s_[max(y0 - y, 0) : max(min(y1 - y, height), 0), max(x0 - x, 0) : max(min(x1 - x, width), 0)]
    probability = None if mask.probability is None else mask.probability[inner]
    return Mask(mask.crop[inner], (max(y, y0), max(x, x0)), mask.score, probability)


def _found(rng: np.random.Generator, tiles: list[Tile], longest: int) -> list[list[Candidate]]:
    """Return candidates of each tile: cells that all tiles see, and some that only one believes to see."""
    shape = tiles[0].shape
    cells = [_random_mask(rng, (0, 0, *shape), longest) for _ in range(rng.integers(0, 8 * len(tiles)))]
    answers = []
    for i, tile in enumerate(tiles):
        masks = [mask for mask in (_cut(cell, tile) for cell in cells) if mask.area]
        masks += [_random_mask(rng, tile.region, longest) for _ in range(rng.integers(0, 8))]
        answers.append([Candidate(mask, float(rng.integers(1, 10)) / 10, i) for mask in masks])
    return answers


def _labels_of(cells: list[Cell], shape: tuple[int, int]) -> Ints:
    labels = np.zeros(shape, int)
    for number, cell in enumerate(cells, start=1):
        (y, x), (height, width) = cell.mask.corner, cell.mask.crop.shape
        window = labels[y : y + height, x : x + width]
        assert not window[cell.mask.crop].any(), "two cells share a pixel"
        window[cell.mask.crop] = number
    return labels


def _same_cells(one: Ints, other: Ints) -> bool:
    pairs = np.unique(np.stack((one.ravel(), other.ravel())), axis=1)
    return len(np.unique(one)) == len(np.unique(other)) == pairs.shape[1]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(20, 100), st.integers(20, 100)),
    st.integers(16, 48),
    st.floats(0, 0.5),
    st.integers(3, 22),
    st.integers(0, 2**32 - 1),
)
def test_cells_handed_over_tile_by_tile_are_exactly_those_of_the_whole(
    shape: tuple[int, int], side: int, overlap: float, longest: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tiles = plan_tiles(shape, side, int(overlap * side))
    order = rng.permutation(len(tiles)).tolist() if seed % 2 else list(range(len(tiles)))
    found, min_area = _found(rng, tiles, longest), int(rng.integers(0, 8))
    settling, cells = Settling(tiles, min_area), []
    for n, i in enumerate(order, start=1):
        settling.add(found[i])
        cells += settling.settle([tiles[k].region for k in order[n:]])
    candidates = [candidate for i in order for candidate in found[i]]
    chosen = [candidates[i] for i in join(candidates, tiles)]
    whole, rows = assemble([c.mask for c in chosen], [c.score for c in chosen], shape, min_area=min_area)
    assert _same_cells(_labels_of(cells, shape), whole)
    assert sorted(cell.score for cell in cells) == sorted(chosen[row].score for row in rows)


def _square(corner: tuple[int, int], side: int = 6, score: float = 0.9, tile: int = 0) -> Candidate:
    return Candidate(Mask(np.ones((side, side), bool), corner, 0.8), score, tile)


LEFT, RIGHT = plan_tiles((30, 70), 40, 10)


def test_a_cell_away_from_what_is_to_be_looked_at_is_final_at_once() -> None:
    settling = Settling([LEFT, RIGHT])
    settling.add([_square((3, 3))])
    [cell] = settling.settle([RIGHT.region])
    assert (cell.mask.corner, cell.mask.area, cell.mask.score, cell.score) == ((3, 3), 36, 0.8, 0.9)
    assert settling.settle([]) == []


def test_a_cell_that_the_next_tile_shows_too_waits_for_it() -> None:
    settling = Settling([LEFT, RIGHT])
    settling.add([_square((3, 28))])
    assert settling.settle([RIGHT.region]) == []
    settling.add([_square((3, 28), score=0.5, tile=1)])
    assert len(settling.settle([])) == 1


def test_a_chain_of_cells_that_touch_waits_only_where_it_meets_the_next_tile() -> None:
    settling = Settling([LEFT, RIGHT])
    settling.add([_square((3, x)) for x in range(0, 30, 5)])  # neighbours share a column; the last reaches the tile
    early = settling.settle([RIGHT.region])
    assert [cell.mask.corner[1] for cell in early] == [0, 6]
    late = settling.settle([])
    assert [cell.mask.corner[1] for cell in late] == [11, 16, 21, 26]


def _bar(rows: tuple[int, int], columns: tuple[int, int], score: float, tile: int = 0) -> Candidate:
    """Return a cell from the first to the last row and column."""
    crop = np.ones((rows[1] - rows[0] + 1, columns[1] - columns[0] + 1), bool)
    return Candidate(Mask(crop, (rows[0], columns[0]), 0.9), score, tile)


@pytest.mark.parametrize("pushed", [False, True])
def test_a_row_of_dominoes_waits_for_the_last_one(pushed: bool) -> None:
    """Each falls if its right neighbour stands, so the first hangs on what the next tile shows of the last."""
    settling = Settling([LEFT, RIGHT])
    settling.add([_bar((3, 3), (x, x + 7), 0.3 + x / 100) for x in range(0, 31, 3)])
    assert settling.settle([RIGHT.region]) == []
    if pushed:  # each of these takes three pixels of the last
        settling.add([_bar((3, 8), (32, 34), 0.9, tile=1), _bar((3, 8), (35, 37), 0.9, tile=1)])
    standing = [cell.mask.corner[1] for cell in settling.settle([])]
    assert standing == ([3, 9, 15, 21, 27, 32, 35] if pushed else [0, 6, 12, 18, 24, 30])


def test_a_hole_waits_for_what_becomes_of_the_cell_that_reaches_into_it() -> None:
    ring = np.ones((7, 7), bool)
    ring[1:-1, 1:-1] = False
    around = Candidate(Mask(ring, (2, 14), 0.9), 0.9, 0)
    thread = _bar((5, 5), (15, 26), 0.5)  # five pixels in the hole, one on the ring, six beyond
    on_its_end = _bar((5, 7), (24, 28), 0.6)  # leaves three of the six, if it stays
    on_that = _bar((6, 7), (24, 31), 0.7)  # takes ten of its fifteen, and reaches into the next tile
    settling = Settling([LEFT, RIGHT])
    settling.add([around, thread, on_its_end, on_that])
    assert settling.settle([RIGHT.region]) == []
    assert [cell.mask.area for cell in settling.settle([])] == [49, 6, 16]


def test_a_duplicate_in_the_same_tile_is_not_handed_over() -> None:
    settling = Settling([LEFT, RIGHT])
    settling.add([_square((3, 3), score=0.7), _square((4, 4), score=0.8)])
    [cell] = settling.settle([RIGHT.region])
    assert cell.score == 0.8
    assert cell.mask.area == 36


def test_a_small_cell_is_not_handed_over_and_one_beside_it_is() -> None:
    settling = Settling([LEFT], min_area=20)
    settling.add([_square((3, 3)), _square((3, 9), side=3)])
    assert [cell.mask.area for cell in settling.settle([])] == [36]


@pytest.mark.slow
def test_a_large_tissue_is_handed_over_row_by_row_in_bounded_memory() -> None:
    tiles = plan_tiles((1200, 1200), 300, 60)
    settling, n_cells = Settling(tiles), []
    for i, tile in enumerate(tiles):
        y0, x0, y1, x1 = tile.region
        corners = ((y, x) for y in range(0, 1190, 9) for x in range(0, 1190, 9))
        seen = (c for c in corners if y0 <= c[0] and c[0] + 10 <= y1 and x0 <= c[1] and c[1] + 10 <= x1)
        settling.add([_square(corner, 10, tile=i) for corner in seen])
        n_cells.append(len(settling.settle([t.region for t in tiles[i + 1 :]])))
        assert len(settling._claims) < 133**2 / 3
    assert sum(n_cells) == 133**2
    assert n_cells.count(0) == 0
