"""What is found in overlapping tiles becomes the cells of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellsam.data.joining import Candidate, Joining, join
from napari_cellsam.data.tiling import Tile, plan_tiles
from napari_cellsam.errors import OptionError
from napari_cellsam.labels import assemble
from napari_cellsam.types import Mask


def _view(labels: np.ndarray, number: int, tile: Tile) -> Mask:
    """Return what a perfect model finds of a cell in one tile."""
    y0, x0, y1, x1 = tile.region
    return Mask(labels[y0:y1, x0:x1] == number, (y0, x0), 0.9)


def _views(labels: np.ndarray, tiles: list[Tile], scores: np.random.Generator | None = None) -> list[Candidate]:
    """Return what a perfect model finds in every tile."""
    found = []
    for i, tile in enumerate(tiles):
        y0, x0, y1, x1 = tile.region
        for number in np.unique(labels[y0:y1, x0:x1]):
            if number:
                score = 0.5 if scores is None else float(scores.uniform(0.1, 1))
                found.append(Candidate(_view(labels, number, tile), score, i))
    return found


def _cells(shape: tuple[int, int], length: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw discs and rods up to ``length`` pixels long that do not overlap; some touch, or are cut by the image."""
    labels, number = np.zeros(shape, np.int32), 0
    grid_y, grid_x = np.indices(shape)
    for _ in range(n):
        half = rng.uniform(0, (length - 3) / 2) * rng.integers(0, 2)
        radius = min(rng.uniform(1.2, 4.0), (length - 1) / 2 - half)
        angle, cy, cx = rng.uniform(0, np.pi), rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        dy, dx = grid_y - cy, grid_x - cx
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        inside = np.hypot(np.maximum(abs(along) - half, 0), across) <= radius
        if inside.any() and not (labels[inside] > 0).any():
            number += 1
            labels[inside] = number
    return labels


def _joined(candidates: list[Candidate], tiles: list[Tile], shape: tuple[int, int]) -> np.ndarray:
    kept = [candidates[i] for i in join(candidates, tiles)]
    return assemble([c.mask for c in kept], [c.score for c in kept], shape)[0]


def _same_cells(labels: np.ndarray, truth: np.ndarray) -> bool:
    """Return whether two label images hold the same cells under any numbers."""
    pairs = np.unique(np.stack((labels.ravel(), truth.ravel())), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(20, 120), st.integers(20, 120)),
    st.integers(24, 64),
    st.floats(0.3, 0.7),
    st.integers(0, 2**32 - 1),
)
def test_perfect_views_join_to_exactly_the_untiled_cells(
    shape: tuple[int, int], tile: int, overlap: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    overlap_px = max(round(overlap * tile), 9)
    truth = _cells(shape, overlap_px - 4, 60, rng)  # two pixels from each border, so that a tile shows each whole
    tiles = plan_tiles(shape, tile, overlap_px)
    candidates = _views(truth, tiles, rng)
    kept = join(candidates, tiles)
    assert len(kept) == truth.max()
    assert _same_cells(_joined(candidates, tiles, shape), truth)


def test_a_disc_on_a_seam_comes_from_the_tile_that_shows_it_whole() -> None:
    tiles = plan_tiles((40, 60), 40, 20)
    truth = np.zeros((40, 60), int)
    y, x = np.indices(truth.shape)
    truth[(y - 20) ** 2 + (x - 35) ** 2 <= 49] = 1  # columns 28 to 42; tile 0 ends at 40, tile 1 begins at 20
    candidates = [Candidate(_view(truth, 1, tiles[0]), 0.99, 0), Candidate(_view(truth, 1, tiles[1]), 0.3, 1)]
    assert join(candidates, tiles) == [1]
    np.testing.assert_array_equal(_joined(candidates, tiles, truth.shape), truth)


def test_of_two_whole_views_the_better_score_stays() -> None:
    tiles = plan_tiles((40, 100), 70, 40)
    truth = np.zeros((40, 100), int)
    truth[15:20, 48:53] = 1
    candidates = [
        Candidate(_view(truth, 1, tile), score, i)
        for i, (tile, score) in enumerate(zip(tiles, (0.6, 0.7), strict=True))
    ]
    assert join(candidates, tiles) == [1]


def test_a_view_close_to_the_border_loses_against_one_with_surroundings() -> None:
    tiles = plan_tiles((40, 60), 40, 20)
    truth = np.zeros((40, 60), int)
    truth[10:20, 27:37] = 1  # three pixels from the end of tile 0, seven from the beginning of tile 1
    candidates = [
        Candidate(_view(truth, 1, tile), score, i)
        for i, (tile, score) in enumerate(zip(tiles, (0.8, 0.7), strict=True))
    ]
    assert join(candidates, tiles) == [1]


def test_a_cell_that_no_tile_shows_whole_is_not_lost() -> None:
    tiles = plan_tiles((20, 90), 40, 10)
    truth = np.zeros((20, 90), int)
    truth[8:12, 12:75] = 1  # longer than a tile
    candidates = _views(truth, tiles)
    kept = join(candidates, tiles)
    assert len(kept) == 1
    assert candidates[kept[0]].mask.area == max(c.mask.area for c in candidates)


def test_a_speck_in_another_tile_does_not_displace_a_cell_that_no_tile_shows_whole() -> None:
    tiles = plan_tiles((20, 90), 40, 10)
    truth = np.zeros((20, 90), int)
    truth[4:16, 12:75] = 1
    speck = np.zeros((4, 4), bool)
    speck[1:3, 1:3] = True
    candidates = [*_views(truth, tiles), Candidate(Mask(speck, (8, 33), 0.9), 0.99, 1)]
    kept = join(candidates, tiles)
    assert max(candidates[i].mask.area for i in kept) == max(c.mask.area for c in candidates)


def test_views_that_differ_by_a_pixel_are_one_cell_and_neighbours_that_touch_are_two() -> None:
    from scipy import ndimage

    tiles = plan_tiles((60, 90), 60, 30)
    truth = np.zeros((60, 90), int)
    truth[10:22, 38:50] = 1
    truth[22:34, 38:50] = 2
    truth[10:34, 50:58] = 3
    candidates = []
    for i, tile in enumerate(tiles):
        for c in _views(truth, [tile]):
            changed = ndimage.binary_dilation(c.mask.crop) if i else ndimage.binary_erosion(c.mask.crop)
            candidates.append(Candidate(Mask(changed, c.mask.corner, 0.9), 0.5, i))
    assert len(candidates) == 6
    assert len(join(candidates, tiles)) == 3


def test_candidates_of_one_tile_never_displace_each_other() -> None:
    tiles = plan_tiles((20, 20), 32, 0)
    mask = Mask(np.ones((5, 5), bool), (3, 3), 0.9)
    assert join([Candidate(mask, 0.9, 0), Candidate(mask, 0.1, 0)], tiles) == [0, 1]


def test_empty_masks_are_left_out_and_nothing_gives_nothing() -> None:
    tiles = plan_tiles((20, 20), 32, 0)
    assert join([], tiles) == []
    assert join([Candidate(Mask(np.zeros((0, 0), bool), (0, 0), 0.0), 0.9, 0)], tiles) == []


def test_the_order_of_candidates_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    truth = _cells((100, 100), 16, 80, rng)
    tiles = plan_tiles((100, 100), 48, 20)
    candidates = _views(truth, tiles, rng)
    chosen = {id(candidates[i]) for i in join(candidates, tiles)}
    shuffled = [candidates[i] for i in rng.permutation(len(candidates))]
    assert {id(shuffled[i]) for i in join(shuffled, tiles)} == chosen


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_views_that_come_tile_by_tile_are_joined_as_if_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tiles = plan_tiles((90, 90), 40, 14)
    truth = _cells((90, 90), 24, 60, rng)  # some longer than the overlap, so that no tile shows them whole
    order = rng.permutation(len(tiles)).tolist()
    joining, candidates, chosen = Joining(tiles), [], []
    for n, i in enumerate(order, start=1):
        found = [Candidate(c.mask, c.score, i) for c in _views(truth, [tiles[i]], rng)]
        candidates += found
        joining.add(found)
        chosen += [view.index for view in joining.settle([tiles[k].region for k in order[n:]])]
    assert sorted(chosen) == join(candidates, tiles)
    assert joining.open_boxes == []


def test_a_view_is_open_as_long_as_a_region_in_which_it_lies_is_to_be_looked_at() -> None:
    tiles = plan_tiles((40, 60), 40, 20)
    joining = Joining(tiles)
    clear, exposed = (Mask(np.ones((5, 5), bool), (10, x), 0.9) for x in (12, 17))
    joining.add([Candidate(clear, 0.9, 0), Candidate(exposed, 0.9, 0)])
    assert [view.index for view in joining.settle([tiles[1].region])] == [0]
    assert joining.open_boxes == [(10, 17, 15, 22)]
    assert [view.index for view in joining.settle([])] == [1]


def test_tiles_within_tiles_join_too() -> None:
    """A crowded tile may be looked at again in parts, which take its place."""
    shape = (60, 90)
    truth = _cells(shape, 12, 40, np.random.default_rng(2))
    left, right = plan_tiles(shape, 60, 30)
    parts = [Tile((y, x, y + 38, x + 38), shape) for y in (0, 22) for x in (0, 22)]
    tiles = [*parts, right]
    assert left.region == (0, 0, 60, 60)
    assert _same_cells(_joined(_views(truth, tiles), tiles, shape), truth)


def test_a_tile_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OptionError, match="names tile 3; there are tiles 0 to 0"):
        join([Candidate(Mask(np.ones((2, 2), bool), (0, 0), 0.9), 0.5, 3)], plan_tiles((9, 9), 9, 0))


@pytest.mark.slow
def test_twenty_thousand_candidates_are_joined() -> None:
    shape = (4096, 4096)
    tiles = plan_tiles(shape, 512, 128)
    y, x = np.mgrid[:25, :25] - 12
    disc = y**2 + x**2 <= 144
    corners = [(28 * r + 6, 28 * c + 6) for r in range(145) for c in range(145)]
    candidates = []
    for i, tile in enumerate(tiles):
        y0, x0, y1, x1 = tile.region
        for cy, cx in (c for c in corners if y0 - 25 < c[0] < y1 and x0 - 25 < c[1] < x1):
            top, left = max(cy, y0), max(cx, x0)
            crop = disc[top - cy : max(y1 - cy, 0), left - cx : max(x1 - cx, 0)]
            if crop.any():
                candidates.append(Candidate(Mask(crop, (top, left), 0.9), 0.5, i))
    assert len(candidates) > 20_000
    kept = join(candidates, tiles)
    assert len(kept) == len(corners)
    assert {candidates[i].mask.corner for i in kept} == set(corners)


@pytest.mark.parametrize(
    ("top", "counts", "stays"),
    [(36, True, True), (30, True, False), (30, False, True)],  # the place is too near the other tile's border, is not
)
def test_a_fragment_goes_that_another_tile_saw_with_all_around_it_and_did_not_find(
    top: int, counts: bool, stays: bool
) -> None:
    tiles = [Tile((0, 0, 50, 60), (100, 60)), Tile((top, 0, 100, 60), (100, 60), counts)]
    fragment = Candidate(Mask(np.ones((10, 10), bool), (40, 20), 0.9), 0.9, 0)
    assert join([fragment], tiles) == ([0] if stays else [])
