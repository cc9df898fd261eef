"""Corrected cells tell how tight people draw outlines, if there are enough of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from tests.test_engine import DiscBackend
from tests.training.teaching import disc_picture

from napari_cellsam.engine import Model
from napari_cellsam.models.backend import Decoded
from napari_cellsam.models.steps import run_steps
from napari_cellsam.training.tightness import best_shift, tightness_steps

MIDDLE = 8  # of 17 shifts


def rows(best, n_cells, *, height=0.9):
    """Return IoUs that fall on both sides of a shift."""
    return np.tile(height - 0.0025 * (np.arange(17) - best) ** 2, (n_cells, 1))


def test_the_best_shift_is_that_of_the_highest_mean():
    assert best_shift(rows(MIDDLE + 3, 20)) == 0.75
    assert best_shift(rows(MIDDLE - 8, 20)) == -2
    assert best_shift(rows(MIDDLE, 20)) == 0


def test_few_cells_tell_nothing():
    assert best_shift(rows(MIDDLE + 3, 4)) == 0
    assert best_shift(np.zeros((0, 17))) == 0


def test_no_outline_is_changed_more_than_is_sure():
    some, others = rows(MIDDLE + 6, 8), rows(MIDDLE - 5, 7)
    assert best_shift(np.concatenate((some, others[:1]))) == 0.75, "the best one is 1.25"
    assert best_shift(np.concatenate((some, others))) == 0, "the best one is 0.25"


def test_cells_that_were_not_found_do_not_count():
    lost = rows(MIDDLE - 4, 50, height=0.4)
    assert best_shift(np.concatenate((rows(MIDDLE + 2, 20), lost))) == 0.5


class SlopingBackend(DiscBackend):
    """Outlines discs with logits that are the distance to their border, in pixels."""

    def decode(self, features, prompts, *, whole=False, threshold=0.5):
        answers = []
        for prompt in prompts:
            x, y = np.rint(prompt.inside[0]).astype(int)
            disc = features == features[y, x]
            inner, outer = ndimage.distance_transform_edt(disc), ndimage.distance_transform_edt(~disc)
            logits = np.where(disc, inner - 0.5, 0.5 - outer).astype(np.float32)
            height, width = disc.shape
            answers.append(Decoded(logits, np.array([0, 0, width, height], np.float32), 0.9))
        return answers


@pytest.mark.parametrize(("pixels", "expected"), [(1, 1.0), (0, 0.0), (-1, -1.0)])
def test_discs_that_are_drawn_a_pixel_tighter_or_wider_are_outlined_so(pixels, expected):
    picture = disc_picture(3)
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 1)
    change = {1: ndimage.grey_erosion, 0: lambda labels, **_: labels, -1: ndimage.grey_dilation}[pixels]
    drawn = replace(picture, labels=change(picture.labels, footprint=disc))
    shift = run_steps(tightness_steps(Model(SlopingBackend(side=128), "discs"), [drawn]))
    assert shift == pytest.approx(expected, abs=0.5) and np.sign(shift) == np.sign(expected)


def test_only_verified_cells_count():
    picture = disc_picture(3)
    tight, wide = ndimage.grey_erosion(picture.labels, size=3), ndimage.grey_dilation(picture.labels, size=9)
    labels = np.concatenate((tight[:85], wide[85:]))  # two rows of discs, and one
    model = Model(SlopingBackend(side=128), "discs")
    for n_rows, expected in ((85, 1), (0, 0)):
        verified = np.zeros_like(picture.verified)
        verified[:n_rows] = True
        drawn = replace(picture, labels=labels, verified=verified)
        assert np.sign(run_steps(tightness_steps(model, [drawn]))) == expected
