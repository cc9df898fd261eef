"""Where journals are, and what they are called."""

from __future__ import annotations

import os
from itertools import islice

import pytest

from napari_cellsam.editing.journal_places import earlier_folders, find_journals, journal_folders, new_journal_paths


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CELLSAM_JOURNALS_DIR", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "images" / "day 1.tif"
    path.parent.mkdir()
    path.touch()
    return path


def test_a_journal_lies_beside_its_image_or_among_the_users_data(image, own):
    assert journal_folders(image) == [image.parent, own]
    assert journal_folders(None) == [own]
    assert journal_folders(image.with_name("gone.tif")) == [own]


def test_a_chosen_folder_takes_the_place_of_the_images(image, own, tmp_path):
    assert journal_folders(image, tmp_path) == [tmp_path, own]


def test_earlier_journals_are_looked_for_beside_the_image_whatever_is_chosen(image, own, tmp_path):
    chosen = tmp_path / "chosen"
    assert earlier_folders(image, chosen) == [chosen, own, image.parent]
    assert earlier_folders(image) == [image.parent, own]
    assert earlier_folders(None) == [own]


def test_the_first_free_name_is_taken(image, own):
    (image.parent / "day 1.tif.cellsam").touch()
    names = [path.name for path in islice(new_journal_paths("day 1.tif", image.parent), 2)]
    assert names == ["day 1.tif-2.cellsam", "day 1.tif-3.cellsam"]


def test_the_users_own_folder_is_made_when_it_is_needed(own):
    assert next(new_journal_paths("picture", own)) == own / "picture.cellsam"
    assert own.is_dir()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may write anywhere")
def test_a_folder_that_is_read_only_has_no_place(image):
    image.parent.chmod(0o500)
    try:
        assert list(new_journal_paths("day 1.tif", image.parent)) == []
    finally:
        image.parent.chmod(0o700)


def test_no_place_at_all_gives_none(own, tmp_path):
    own.write_text("a file in the way")
    for folder in (tmp_path / "none", own, own / "deeper"):
        assert list(new_journal_paths("picture", folder)) == []


@pytest.mark.parametrize("name", ["a/b:c", "..", "", "x" * 500, "細" * 200, "what?"])
def test_any_name_of_a_layer_is_a_file(own, name):
    path = next(new_journal_paths(name, own))
    path.touch()
    assert path.parent == own
    assert find_journals(name, [own]) == [path]


def test_journals_of_other_images_are_not_found(image, own):
    for name in ("day 1.tif.cellsam", "day 1.tif-2.cellsam", "day 11.tif.cellsam", "day 1.tif", "day 1.tif-x.cellsam"):
        (image.parent / name).touch()
    os.utime(image.parent / "day 1.tif.cellsam", (1e9, 1e9))
    found = [path.name for path in find_journals("day 1.tif", [image.parent, own])]
    assert found == ["day 1.tif-2.cellsam", "day 1.tif.cellsam"]
