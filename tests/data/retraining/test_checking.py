"""Everything that is wrong with a data set is named."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from tests.data.retraining.corrected_pictures import picture_of

from napari_cellsam.data.retraining.pictures import Corrected
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.errors import DatasetError
from napari_cellsam.export.label_tiff import write_labels
from napari_cellsam.types import Image


def kinds(dataset):
    return [(problem.kind, problem.picture) for problem in RetrainingSet.open(dataset.folder).check()]


def rewrite(dataset, change):
    """Change the index by hand."""
    path = dataset.folder / "dataset.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


def replace_file(dataset, name, write):
    """Replace a file of the first picture, with its sum in the index."""
    place = f"pictures/{dataset.entries[0].id}/{name}"
    path = dataset.folder / place
    path.unlink()
    write(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite(dataset, lambda index: index["pictures"][0]["files"].update({place: digest}))


def test_a_data_set_in_order_has_no_problems(dataset):
    for number in range(4):
        dataset.add(picture_of(number))
    assert kinds(dataset) == []


def test_cells_in_pieces_and_thin_ones_are_named_and_counted(dataset):
    corrected = picture_of(1)
    labels = corrected.labels_yx.copy()
    labels[35, 20:30], labels[37, 40:45] = 5, 77
    dataset.add(Corrected(corrected.image, labels, corrected.verified, (), "p"))
    pieces, thin = dataset.check()
    assert (pieces.kind, thin.kind) == ("pieces", "thin")
    assert "a cell is in several pieces and left out of training: 5;" in pieces.message
    assert "a cell is one pixel thin and left out of training: 77;" in thin.message
    assert np.unique(dataset.pictures()[0].labels).tolist() == [0, 2, 2**32 - 1]


def test_cells_where_nothing_is_verified_are_nobodys_problem(dataset):
    corrected = picture_of(1)
    labels = corrected.labels_yx.copy()
    labels[37, 40:45] = 77
    verified = np.ones(labels.shape, bool)
    verified[36:] = False
    dataset.add(Corrected(corrected.image, labels, verified, (), "p"))
    assert kinds(dataset) == []


@pytest.mark.parametrize("name", ["labels-0.tif", "verified-0.tif"])
def test_a_mask_of_another_shape_is_named(dataset, name):
    dataset.add(picture_of(1))
    replace_file(dataset, name, lambda path: write_labels(path, np.ones((5, 6), int)))
    assert ("shape", "p1.tif") in kinds(dataset)
    assert "is (5, 6); expected (40, 50)" in RetrainingSet.open(dataset.folder).check()[0].message


def test_a_file_that_is_no_picture_is_named(dataset):
    dataset.add(picture_of(1))
    replace_file(dataset, "image-0.tif", lambda path: path.write_text("hello"))
    problem = RetrainingSet.open(dataset.folder).check()[0]
    assert problem.kind == "shape" and "cannot be read as TIFF" in problem.message


@pytest.mark.parametrize("content", [b"[]", b"\xff", b'{"cells":[{"label":0}]}', b"[" * 100_000])
def test_a_provenance_that_makes_no_sense_is_named(dataset, content):
    dataset.add(picture_of(1))
    replace_file(dataset, "cells.json", lambda path: path.write_bytes(content))
    assert kinds(dataset) == [("cells", "p1.tif")]


def test_cells_without_a_record_and_records_without_a_cell_are_counted(dataset):
    dataset.add(picture_of(1))
    path = dataset.folder / dataset.entries[0].cells
    text = path.read_text().replace('"label":5,', '"label":6,').replace('"label":2,', '"label":7,')
    replace_file(dataset, "cells.json", lambda path: path.write_text(text))
    (problem,) = RetrainingSet.open(dataset.folder).check()
    assert problem.message.startswith("2 cells have no record, and 2 records no cell")


def test_a_picture_in_which_nothing_is_verified_any_more_is_named(dataset):
    dataset.add(picture_of(1))
    replace_file(dataset, "verified-0.tif", lambda path: write_labels(path, np.zeros((40, 50), int)))
    assert kinds(dataset) == [("nothing", "p1.tif")]


def test_crops_that_overlap_are_named(dataset):
    dataset.add(picture_of(1))
    rewrite(dataset, lambda index: index["pictures"][0]["crops"].append(index["pictures"][0]["crops"][0]))
    assert ("overlap", "p1.tif") in kinds(dataset)


def test_a_crop_outside_its_picture_is_named(dataset):
    dataset.add(picture_of(1))
    rewrite(dataset, lambda index: index["pictures"][0].update(shape=[40, 49]))
    assert kinds(dataset)[0] == ("shape", "p1.tif")


def test_a_channel_that_does_not_exist_is_named(dataset):
    dataset.add(picture_of(1))
    rewrite(dataset, lambda index: index["pictures"][0].update(nuclear=3))
    assert kinds(dataset)[0] == ("shape", "p1.tif")


def test_a_group_that_lost_its_split_is_named_and_not_read(dataset):
    dataset.add(picture_of(1))
    rewrite(dataset, lambda index: index.update(splits={}))
    assert kinds(dataset) == [("split", "p1.tif")]
    opened = RetrainingSet.open(dataset.folder)
    assert opened.fingerprint != dataset.fingerprint
    with pytest.raises(DatasetError, match="has no split"):
        opened.pictures("train")
    assert opened.add(picture_of(1)).outcome == "unchanged"
    assert kinds(dataset) == []


def doubled(dataset, splits):
    """List a picture a second time under another group, as two data sets put together by hand would."""
    dataset.add(picture_of(1))

    def change(index):
        (entry,) = index["pictures"]
        index["pictures"].append(entry | {"pixels": "0" * 32, "name": "copy.tif", "group": "other"})
        index["splits"] = {"p1.tif": splits[0], "other": splits[1]}

    rewrite(dataset, change)


def test_the_same_pixels_twice_are_named(dataset):
    doubled(dataset, ("train", "train"))
    assert kinds(dataset) == [("duplicate", "copy.tif")]


def test_a_group_that_leaks_from_one_split_to_the_other_is_named(dataset):
    doubled(dataset, ("train", "val"))
    assert kinds(dataset) == [("duplicate", "copy.tif"), ("leak", "copy.tif")]


def test_a_part_of_a_picture_that_is_a_picture_of_its_own_is_another_picture(dataset):
    corrected = picture_of(1)
    dataset.add(corrected)
    part = Image(corrected.image.pixels[:20].copy(), cell=0)
    assert dataset.add(Corrected(part, corrected.labels_yx[:20], np.ones((20, 50)), (), "part")).outcome == "added"


def test_a_folder_that_is_not_listed_is_named_until_it_is_gone(dataset):
    stray = dataset.folder / "pictures" / "stray"
    stray.mkdir(parents=True)
    assert kinds(dataset) == [("unlisted", "")]
    stray.rmdir()
    assert kinds(dataset) == []
