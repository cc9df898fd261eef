"""Verified regions: marked and taken back by edits, plane by plane."""

from __future__ import annotations

import numpy as np

from napari_cellsam.editing.verified import VerifiedRegions

REGION = np.s_[2:5, 1:4]
ALL = np.ones((3, 3), bool)


def test_nothing_is_verified_at_first():
    regions = VerifiedRegions((6, 7))
    assert not regions.of(()).any()
    assert regions.of(()).shape == (6, 7)
    assert not regions.any(())


def test_a_mark_counts_in_its_plane_and_is_taken_back_by_its_inverse():
    regions = VerifiedRegions((6, 7))
    mark = regions.changed((1,), REGION, ALL, verified=True)
    assert not regions.any((1,))
    regions.apply([mark])
    assert np.count_nonzero(regions.of((1,))) == 9
    assert regions.of((1,))[REGION].all()
    assert not regions.any((0,))
    regions.apply([mark.inverse()])
    assert not regions.any((1,))


def test_what_is_verified_already_needs_no_mark():
    regions = VerifiedRegions((6, 7))
    regions.apply([regions.changed((), REGION, ALL, verified=True)])
    assert regions.changed((), REGION, ALL, verified=True) is None
    assert regions.changed((), np.s_[0:2, 0:7], np.ones((2, 7), bool), verified=False) is None


def test_only_the_pixels_inside_are_marked():
    regions = VerifiedRegions((6, 7))
    regions.apply([regions.changed((), REGION, np.eye(3, dtype=bool), verified=True)])
    assert np.count_nonzero(regions.of(())) == 3
