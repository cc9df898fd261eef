"""The paper's filter finds cells in pieces and thin ones, and makes them unknown."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_cellsam.data.retraining.filters import Flaws, find_flaws, without_flawed_cells


def scene():
    labels = np.zeros((12, 20), np.uint32)
    labels[1:4, 1:4] = 9  # well
    labels[6, 1:6] = 3  # one pixel high
    labels[1:8, 8] = 4_000_000_000  # one pixel wide
    labels[1:3, 11:13] = labels[6:8, 11:13] = 5  # two pieces
    labels[9:11, 14:16] = labels[7:9, 16:18] = 6  # two squares that meet at a corner
    return labels


def test_cells_in_pieces_and_thin_cells_are_found():
    assert find_flaws(scene()) == Flaws((5,), (3, 4_000_000_000))


def test_an_empty_picture_has_no_flaws():
    assert find_flaws(np.zeros((5, 5), np.uint32)) == Flaws((), ())


def test_flawed_cells_become_unknown_and_the_others_stay():
    labels, verified = without_flawed_cells(scene(), np.ones((12, 20), bool))
    assert np.unique(labels).tolist() == [0, 6, 9]
    assert not verified[6, 1:6].any() and not verified[1:8, 8].any() and not verified[6:8, 11:13].any()
    assert verified.sum() == verified.size - 5 - 7 - 8


def test_a_picture_of_well_formed_cells_is_not_copied():
    labels, verified = np.kron(np.eye(3, dtype=np.uint32), np.ones((3, 3), np.uint32)), np.ones((9, 9), bool)
    assert all(a is b for a, b in zip(without_flawed_cells(labels, verified), (labels, verified), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_flaws_are_what_a_look_at_each_cell_finds(seed, n_cells):
    labels = np.random.default_rng(seed).integers(0, n_cells + 1, (7, 8)).astype(np.uint32) * 7
    pieces, thin = [], []
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        if ndimage.label(mask, np.ones((3, 3)))[1] > 1:
            pieces.append(int(label))
        if min(np.ptp(where) for where in np.nonzero(mask)) == 0:
            thin.append(int(label))
    assert find_flaws(labels) == Flaws(tuple(pieces), tuple(thin))
