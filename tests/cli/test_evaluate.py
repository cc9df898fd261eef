"""``napari-cellsam evaluate`` compares label images."""

import numpy as np
import pytest
from scipy import ndimage

from napari_cellsam.export.label_tiff import write_labels


@pytest.fixture
def folders(tmp_path, picture):
    """Return a folder of predictions and one of true labels: one perfect image, one with a missed cell."""
    found, true = tmp_path / "found", tmp_path / "true"
    found.mkdir()
    true.mkdir()
    labels = ndimage.label(picture)[0]
    np.save(true / "a.npy", labels)
    write_labels(true / "b_labels.tif", labels)
    write_labels(found / "a_labels.tif", labels)
    write_labels(found / "b_labels.tif", np.where(labels == 2, 0, labels))
    return found, true


def test_folders_are_matched_by_name_with_or_without_labels(run, folders):
    ended = run("evaluate", *folders, "--json")
    assert ended.code == 0
    assert [image["name"] for image in ended.document["images"]] == ["a", "b"]
    assert [image["f1"] for image in ended.document["images"]] == [1, pytest.approx(2 / 3)]
    pooled = ended.document["pooled"]
    assert (pooled["true_positives"], pooled["false_negatives"], pooled["iou"], pooled["ap50"]) == (3, 1, 0.6, None)


@pytest.mark.parametrize("ending", ["_labels.ome.tif", "_cp_masks.tif"])
def test_label_images_of_the_export_are_matched_too(run, folders, ending):
    (folders[0] / "b_labels.tif").rename(folders[0] / f"b{ending}")
    assert run("evaluate", *folders, "--json").code == 0


def test_the_table_shows_each_image_and_the_pool(run, folders):
    lines = run("evaluate", *folders, "--iou", "0.5").out.splitlines()
    assert lines[0].split() == [
        "image",
        "true",
        "pred.",
        "F1@0.5",
        "prec.",
        "recall",
        "mean",
        "F1",
        "mSA",
        "AP50",
        "mAP",
    ]
    assert lines[2].split() == ["b", "2", "1", "0.667", "1.000", "0.500", "0.667", "0.500", "-", "-"]
    assert [line.split()[0] for line in lines[1:]] == ["a", "b", "pooled"]


def test_tables_beside_the_predictions_give_average_precision(run, folders):
    for name in "ab":
        (folders[0] / f"{name}_cells.csv").write_text("label,score\n1,0.5\n2,0.9\n")
    assert run("evaluate", *folders, "--json").document["pooled"]["ap50"] == pytest.approx(76 / 101)


def test_two_files_are_compared_whatever_their_names(run, folders):
    ended = run("evaluate", folders[0] / "b_labels.tif", folders[1] / "a.npy", "--json")
    assert ended.document["pooled"]["recall"] == 0.5


def test_of_an_image_beside_its_labels_the_labels_are_read(run, folders, picture):
    import imageio.v3 as iio

    iio.imwrite(folders[0] / "a.png", picture)
    iio.imwrite(folders[0] / "a_outlines.png", picture)
    assert run("evaluate", *folders, "--json").document["images"][0]["f1"] == 1


@pytest.mark.parametrize("other", ["b_cp_masks.tif", "b_labels.npy"])
def test_of_two_files_of_one_name_none_is_taken(run, folders, other):
    (folders[0] / other).write_bytes((folders[0] / "b_labels.tif").read_bytes())
    ended = run("evaluate", *folders)
    assert ended.code == 1
    assert other in ended.err and "b_labels.tif" in ended.err


def test_a_true_image_without_prediction_is_an_error(run, folders):
    (folders[0] / "b_labels.tif").unlink()
    ended = run("evaluate", *folders)
    assert ended.code == 1
    assert ended.err == f"error: 1 of 2 true label images have no prediction in {folders[0]}: b\n"


def test_predictions_without_truth_are_left_out_and_noted(run, folders):
    (folders[1] / "a.npy").unlink()
    ended = run("evaluate", *folders, "--json")
    assert [image["name"] for image in ended.document["images"]] == ["b"]
    assert ended.err.startswith("note: 1 files")


def test_labels_of_different_shape_are_named(run, folders):
    np.save(folders[1] / "a.npy", np.ones((3, 3), int))
    ended = run("evaluate", *folders)
    assert ended.code == 1
    assert "a_labels.tif has shape (12, 10)" in ended.err


def test_files_folders_and_nothing_do_not_go_together(run, folders, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "a file and a folder" in run("evaluate", folders[0], folders[1] / "a.npy").err
    assert "does not exist" in run("evaluate", tmp_path / "none", folders[1]).err
    assert "holds no label image" in run("evaluate", folders[0], tmp_path / "empty").err


def test_a_folder_that_must_not_be_read_is_one_line(run, folders, forbid):
    forbid(folders[0])
    ended = run("evaluate", *folders)
    assert (ended.code, ended.err.count("\n"), str(folders[0]) in ended.err) == (1, 1, True)


@pytest.mark.parametrize("iou", ["0", "1.5", "high"])
def test_a_threshold_that_makes_no_sense_ends_with_2(run, folders, iou):
    assert run("evaluate", *folders, "--iou", iou).code == 2
