"""The folder of files: bounded, shared, and no worse for what others do in it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_cellsam.models.feature_folder import FeatureFolder

BLOCK = 4096
LIMIT = 20 * BLOCK


@pytest.fixture
def folder(tmp_path):
    return FeatureFolder(tmp_path, LIMIT)


def names(path):
    return sorted(file.name for file in path.iterdir())


def test_what_was_written_is_read(folder):
    folder.write("a", b"some bytes")
    assert folder.read("a") == b"some bytes"
    assert folder.read("b") is None


def test_the_folder_is_made_when_it_is_needed_and_is_for_its_owner_only(tmp_path):
    path = tmp_path / "deep" / "features"
    folder = FeatureFolder(path, LIMIT)
    assert folder.read("a") is None
    assert not path.exists()
    folder.write("a", b"1")
    assert folder.read("a") == b"1"
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    path = tmp_path / "features"
    folder = FeatureFolder(path, LIMIT)
    folder.write("a", b"1")
    folder.remove("a")
    path.rmdir()
    folder.write("b", b"2")
    assert folder.read("b") == b"2"


def test_what_was_not_used_for_longest_goes_first(tmp_path, folder):
    for age, name in enumerate("abcd"):
        folder.write(name, b"x" * 5 * BLOCK)
        os.utime(tmp_path / f"{name}.features", (age, age))
    folder.read("a")  # used now
    folder.write("e", b"x" * 5 * BLOCK)
    assert names(tmp_path) == ["a.features", "d.features", "e.features"]  # 0.9 of the limit is 18 blocks


def test_small_files_count_as_the_blocks_that_they_take(tmp_path, folder):
    for number in range(50):
        folder.write(str(number), b"x")
        assert len(names(tmp_path)) <= 20
    assert folder.read("49") == b"x"


def test_a_file_as_large_as_the_limit_is_kept_alone_and_a_larger_one_is_not(tmp_path, folder):
    folder.write("a", b"1")
    folder.write("whole", b"x" * LIMIT)
    assert names(tmp_path) == ["whole.features"]
    folder.write("more", b"x" * (LIMIT + 1))
    assert names(tmp_path) == ["whole.features"]


def test_files_of_an_earlier_process_count(tmp_path, folder):
    for name in "abc":
        folder.write(name, b"x" * 6 * BLOCK)
    FeatureFolder(tmp_path, LIMIT).write("d", b"x" * 6 * BLOCK)
    assert len(names(tmp_path)) == 3
    assert folder.read("d") is not None


def test_what_another_process_writes_is_counted_before_long(tmp_path):
    folders = [FeatureFolder(tmp_path, 160 * BLOCK) for _ in range(2)]
    for number in range(400):
        folders[number % 2].write(str(number), b"x" * BLOCK)
        assert len(names(tmp_path)) <= 160 * (1 + 2 / 16)


def test_files_that_vanish_meanwhile_do_no_harm(tmp_path, folder, monkeypatch):
    for name in "abcd":
        folder.write(name, b"x" * 5 * BLOCK)
    listed = FeatureFolder._list

    def list_then_lose(self):
        files = listed(self)
        for _, _, path in files:
            path.unlink()
        return files

    monkeypatch.setattr(FeatureFolder, "_list", list_then_lose)
    folder.write("e", b"x" * 5 * BLOCK)
    assert folder.read("e") is not None


def test_a_file_larger_than_all_of_ours_is_not_read(tmp_path, folder):
    with (tmp_path / "a.features").open("wb") as file:
        file.truncate(LIMIT + 1)
    assert folder.read("a") is None


def test_a_folder_in_the_place_of_a_file_is_no_file(tmp_path, folder):
    (tmp_path / "a.features").mkdir()
    assert folder.read("a") is None
    folder.remove("a")


def test_temporary_files_of_a_process_that_died_are_removed(tmp_path, folder):
    old, new = tmp_path / "x.features.1.tmp", tmp_path / "x.features.2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    folder.write("a", b"1")
    assert names(tmp_path) == ["a.features", "x.features.2.tmp"]


def test_files_of_others_are_left_alone(tmp_path, folder):
    (tmp_path / "notes.txt").write_bytes(b"x" * 2 * LIMIT)
    for name in "abcdefg":
        folder.write(name, b"x" * 5 * BLOCK)
    assert "notes.txt" in names(tmp_path)


def test_a_failed_write_leaves_nothing_and_the_next_one_succeeds(tmp_path, folder, monkeypatch):
    def half(path, data):
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            folder.write("a", b"x" * BLOCK)
    assert names(tmp_path) == []
    folder.write("a", b"x" * BLOCK)
    assert folder.read("a") == b"x" * BLOCK


def test_a_file_that_may_not_be_replaced_while_it_is_read_stays(tmp_path, folder, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    folder.write("a", b"1")
    monkeypatch.setattr(os, "replace", refuse)  # as on Windows
    folder.write("a", b"1")
    assert names(tmp_path) == ["a.features"]
    with pytest.raises(PermissionError):
        folder.write("b", b"1")
    assert names(tmp_path) == ["a.features"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_file_that_the_system_cuts_off_is_not_left_behind(tmp_path):
    code = (
        "import pathlib, resource, sys\n"
        "from napari_cellsam.models.feature_folder import FeatureFolder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "folder = FeatureFolder(pathlib.Path(sys.argv[1]), 10**6)\n"
        "folder.write('small', b'x' * 5000)\n"
        "try:\n"
        "    folder.write('large', b'x' * 5001)\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert int(out.stdout) == errno.EFBIG
    assert names(tmp_path) == ["small.features"]
