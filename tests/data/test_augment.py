"""Crops keep picture and labels together, and changes of light leave blank channels blank."""

import numpy as np
import pytest
import torch

from napari_cellsam.data.augment import crop_at_random, damage, mix_channels


@pytest.mark.parametrize("zoom", [0.17, 0.28, 0.5, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(120, 160), (121, 163)])
def test_labels_stay_on_the_pixels_that_they_belong_to(zoom, shape):
    # Brightness tells row and column, and so does the label: the crop must agree with itself.
    rows, columns = np.indices(shape)
    channels = np.stack([rows, columns]).astype(np.uint8)
    labels = (rows * 1000 + columns).astype(np.int32)
    for seed in range(4):
        picture, cut = crop_at_random(channels, labels, 32, zoom, np.random.default_rng(seed))
        row, column = cut // 1000, cut % 1000
        inner = (row > 8) & (row < shape[0] - 8) & (column > 8) & (column < shape[1] - 8)
        error = (picture * 255 - torch.stack((row, column)))[:, inner]
        assert inner.any()
        assert error.abs().max() < 0.55  # labels come from the nearest pixel


def test_outside_the_picture_there_are_no_cells_and_no_light():
    picture, labels = crop_at_random(
        np.full((2, 20, 20), 255, np.uint8), np.ones((20, 20), np.int32), 64, 1.0, np.random.default_rng(0)
    )
    assert picture.shape == (2, 64, 64) and labels.shape == (64, 64) and labels.dtype == torch.int32
    assert 0.05 < (labels > 0).float().mean() < 0.15
    assert picture[:, labels == 0].mean() < 0.05 and picture[:, labels > 0].mean() > 0.95


def test_a_crop_of_a_sparse_picture_often_shows_its_cell():
    labels = np.zeros((400, 400), np.int32)
    labels[180:220, 180:220] = 7
    shown = [
        bool((crop_at_random(labels[None].astype(np.uint8), labels, 32, 1.0, np.random.default_rng(s))[1] == 7).any())
        for s in range(60)
    ]
    assert np.mean(shown) > 0.15  # chance alone would show it in 3 % of crops


@pytest.mark.parametrize("given", ["nuclear", "cell", "both"])
def test_a_picture_never_loses_all_its_channels(given):
    picture = torch.zeros(2, 8, 8)
    picture[{"nuclear": [0], "cell": [1], "both": [0, 1]}[given]] = 0.5
    mixed = [mix_channels(picture, np.random.default_rng(seed)) for seed in range(100)]
    assert all(m.shape == (3, 8, 8) and not m[0].any() and m[1:].any() for m in mixed)
    places = {tuple(bool(c.any()) for c in m[1:]) for m in mixed}
    assert len(places) > 1
    usual = {"nuclear": (False, True), "cell": (False, True), "both": (True, True)}[given]
    assert sum(tuple(bool(c.any()) for c in m[1:]) == usual for m in mixed) > 50


def test_damage_keeps_range_shape_and_blank_channels():
    picture = torch.rand(3, 40, 50)
    picture[0] = 0
    for seed in range(60):
        changed = damage(picture, np.random.default_rng(seed))
        assert changed.shape == picture.shape and not changed[0].any()
        assert changed.min() >= 0 and changed.max() <= 1 and bool(changed.isfinite().all())


def test_damage_leaves_a_blank_picture_alone():
    assert not damage(torch.zeros(3, 8, 8), np.random.default_rng(0)).any()
