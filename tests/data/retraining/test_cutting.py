"""Pictures are cut to squares of one size."""

from __future__ import annotations

import numpy as np
import pytest
from tests.data.retraining.corrected_pictures import picture_of

from napari_cellsam.data.retraining.cutting import cut_tiles
from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.data.retraining.training_picture import as_training_picture
from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.types import Image


def drawn(shape, labels=None, verified=None):
    labels = np.zeros(shape, np.uint32) if labels is None else labels
    verified = np.ones(shape, bool) if verified is None else verified
    pixels = np.arange(1, 1 + shape[0] * shape[1], dtype=np.float32).reshape(shape)
    return RetrainingPicture(Image.from_array(pixels), labels, verified, "p", "g")


def test_a_small_picture_is_padded_and_what_is_padded_is_unknown():
    (tile,) = cut_tiles(drawn((30, 20)), 64, 0.25)
    assert tile.image.shape == tile.labels.shape == tile.verified.shape == (64, 64)
    assert tile.verified[:30, :20].all() and tile.verified.sum() == 600
    assert not tile.image.pixels[30:].any() and not tile.image.pixels[:, 20:].any()
    assert (tile.name, tile.group) == ("p (0, 0)", "g")


def test_tiles_of_a_large_picture_overlap_by_a_quarter_and_cover_it():
    picture = drawn((100, 64))
    tiles = list(cut_tiles(picture, 64, 0.25))
    assert [tile.name for tile in tiles] == ["p (0, 0)", "p (36, 0)"]
    seen = {value for tile in tiles for value in tile.image.pixels.ravel().tolist()}
    assert seen == set(picture.image.pixels.ravel().tolist())


def test_a_tile_in_which_nothing_is_verified_is_left_out():
    verified = np.zeros((100, 64), bool)
    verified[90:] = True
    assert [tile.name for tile in cut_tiles(drawn((100, 64), verified=verified), 64, 0.25)] == ["p (36, 0)"]


def test_a_cell_of_which_the_cut_leaves_a_line_is_unknown_there():
    labels = np.zeros((100, 64), np.uint32)
    labels[63:80, 10:20] = 4
    first, second = cut_tiles(drawn((100, 64), labels), 64, 0.25)
    assert not first.labels.any() and not first.verified[63, 10:20].any()
    assert (second.labels == 4).sum() == 170 and second.verified.all()


def test_a_cell_that_the_cut_leaves_in_two_pieces_is_unknown_there():
    labels = np.zeros((100, 64), np.uint32)
    labels[50:80, 10:40], labels[50:70, 20:30] = 4, 0
    first, second = cut_tiles(drawn((100, 64), labels), 64, 0.25)
    assert not first.labels.any() and second.labels.any()


@pytest.mark.parametrize(("side", "overlap"), [(0, 0.25), (64, 1.0), (64, -0.1)])
def test_tiles_that_cannot_be_are_refused(side, overlap):
    with pytest.raises(OptionError, match="got tiles of"):
        list(cut_tiles(drawn((30, 20)), side, overlap))


def test_a_data_set_gives_tiles_of_a_split(dataset):
    for number in range(3):
        dataset.add(picture_of(number))
    assert [tile.name for tile in dataset.tiles("val", 32)][:2] == ["p2.tif (0, 0)", "p2.tif (0, 18)"]
    assert {tile.image.shape for tile in dataset.tiles()} == {(512, 512)}


def test_a_picture_can_be_trained_on_from_scratch_with_its_verified_region(dataset):
    dataset.add(picture_of(1, verified="none"))
    (picture,) = dataset.pictures()
    prepared = as_training_picture(picture)
    assert prepared.channels.shape == (2, 2, 40, 50)
    assert np.unique(prepared.labels).tolist() == [0, 1, 2, 3]
    assert np.array_equal(prepared.verified, picture.verified) and not prepared.verified.all()


@pytest.mark.parametrize("change", [{"labels": np.zeros((3, 3), np.uint32)}, {"verified": np.zeros((30, 20), int)}])
def test_a_picture_whose_arrays_do_not_fit_is_refused(change):
    with pytest.raises(ImageShapeError, match="of the image's shape"):
        drawn((30, 20), **change)
