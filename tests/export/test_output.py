"""Output files appear whole or not at all."""

import os

import pytest

from napari_cellsam.errors import OutputError
from napari_cellsam.export.output import check_output, make_folder, whole_file


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]


def test_after_a_failure_neither_file_is_left(tmp_path):
    def fail_half_way():
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_unless_it_may_be_overwritten(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputError, match="exists already"), whole_file(path):
        pytest.fail("the body ran")
    with whole_file(path, overwrite=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_of_two_writers_of_a_new_file_neither_overwrites_the_other(tmp_path):
    path = tmp_path / "a.txt"

    def write_late():
        with whole_file(path) as temporary:
            temporary.write_text("late")
            path.write_text("early")

    with pytest.raises(OutputError, match="another program wrote it"):
        write_late()
    assert path.read_text() == "early"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_written_where_there_are_no_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("alone")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["alone"]


def test_an_old_file_survives_a_failure_to_overwrite_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"a\.txt cannot be written: disk full"), whole_file(path, True):
        raise OSError(28, "disk full")
    assert path.read_text() == "old"


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path, overwrite=True)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "none" / "a.txt")


def test_a_folder_that_is_not_writable_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="not writable"):
        check_output(tmp_path / "a.txt")


def test_folders_are_made_with_their_parents(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        make_folder(tmp_path / "a" / "b")


def test_a_name_as_long_as_a_file_may_have_is_written(tmp_path):
    path = tmp_path / f"{'x' * 251}.tif"
    with whole_file(path) as temporary:
        temporary.write_text("all")
    assert path.read_text() == "all"
