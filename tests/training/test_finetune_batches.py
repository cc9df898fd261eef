"""The batches of a fine-tuning follow from their number, and show what is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.teaching import disc_picture

from napari_cellsam.data.augment import AugmentOptions
from napari_cellsam.training.crops import CropOptions
from napari_cellsam.training.finetune_batches import FinetuneBatches, lesson, synthetic_pictures
from napari_cellsam.training.lessons import known_labels

CROPS = CropOptions(side=64, synthetic_share=0.5, augment=AugmentOptions(diameter=20.0))


def in_part(picture, rows):
    """Return the picture, verified in some rows only."""
    verified = np.zeros_like(picture.verified)
    verified[rows] = True
    return replace(picture, verified=verified)


def test_a_batch_follows_from_its_number_alone():
    one, other = (FinetuneBatches([lesson(disc_picture(1))], [], CROPS, 3) for _ in range(2))
    for step in (4, 0, 4):  # in whatever order
        for drawn, again in zip(one.draw(step), other.draw(step), strict=True):
            assert torch.equal(drawn, again)
    assert not torch.equal(one.draw(0).pictures, one.draw(1).pictures)
    reseeded = FinetuneBatches([lesson(disc_picture(1))], [], replace(CROPS, seed=1), 3)
    assert not torch.equal(one.draw(0).pictures, reseeded.draw(0).pictures)


def test_crops_are_bytes_with_labels():
    pictures, labels = FinetuneBatches([lesson(disc_picture(1))], [], CROPS, 3).draw(0)
    assert pictures.shape == (3, 3, 64, 64) and pictures.dtype == torch.uint8
    assert labels.shape == (3, 64, 64) and labels.dtype == torch.int32 and labels.max() > 0


def test_a_lesson_says_what_is_not_known():
    picture = in_part(disc_picture(1), slice(0, 64))
    assert np.array_equal(lesson(picture).labels, known_labels(picture))
    assert (lesson(picture).labels[64:] == -1).all()


def test_a_share_of_the_crops_is_of_other_pictures():
    """Those to learn from are wholly known here, the others nowhere but in their cells' rows."""
    other = lesson(in_part(disc_picture(2), slice(0, 100)))
    batches = FinetuneBatches([lesson(disc_picture(1))], [other], CROPS, 200)
    labels = batches.draw(0).labels
    n_other = int((labels < 0).flatten(1).any(1).sum())
    assert 40 < n_other < 110
    none = FinetuneBatches([lesson(disc_picture(1))], [], CROPS, 50).draw(0).labels
    assert not (none < 0).any()


def test_crops_are_drawn_where_something_is_known():
    picture = lesson(in_part(disc_picture(1, side=256, n_cells=64), slice(0, 40)))
    labels = FinetuneBatches([picture], [], replace(CROPS, synthetic_share=0.0), 100).draw(0).labels
    useful = (labels >= 0).float().mean((1, 2)) >= 0.02
    assert useful.float().mean() > 0.9


@pytest.mark.parametrize("place", [np.s_[500:512, 300:314], np.s_[:12, :12]])
def test_every_crop_shows_the_little_that_is_known_of_a_large_picture(place):
    picture = lesson(disc_picture(1, side=1024, n_cells=32**2))
    known = np.full_like(picture.labels, -1)
    known[place] = 1  # a cell: what lies beyond the picture is 0, and does not count
    batches = FinetuneBatches([replace(picture, labels=known)], [], replace(CROPS, synthetic_share=0.0), 100)
    assert (batches.draw(0).labels > 0).flatten(1).any(1).all()


def test_pictures_without_a_cell_are_learned_from_at_the_scale_of_the_others():
    blank = lesson(replace(disc_picture(1), labels=np.zeros((128, 128), np.uint32)))
    cells = lesson(disc_picture(2))
    batches = FinetuneBatches([blank, cells], [blank], replace(CROPS, synthetic_share=0.0), 60)
    assert [picture.diameter for picture in batches.pictures] == [cells.diameter] * 2
    n_blank = int((~(batches.draw(0).labels > 0).flatten(1).any(1)).sum())
    assert 15 < n_blank < 45
    assert batches.others == []  # nothing says at which scale


def test_synthetic_pictures_are_of_every_kind_and_the_same_again():
    one, other = synthetic_pictures(3, n_each=1), synthetic_pictures(3, n_each=1)
    assert len({picture.group for picture in one}) == len(one) > 3
    assert all(np.array_equal(a.channels, b.channels) for a, b in zip(one, other, strict=True))
