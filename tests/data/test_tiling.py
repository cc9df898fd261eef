"""Tiles cover an image."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellsam.data.tiling import plan_spans, plan_tiles
from napari_cellsam.errors import ImageShapeError, OptionError


def test_an_image_that_fits_is_one_tile() -> None:
    assert [tile.region for tile in plan_tiles((50, 64), 64, 16)] == [(0, 0, 50, 64)]
    assert plan_tiles((50, 64), 64, 16)[0].inner == (False, False, False, False)


def test_tiles_are_spread_evenly_and_the_last_ends_at_the_border() -> None:
    assert [tile.region for tile in plan_tiles((64, 150), 64, 16)] == [
        (0, 0, 64, 64),
        (0, 43, 64, 107),
        (0, 86, 64, 150),
    ]
    assert [tile.inner for tile in plan_tiles((64, 150), 64, 16)][1] == (False, True, False, True)


def test_a_pixel_more_than_a_tile_takes_two_tiles() -> None:
    assert [tile.region for tile in plan_tiles((65, 10), 64, 16)] == [(0, 0, 64, 10), (1, 0, 65, 10)]


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.integers(10, 128).flatmap(lambda tile: st.tuples(st.just(tile), st.integers(0, tile - 5))),
)
def test_tiles_of_one_size_cover_every_pixel_with_the_overlap(shape: tuple[int, int], plan: tuple[int, int]) -> None:
    tile, overlap = plan
    for axis in (0, 1):
        spans = sorted({(t.region[axis], t.region[axis + 2]) for t in plan_tiles(shape, tile, overlap)})
        assert spans[0][0] == 0
        assert spans[-1][1] == shape[axis]
        assert {end - start for start, end in spans} == {min(tile, shape[axis])}
        gaps = {end - start for (_, end), (start, _) in pairwise(spans)}
        assert all(gap >= overlap for gap in gaps)
        steps = [b[0] - a[0] for a, b in pairwise(spans)]
        assert not steps or max(steps) - min(steps) <= 1


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.integers(10, 128).flatmap(lambda tile: st.tuples(st.just(tile), st.integers(0, tile - 5))),
)
def test_tight_tiles_are_as_many_and_overlap_as_they_must(shape: tuple[int, int], plan: tuple[int, int]) -> None:
    tile, overlap = plan
    plain, tight = (plan_tiles(shape, tile, overlap, tight=tight) for tight in (False, True))
    assert len(tight) == len(plain)
    for axis in (0, 1):
        spans = sorted({(t.region[axis], t.region[axis + 2]) for t in tight})
        assert spans[0][0] == 0 and spans[-1][1] == shape[axis]
        assert max(end - start for start, end in spans) <= tile
        overlaps = [end - start for (_, end), (start, _) in pairwise(spans)]
        assert all(overlap <= n <= overlap + 2 for n in overlaps)


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (64, 64), (64, -1)])
def test_impossible_tiles_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(OptionError, match=f"tiles of {tile} with an overlap of {overlap}"):
        plan_tiles((100, 100), tile, overlap)


def test_an_image_without_pixels_has_no_tiles() -> None:
    with pytest.raises(ImageShapeError, match="no pixels"):
        plan_tiles((0, 5), 64, 0)


@settings(deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.integers(1, 9), st.integers(2, 20), st.booleans())
def test_tiles_begin_on_whole_units_and_end_with_the_image(
    shape: tuple[int, int], unit: int, tile: int, tight: bool
) -> None:
    tiles = plan_tiles(shape, tile, tile // 4, tight=tight, unit=unit)
    for axis in (0, 1):
        spans = sorted({(t.region[axis], t.region[axis + 2]) for t in tiles})
        assert spans == list(plan_spans(shape, tile, tile // 4, tight=tight, unit=unit)[axis])
        assert spans[0][0] == 0 and spans[-1][1] == shape[axis]
        assert all(start % unit == 0 for start, _ in spans)
        assert len({end - start for start, end in spans[:-1]}) <= 1
        assert all(before[1] >= after[0] for before, after in pairwise(spans))


def test_spans_are_a_sequence() -> None:
    rows, columns = plan_spans((64, 150), 64, 16)
    assert (len(rows), len(columns)) == (1, 3)
    assert (columns[0], columns[-1], columns[1:]) == ((0, 64), (86, 150), [(43, 107), (86, 150)])
    with pytest.raises(IndexError):
        columns[3]
