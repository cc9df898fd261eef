"""The commands ``dataset add | show | check | remove``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tifffile import imwrite

from napari_cellsam.cli import main
from napari_cellsam.data.read import read_image
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import edit_between
from napari_cellsam.editing.journal_format import Opening
from napari_cellsam.editing.journal_writer import JournalWriter
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.editing.verified import Mark
from napari_cellsam.export.label_tiff import write_labels


def ended(code, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["dataset", *map(str, arguments)])
    assert exit_.value.code == code


def write_image(path, seed=0, shape=(30, 40)):
    imwrite(path, np.random.default_rng(seed).integers(0, 999, shape).astype(np.uint16), photometric="minisblack")
    return path


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path / "a.tif")


@pytest.fixture
def labels(tmp_path):
    cells = np.zeros((30, 40), np.uint16)
    cells[2:12, 2:12], cells[2:12, 20:30] = 1, 2
    write_labels(tmp_path / "a_labels.tif", cells)
    return tmp_path / "a_labels.tif"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "set"


def edited(plane, shape=(30, 40), *, reviewed=True):
    """Return steps that make cells 1 (found) and 2 (prompted) and verify the upper rows."""
    nothing = np.zeros((10, 10), np.uint32)
    edits = tuple(edit_between(plane, (2, x), nothing, nothing + label) for label, x in ((1, 2), (2, 20)))
    changes = (
        RecordChange(None, CellRecord(1, plane, "automatic", 0.9, 0.8, reviewed=reviewed)),
        RecordChange(None, CellRecord(2, plane, "prompted", None, 0.7)),
    )
    return Action("work", edits, changes, marks=(Mark.of(plane, (0, 0), np.ones((15, 40), bool), verified=True),))


def write_journal(path, shape, plane=(), *, reviewed=True, image_id=None):
    writer = JournalWriter(path, Opening(name="a.tif", shape=shape, dtype="uint32", image_id=image_id))
    writer.add("do", edited(plane, reviewed=reviewed))
    writer.close()
    return path


def test_an_image_with_labels_is_added_to_a_new_data_set(folder, image, labels, capsys):
    ended(0, "add", folder, image, labels, "--all-verified")
    assert capsys.readouterr().out == "added a.tif (train): 2 cells, 100% verified\n"
    (picture,) = RetrainingSet.open(folder).pictures()
    assert picture.verified.all() and np.unique(picture.labels).tolist() == [0, 1, 2]
    assert (picture.name, picture.group) == ("a.tif", "a.tif")


def test_labels_without_a_verified_region_are_certain_with_a_rim_and_that_is_told(folder, image, labels, capsys):
    ended(0, "add", folder, image, labels)
    assert "note: no region was verified" in capsys.readouterr().err
    (picture,) = RetrainingSet.open(folder).pictures()
    assert picture.verified[2:12, 2:12].all() and not picture.verified[25].any()


def test_a_verified_mask_is_taken(folder, image, labels, tmp_path):
    mask = np.zeros((30, 40), np.uint8)
    mask[:15] = 255
    write_labels(tmp_path / "mask.tif", mask)
    ended(0, "add", folder, image, labels, "--verified", tmp_path / "mask.tif")
    assert np.array_equal(RetrainingSet.open(folder).pictures()[0].verified, mask > 0)


def test_a_verified_mask_of_zeros_is_refused(folder, image, labels, tmp_path, capsys):
    write_labels(tmp_path / "mask.tif", np.zeros((30, 40), np.uint8))
    ended(1, "add", folder, image, labels, "--verified", tmp_path / "mask.tif")
    assert "is 0 everywhere" in capsys.readouterr().err
    assert not folder.exists()


def test_a_mask_and_everything_verified_is_a_wrong_command(folder, image, labels):
    ended(2, "add", folder, image, labels, "--verified", labels, "--all-verified")


def test_a_journal_brings_its_region_and_where_cells_came_from(folder, image, tmp_path):
    journal = write_journal(tmp_path / "a.tif.cellsam", (30, 40))
    ended(0, "add", folder, image, journal)
    opened = RetrainingSet.open(folder)
    (picture,) = opened.pictures()
    assert picture.verified[:15].all() and not picture.verified[15:].any()
    assert [(c.label, c.origin) for c in opened.cells(opened.entries[0])] == [(1, "automatic"), (2, "prompted")]


def test_a_cell_that_a_model_wrote_into_the_region_later_is_not_certain(folder, image, tmp_path):
    journal = write_journal(tmp_path / "a.tif.cellsam", (30, 40), reviewed=False)
    ended(0, "add", folder, image, journal)
    (picture,) = RetrainingSet.open(folder).pictures()
    assert not picture.verified[2:12, 2:12].any()
    assert picture.verified[2:12, 20:30].all()
    ended(0, "add", folder, image, journal, "--all-verified")
    assert RetrainingSet.open(folder).pictures()[0].verified.all(), "the user says so"


def test_the_journal_of_another_image_is_refused(folder, image, tmp_path, capsys):
    journal = write_journal(tmp_path / "a.tif.cellsam", (30, 40), image_id="of something else")
    ended(0, "add", folder, image, journal)  # called alike: other channels were chosen in napari
    other = image.with_name("b.tif")
    other.write_bytes(image.read_bytes())
    ended(1, "add", folder, other, journal)
    assert "is the journal of 'a.tif', which is not 'b.tif'" in capsys.readouterr().err
    same = write_journal(tmp_path / "same.cellsam", (30, 40), image_id=read_image(image).image_id)
    ended(0, "add", folder, other, same)


def test_a_plane_of_a_stack_is_added_with_the_group_of_its_file(folder, tmp_path):
    stack = tmp_path / "s.ome.tif"
    imwrite(stack, np.random.default_rng(0).integers(0, 99, (3, 30, 40)).astype(np.uint8), metadata={"axes": "ZYX"})
    journal = write_journal(tmp_path / "s.cellsam", (3, 30, 40), (1,))
    ended(1, "add", folder, stack, journal)
    ended(0, "add", folder, stack, journal, "--plane", "Z=1")
    (entry,) = RetrainingSet.open(folder).entries
    assert (entry.name, entry.group, entry.n_cells) == ("s.ome.tif Z=1", "s.ome.tif", 2)


def test_a_plane_is_named_as_for_segment(folder, labels, tmp_path):
    stack = tmp_path / "s.ome.tif"
    imwrite(stack, np.random.default_rng(0).integers(0, 99, (2, 3, 30, 40), np.uint8), metadata={"axes": "TZYX"})
    ended(0, "add", folder, stack, labels, "--all-verified", "--plane", "t=1,z=2")
    (entry,) = RetrainingSet.open(folder).entries
    assert entry.name == "s.ome.tif T=1 Z=2"


def test_a_scene_that_is_not_there_is_refused(folder, image, labels, capsys):
    ended(1, "add", folder, image, labels, "--all-verified", "--scene", "3")
    assert "scene" in capsys.readouterr().err


@pytest.mark.parametrize("plane", ["1", "Z", "Z=x", "=2"])
def test_a_plane_that_is_none_is_a_wrong_command(folder, image, labels, plane):
    ended(2, "add", folder, image, labels, "--plane", plane)


def test_cells_that_only_a_model_found_are_not_learned_from_unless_they_are_verified(folder, image, labels, capsys):
    (labels.parent / "a_cells.csv").write_text("label,score\n1,0.9\n2,0.8\n")
    ended(1, "add", folder, image, labels)
    assert "nothing in this picture is certain" in capsys.readouterr().err
    ended(0, "add", folder, image, labels, "--all-verified")
    opened = RetrainingSet.open(folder)
    assert [c.detector_score for c in opened.cells(opened.entries[0])] == [0.9, 0.8]


def test_the_group_and_the_split_can_be_given(folder, image, labels):
    ended(0, "add", folder, image, labels, "--group", "monday", "--split", "val")
    assert dict(RetrainingSet.open(folder).splits) == {"monday": "val"}
    ended(2, "add", folder, image, labels, "--split", "test")
    ended(1, "add", folder, image, labels, "--group", "monday", "--split", "train")


def test_the_same_again_is_told(folder, image, labels, capsys):
    ended(0, "add", folder, image, labels)
    ended(0, "add", folder, image, labels)
    assert capsys.readouterr().out.splitlines()[1].startswith("unchanged a.tif")


def test_labels_of_another_size_are_refused_in_one_line(folder, image, tmp_path, capsys):
    write_labels(tmp_path / "small.tif", np.ones((5, 5), np.uint8))
    ended(1, "add", folder, image, tmp_path / "small.tif")
    assert capsys.readouterr().err.count("\n") == 1


def test_what_there_is_is_shown_as_a_table_and_as_json(folder, image, labels, tmp_path, capsys):
    for seed in (0, 1, 2):
        ended(0, "add", folder, write_image(tmp_path / f"{seed}.tif", seed + 5), labels, "--all-verified")
    capsys.readouterr()
    ended(0, "show", folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "group", "split", "cells", "verified", "crops", "versions", "added", "id"]
    assert lines[3].split()[:7] == ["2.tif", "2.tif", "val", "2", "100.0%", "1", "1"]
    assert lines[3].split()[-1] == RetrainingSet.open(folder).entries[2].id
    assert lines[4:] == ["train: 2 pictures of 2 groups, 4 cells", "val: 1 pictures of 1 groups, 2 cells"]
    ended(0, "show", folder, "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["fingerprint"] == RetrainingSet.open(folder).fingerprint
    assert [row["split"] for row in document["pictures"]] == ["train", "train", "val"]


def test_a_data_set_in_order_passes_the_check(folder, image, labels, capsys):
    ended(0, "add", folder, image, labels)
    capsys.readouterr()
    ended(0, "check", folder)
    assert capsys.readouterr().out == f"{folder}: 1 pictures, 2 cells, no problems\n"


def test_the_check_names_what_is_wrong_and_fails(folder, image, labels, capsys):
    ended(0, "add", folder, image, labels)
    next(folder.glob("pictures/*/labels-0.tif")).write_bytes(b"x")
    capsys.readouterr()
    ended(1, "check", folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("changed: a.tif: ") and lines[1].endswith("2 cells, 1 problems")
    ended(1, "check", folder, "--json")
    assert [problem["kind"] for problem in json.loads(capsys.readouterr().out)] == ["changed"]


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_folder_of_something_else_is_told_in_one_line(tmp_path, command, capsys):
    ended(1, command, tmp_path)
    assert "is no data set for retraining" in capsys.readouterr().err


def test_a_picture_is_taken_out_by_its_name(folder, image, labels, capsys):
    ended(0, "add", folder, image, labels)
    ended(0, "remove", folder, "a.tif")
    assert RetrainingSet.open(folder).entries == ()
    ended(1, "remove", folder, "a.tif")
    assert "it has none" in capsys.readouterr().err
