"""Verified regions: marked and taken back by edits, plane by plane."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.editing.verified import Mark, VerifiedRegions

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


def test_a_mark_of_a_large_plane_takes_few_bytes():
    regions = VerifiedRegions((6000, 5000))
    mark = regions.changed((), np.s_[0:6000, 0:5000], np.ones((6000, 5000), bool), verified=True)
    assert mark.n_bytes < 100_000
    regions.apply([mark])
    assert regions.of(()).all()
    regions.apply([mark.inverse()])
    assert not regions.any(())


def test_a_mark_is_the_pixels_that_it_was_made_of():
    pixels = np.random.default_rng(3).random((40, 50)) < 0.5
    shown = np.zeros((60, 70), bool)
    Mark.of((), (7, 9), pixels, verified=True).write(shown)
    assert np.array_equal(shown[7:47, 9:59], pixels)
    assert shown.sum() == pixels.sum()


@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (4, 0), (0, 5)])
def test_a_mark_beyond_the_picture_is_refused(corner):
    mark = Mark.of((), corner, ALL, verified=True)
    with pytest.raises(IndexError, match="beyond 6 x 7"):
        mark.write(np.zeros((6, 7), bool))
