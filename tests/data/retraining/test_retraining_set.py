"""A data set grows by pictures, knows them again, and gives them back as they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.retraining.corrected_pictures import SHAPE, picture_of, state_of

from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.errors import DatasetError, OptionError
from napari_cellsam.types import Image


def test_a_picture_comes_back_as_it_was(dataset):
    corrected = picture_of(1)
    dataset.add(corrected)
    (picture,) = RetrainingSet.open(dataset.folder).pictures()
    assert np.array_equal(picture.image.pixels, corrected.image.pixels)
    assert picture.image.image_id == corrected.image.image_id
    assert picture.image.pixel_size_um == (0.5, 0.25)
    assert np.array_equal(picture.labels, corrected.labels_yx) and picture.verified.all()
    assert (picture.name, picture.group) == ("p1.tif", "p1.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(9, 7, 1), (1, 30, 2), (30, 1, 5), (8, 9, 4)])
def test_every_type_and_number_of_channels_comes_back(dataset, dtype, shape):
    pixels = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    corrected = picture_of(1, shape=SHAPE)
    image = Image(pixels, cell=shape[2] - 1)
    dataset.add(type(corrected)(image, np.ones(shape[:2], int), np.ones(shape[:2]), name="x"))
    (picture,) = dataset.pictures()
    assert picture.image.pixels.dtype == dtype
    assert np.array_equal(picture.image.pixels, pixels)
    assert picture.image.image_id == image.image_id


def test_a_colour_picture_and_names_of_channels_come_back(dataset):
    image = Image(np.full((9, 9, 3), 7, np.uint8), rgb=True, channel_names=("r", "g", "b µ"))
    dataset.add(type(picture_of(1))(image, np.ones((9, 9), int), np.ones((9, 9))))
    (picture,) = dataset.pictures()
    assert picture.image.rgb and picture.image.channel_names == ("r", "g", "b µ")


def test_what_is_known_of_each_cell_comes_back(dataset):
    entry = dataset.add(picture_of(1)).entry
    found, pointed, drawn = RetrainingSet.open(dataset.folder).cells(entry)
    assert (found.label, found.origin, found.detector_score, found.predicted_iou) == (2, "automatic", 0.8, 0.9)
    assert pointed.prompts[0].inside_yx.tolist() == [[9, 30]]
    assert pointed.prompts[0].outside_yx.tolist() == [[1, 1]]
    assert pointed.prompts[0].box_yxyx.tolist() == [4, 26, 13, 35]
    assert (drawn.label, drawn.origin, drawn.reviewed) == (2**32 - 1, "manual", False)


def test_nothing_that_was_written_is_written_again(dataset):
    dataset.add(picture_of(1))
    before = state_of(dataset.folder)
    for number in (2, 3):
        dataset.add(picture_of(number))
    dataset.add(picture_of(1, moved=5))
    after = state_of(dataset.folder)
    assert {name: after[name] for name in before if name != "dataset.json"} == {
        name: raw for name, raw in before.items() if name != "dataset.json"
    }


def test_the_same_again_changes_nothing(dataset):
    dataset.add(picture_of(1))
    before = state_of(dataset.folder)
    result = dataset.add(picture_of(1))
    assert result.outcome == "unchanged"
    assert state_of(dataset.folder) == before


def test_a_new_version_takes_the_place_of_the_old_one_and_shares_its_image(dataset):
    first = dataset.add(picture_of(1)).entry
    result = dataset.add(picture_of(1, moved=5))
    assert result.outcome == "replaced"
    assert result.entry.parents == (first.id,)
    assert result.entry.crops[0].image == first.crops[0].image
    assert np.array_equal(dataset.pictures()[0].labels, picture_of(1, moved=5).labels_yx)
    assert dataset.check() == []


def test_an_old_version_that_comes_back_is_a_new_one(dataset):
    ids = [dataset.add(picture_of(1, moved=moved)).entry.id for moved in (0, 5, 0)]
    assert len(set(ids)) == 3
    assert dataset.entries[0].parents == (ids[1], ids[0])
    assert dataset.check() == []


def test_the_same_pixels_with_other_roles_of_channels_are_the_same_picture(dataset):
    dataset.add(picture_of(1))
    other = picture_of(1)
    image = Image(other.image.pixels, nuclear=1, cell=0)
    assert dataset.add(type(other)(image, other.labels, other.verified, name="p1.tif")).outcome == "replaced"
    assert [p.image.nuclear for p in dataset.pictures()] == [1]


def test_a_picture_keeps_its_group_unless_another_is_given(dataset):
    dataset.add(picture_of(1, group="monday"))
    assert dataset.add(picture_of(1, moved=2)).entry.group == "monday"
    assert dataset.add(picture_of(1, moved=2, group="tuesday")).entry.group == "tuesday"
    assert len(dataset.entries) == 1


def test_a_new_name_is_told_and_writes_no_files_anew(dataset):
    dataset.add(picture_of(1))
    before = set(state_of(dataset.folder))
    result = dataset.add(picture_of(1, name="other.tif", group="p1.tif"))
    assert result.outcome == "replaced" and "was called p1.tif" in result.notes
    assert set(state_of(dataset.folder)) == before


def test_two_pictures_of_one_name_are_told(dataset):
    dataset.add(picture_of(1, name="x", group="x"))
    (note,) = dataset.add(picture_of(2, name="x", group="x")).notes
    assert note == "another picture is called x too, and is of the same group; give it one of its own"
    with pytest.raises(DatasetError, match="give the id of one"):
        dataset.remove("x")
    dataset.remove(dataset.entries[0].id)
    assert dataset.add(picture_of(3, name="x", group="p2")).notes == ("another picture is called x too",)
    dataset.remove(dataset.entries[0].id)
    assert dataset.remove("x").name == "x"


def test_a_picture_without_a_verified_region_is_told(dataset):
    result = dataset.add(picture_of(1, verified="none"))
    assert "no region was verified" in result.notes[0]
    (picture,) = dataset.pictures()
    assert not picture.verified[4:14, 4:14].any()  # the model's
    assert picture.verified[4:14, 26:36].all() and picture.verified[22:32, 10:20].all()


def test_a_picture_that_is_taken_out_leaves_nothing_but_its_groups_split(dataset):
    dataset.add(picture_of(1, split="val"))
    dataset.add(picture_of(1, moved=5))
    dataset.remove("p1.tif")
    assert set(state_of(dataset.folder)) == {"dataset.json"}
    assert dataset.check() == []
    assert dataset.add(picture_of(1)).split == "val"


def test_taking_one_out_leaves_the_others(dataset):
    for number in range(3):
        dataset.add(picture_of(number))
    dataset.remove("p1.tif")
    assert [p.name for p in dataset.pictures()] == ["p0.tif", "p2.tif"]
    assert dataset.check() == []


def test_what_is_not_there_cannot_be_taken_out(dataset):
    dataset.add(picture_of(1))
    with pytest.raises(DatasetError, match=r"no picture 'p9'; it has p1\.tif"):
        dataset.remove("p9")


def test_pictures_are_given_by_split(dataset):
    for number in range(5):
        dataset.add(picture_of(number))
    assert [p.name for p in dataset.pictures("val")] == ["p2.tif"]
    assert len(dataset.pictures("train")) == 4 and len(dataset.pictures()) == 5


def test_a_group_is_never_divided(dataset):
    for number in range(8):
        dataset.add(picture_of(number, group=f"g{number % 3}"))
    assert {p.group for p in dataset.pictures("val")} == {"g2"}
    assert {p.group for p in dataset.pictures("train")} == {"g0", "g1"}


@pytest.mark.parametrize("moved", [0, 2])
def test_a_picture_whose_file_is_renamed_stays_in_its_split(dataset, moved):
    for number in (1, 2):
        assert dataset.add(picture_of(number, group=f"p{number}.tif")).split == "train"
    renamed = dataset.add(picture_of(1, moved=moved, name="renamed.tif", group="renamed.tif"))
    assert (renamed.split, dataset.splits["renamed.tif"]) == ("train", "train")
    assert not any("moved" in note for note in renamed.notes)
    judge = dataset.add(picture_of(3, group="p3.tif", split="val"))
    assert judge.split == dataset.add(picture_of(3, name="copy.tif", group="copy.tif")).split == "val"


def test_a_split_can_be_asked_for_but_not_against_the_groups(dataset):
    assert dataset.add(picture_of(1, group="g", split="val")).split == "val"
    with pytest.raises(DatasetError, match="'g' is in split 'val' and stays there"):
        dataset.add(picture_of(2, group="g", split="train"))
    assert len(dataset.entries) == 1


def test_a_picture_that_changes_sides_is_told(dataset):
    dataset.add(picture_of(1, group="a", split="train"))
    result = dataset.add(picture_of(1, group="b", split="val"))
    assert "moved from train to val" in result.notes[0]


def test_the_fingerprint_is_of_what_can_be_learned(dataset):
    prints = [dataset.fingerprint]
    for number in (1, 2):
        dataset.add(picture_of(number))
        prints.append(dataset.fingerprint)
    dataset.add(picture_of(2))
    assert dataset.fingerprint == prints[-1]
    dataset.remove("p2.tif")
    assert dataset.fingerprint == prints[1]
    assert len(set(prints)) == 3


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not empty"):
        RetrainingSet.create(tmp_path)
    with pytest.raises(DatasetError, match=r"no dataset.json"):
        RetrainingSet.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_data_set_is_not_made_twice(dataset):
    with pytest.raises(DatasetError, match="not empty"):
        RetrainingSet.create(dataset.folder)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_cannot_be_is_refused(tmp_path, share):
    with pytest.raises(OptionError, match="0 to less than 1"):
        RetrainingSet.create(tmp_path / "x", share)


def test_two_that_opened_it_see_what_the_other_added(dataset):
    other = RetrainingSet.open(dataset.folder)
    other.add(picture_of(1))
    dataset.add(picture_of(2))
    assert [entry.name for entry in dataset.entries] == ["p1.tif", "p2.tif"]


def test_a_large_picture_is_kept_as_crops(dataset):
    labels = np.zeros((2100, 2100), np.uint32)
    labels[100:120, 100:120], labels[1900:1930, 1900:1910], labels[1000:1010, 1000:1010] = 1, 2, 3
    verified = labels > 0
    verified[1000:1010, 1000:1010] = False
    image = Image.from_array(np.arange(2100, dtype=np.uint16)[:, None] + np.zeros((1, 2100), np.uint16))
    entry = dataset.add(type(picture_of(1))(image, labels, verified, name="big.tif")).entry
    first, second = dataset.pictures()
    assert first.name == "big.tif [0, 0]" and second.name.startswith("big.tif [17")
    y0, x0, y1, x1 = entry.crops[1].window
    assert np.array_equal(second.image.pixels[:, :, 0], image.pixels[y0:y1, x0:x1, 0])
    assert np.array_equal(second.labels, labels[y0:y1, x0:x1])
    assert entry.n_cells == 2 and [c.label for c in dataset.cells(entry)] == [1, 2]
    assert dataset.check() == []


steps = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 4), st.integers(0, 2), st.sampled_from("abc")),
    max_size=12,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_whatever_is_done_the_newest_versions_are_there_and_groups_stay_where_they_are(tmp_path_factory, steps):
    dataset = RetrainingSet.create(tmp_path_factory.mktemp("grown") / "set")
    expected, splits = {}, {}
    for verb, number, moved, group in steps:
        if verb == "add":
            dataset.add(picture_of(number, moved=moved, group=group))
            expected[f"p{number}.tif"] = (moved, group)
        elif f"p{number}.tif" in expected:
            dataset.remove(f"p{number}.tif")
            del expected[f"p{number}.tif"]
        assert splits.items() <= dataset.splits.items()
        splits = dict(dataset.splits)
    opened = RetrainingSet.open(dataset.folder)
    assert opened.check() == []
    found = {p.name: p for p in opened.pictures()}
    assert {name: p.group for name, p in found.items()} == {name: group for name, (_, group) in expected.items()}
    for name, (moved, _) in expected.items():
        assert np.array_equal(found[name].labels, picture_of(0, moved=moved).labels_yx)
    assert not {p.group for p in opened.pictures("train")} & {p.group for p in opened.pictures("val")}
