"""Lessons say what is known of a picture, and hold out what judges; nothing is both."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from tests.training.teaching import disc_picture

from napari_cellsam.data.retraining.pictures import Corrected, RetrainingPicture
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.errors import DatasetError, ImageShapeError
from napari_cellsam.training.finetune_batches import lesson
from napari_cellsam.training.lessons import (
    Lessons,
    known_labels,
    n_known_cells,
    picture_hash,
    read_lessons,
    with_judges,
)
from napari_cellsam.types import Image


def picture_of(labels, verified=None):
    labels = np.asarray(labels, np.uint32)
    verified = np.ones(labels.shape, bool) if verified is None else np.asarray(verified, bool)
    return RetrainingPicture(Image.from_array(np.zeros(labels.shape, np.uint8)), labels, verified, "it", "it")


def rows_of_squares(down, across, side=8):
    """Return a picture of squares with a gap of two pixels around each."""
    square = np.pad(np.ones((side - 4, side - 4)), 2)
    numbers = np.arange(1, down * across + 1).reshape(down, across)
    return picture_of(np.kron(numbers, square))


def test_cells_get_numbers_without_gaps_and_the_rest_is_background():
    known = known_labels(picture_of([[0, 70, 70], [0, 0, 4_000_000_000]]))
    assert known.tolist() == [[0, 1, 1], [0, 0, 2]] and known.dtype == np.int32


def test_a_cell_that_is_partly_unverified_is_unknown_as_a_whole():
    picture = picture_of([[5, 5, 0, 9], [5, 0, 0, 9]], [[1, 1, 1, 1], [0, 1, 1, 1]])
    assert known_labels(picture).tolist() == [[-1, -1, 0, 1], [-1, 0, 0, 1]]
    assert n_known_cells([picture, picture]) == 2


def test_where_nothing_is_verified_nothing_is_known():
    picture = picture_of([[1, 1, 0]], [[0, 0, 0]])
    assert known_labels(picture).tolist() == [[-1, -1, -1]] and n_known_cells([picture]) == 0


def test_a_picture_full_of_cells_has_no_background():
    assert known_labels(picture_of([[3, 7]], [[1, 0]])).tolist() == [[1, -1]]


def test_pictures_that_judge_are_left_as_they_are():
    lessons = Lessons((rows_of_squares(2, 5),), (rows_of_squares(1, 2),))
    assert with_judges(lessons) is lessons


def test_a_fifth_is_held_out_where_no_picture_judges():
    picture = rows_of_squares(2, 10)
    blank = picture_of(np.zeros((4, 4)))
    for val in ((), (blank,)):
        lessons = with_judges(Lessons((picture,), val))
        assert (n_known_cells(lessons.train), n_known_cells(lessons.val)) == (16, 4)
        assert "held out" in lessons.val[0].name


def test_what_was_held_out_still_is_when_more_is_corrected():
    picture = rows_of_squares(2, 20)
    few = replace(picture, verified=picture.verified & (np.arange(picture.labels.shape[1]) >= 40))
    lines = [int(np.flatnonzero(with_judges(Lessons((p,))).val[0].verified.any(0))[0]) for p in (few, picture)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("shape", [(10, 2), (2, 10), (5, 5)])
def test_what_is_held_out_is_unknown_in_what_is_learned(shape):
    picture = rows_of_squares(*shape)
    lessons = with_judges(Lessons((picture,)))
    [learned], [judge] = (map(known_labels, part) for part in (lessons.train, lessons.val))
    assert not ((learned >= 0) & (judge >= 0)).any()
    assert (lesson(lessons.train[0]).labels[judge >= 0] == -1).all()
    assert ((learned > 0) | (judge > 0)).sum() == (picture.labels > 0).sum(), "no cell lies across the line here"


def test_a_cell_across_the_line_is_neither_learned_nor_judged():
    labels = np.zeros((6, 30))
    for number, start in enumerate((0, 5, 10, 15, 20), start=1):
        labels[1:5, start : start + 4] = number
    labels[5, 12:28] = 6  # of six cells the fifth one begins at 15
    lessons = with_judges(Lessons((picture_of(labels),)))
    [learned], [judge] = (map(known_labels, part) for part in (lessons.train, lessons.val))
    assert (learned[5, 12:28] == -1).all() and (judge[5, 12:28] == -1).all()
    assert (learned.max(), judge.max()) == (3, 2)


def test_cells_that_only_the_shorter_side_parts_are_parted():
    labels = np.zeros((40, 60))
    for number, start in enumerate(range(0, 40, 8), start=1):
        labels[start : start + 5, 10:50] = number
    lessons = with_judges(Lessons((picture_of(labels),)))
    assert (n_known_cells(lessons.train), n_known_cells(lessons.val)) == (4, 1)


def test_a_picture_that_cannot_be_divided_is_learned_as_a_whole():
    single, many = rows_of_squares(1, 1), rows_of_squares(2, 5)
    lessons = with_judges(Lessons((single, many)))
    assert lessons.train[0] is single and len(lessons.val) == 1


def test_what_is_held_out_of_one_plane_is_learned_from_no_other():
    first, second = np.zeros((20, 60)), np.zeros((20, 60))
    for number, start in enumerate(range(0, 60, 6), start=1):
        first[2:6, start : start + 4] = number
    for number, start in enumerate((0, 42, 48, 54), start=1):
        second[2:6, start : start + 4] = number
    third = np.zeros((20, 60))
    third[2:6, 54:58] = 1  # too few cells for a line of its own
    planes = [replace(picture_of(labels), group="stack.tif") for labels in (first, second, third)]
    lessons = with_judges(Lessons(tuple(planes)))
    held_out = np.any([known_labels(judge) > 0 for judge in lessons.val], axis=0)
    assert held_out.any()
    for plane in lessons.train:
        assert (known_labels(plane)[held_out] == -1).all()


def test_parts_of_a_large_image_have_one_line_in_the_whole_of_it():
    whole = rows_of_squares(2, 40)
    height, width = whole.labels.shape
    parts = []
    for left, right in ((0, width // 2), (width // 4, 3 * width // 4), (width // 2, width)):
        columns = np.s_[:, left:right]
        part = picture_of(whole.labels[columns])
        parts.append(replace(part, group="large.tif", corner=(0, left), whole=(height, width)))
    lessons = with_judges(Lessons(tuple(parts)))
    held_out, learned = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for pixels, pictures in ((held_out, lessons.val), (learned, lessons.train)):
        for picture in pictures:
            left = picture.corner[1]
            pixels[:, left : left + picture.labels.shape[1]] |= known_labels(picture) > 0
    assert held_out.any() and learned.any()
    assert not (held_out & learned).any()


def test_without_a_verified_cell_there_is_nothing_to_learn():
    unverified = picture_of([[1, 1]], [[0, 1]])
    with pytest.raises(DatasetError, match=r"no cell to learn from in 1 pictures .* Verify some cells"):
        with_judges(Lessons((unverified,), (rows_of_squares(1, 2),)))
    with pytest.raises(DatasetError, match="no cell to learn from in 0 pictures"):
        with_judges(Lessons(()))


def test_with_a_single_cell_nothing_can_judge():
    with pytest.raises(DatasetError, match="correct at least five cells"):
        with_judges(Lessons((rows_of_squares(1, 1),)))


def test_the_hash_of_a_picture_is_of_all_that_can_be_learned_from_it():
    picture = disc_picture(1, side=32, n_cells=1)
    labels, verified = picture.labels.copy(), picture.verified.copy()
    labels[0, 0], verified[31, 31] = 7, False
    different = [
        replace(picture, labels=labels),
        replace(picture, verified=verified),
        replace(picture, image=Image.from_array(255 - picture.image.pixels)),
    ]
    hashes = [picture_hash(one) for one in (picture, *different)]
    assert len(set(hashes)) == 4
    assert picture_hash(replace(picture, name="other", group="other")) == hashes[0]


def test_lessons_are_read_from_a_data_set_and_a_folder_to_replay(tmp_path):
    dataset = RetrainingSet.create(tmp_path / "set")
    for name, split in (("a", "train"), ("b", "val")):
        made = disc_picture(1 if name == "a" else 2)
        dataset.add(Corrected(made.image, made.labels, made.verified, name=name, split=split))
    for folder in ("images", "masks"):
        (tmp_path / "others" / folder).mkdir(parents=True)
    other = disc_picture(3)
    tifffile.imwrite(tmp_path / "others/images/x.tif", other.image.pixels[..., 0])
    tifffile.imwrite(tmp_path / "others/masks/x.tif", other.labels)
    lessons = read_lessons(tmp_path / "set", tmp_path / "others")
    assert [n_known_cells(part) for part in (lessons.train, lessons.val, lessons.replay)] == [9, 9, 9]
    assert read_lessons(tmp_path / "set").replay == ()
    tifffile.imwrite(tmp_path / "others/masks/x.tif", other.labels[:50])
    with pytest.raises(ImageShapeError, match=r"x\.tif"):
        read_lessons(tmp_path / "set", tmp_path / "others")
