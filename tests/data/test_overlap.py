"""Regions that overlap are found, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellsam.data import overlap
from napari_cellsam.data.overlap import common, overlapping, touching

REGION = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 12)] * 2).map(
    lambda r: (r[0], r[1], r[0] + r[2], r[1] + r[3])
)


def _share_a_pixel(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    picture = np.zeros((2, 50, 50), bool)
    for layer, (y0, x0, y1, x1) in zip(picture, (a, b), strict=True):
        layer[y0:y1, x0:x1] = True
    return bool(picture.all(0).any())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(REGION, st.integers(0, 3)), max_size=12), st.integers(0, 12), st.sampled_from([1, 2**21]))
def test_each_pair_of_different_groups_with_a_new_region_comes_once(
    members: list[tuple[tuple[int, int, int, int], int]], n_known: int, at_once: int
) -> None:
    regions, groups = [r for r, _ in members], [g for _, g in members]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_PAIRS_AT_ONCE", at_once)
        pairs = [tuple(sorted(pair)) for pair in overlapping(regions, groups, n_known)]
    assert sorted(pairs) == [
        (i, j)
        for i in range(len(members))
        for j in range(i + 1, len(members))
        if groups[i] != groups[j] and j >= n_known and _share_a_pixel(regions[i], regions[j])
    ]


@settings(deadline=None, max_examples=50)
@given(st.lists(REGION, max_size=6), st.lists(REGION, max_size=6), st.sampled_from([5, 2**21]))
def test_a_region_touches_others_if_it_shares_a_pixel_with_one(
    regions: list[tuple[int, int, int, int]], others: list[tuple[int, int, int, int]], at_once: int
) -> None:
    expected = [any(_share_a_pixel(region, other) for other in others) for region in regions]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_PAIRS_AT_ONCE", at_once)
        assert touching(regions, others).tolist() == expected


def test_regions_without_groups_are_all_compared() -> None:
    assert sorted(map(sorted, overlapping([(0, 0, 5, 5), (4, 4, 6, 6), (5, 0, 6, 5)]))) == [[0, 1], [1, 2]]


def test_what_two_regions_share_is_a_region() -> None:
    assert common((0, 0, 5, 5), (3, 2, 9, 4)) == (3, 2, 5, 4)
