"""Whatever happens while a data set is written, it is as it was before, and the next one puts it right."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.retraining.corrected_pictures import picture_of, state_of

from napari_cellsam.data.retraining.index import read_index
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.errors import CellsamError, DatasetError, OutputError

ROOT = Path(__file__).resolve().parents[3]

KILLED = """
import os, sys
from pathlib import Path
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from tests.data.retraining.corrected_pictures import picture_of

RetrainingSet.open(Path(sys.argv[2])).add(picture_of(9))  # all is imported and has run once
left = 0

def dying(do):
    def step(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return do(*arguments, **options)
    return step

os.fsync, Path.replace = dying(os.fsync), dying(Path.replace)
codes = []
for left, folder in enumerate(sys.argv[3:]):
    child = os.fork()
    if not child:
        dataset = RetrainingSet.open(Path(folder))
        dataset.remove("p1.tif") if sys.argv[1] == "remove" else dataset.add(picture_of(1, moved=int(sys.argv[1])))
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(*codes)
"""
WRITING = """
import sys
from pathlib import Path
from napari_cellsam.data.retraining.changes import only_writer

with only_writer(Path(sys.argv[1])):
    print("writing", flush=True)
    sys.stdin.readline()
"""
ADDING = """
import sys, time
from pathlib import Path
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.errors import DatasetError
from tests.data.retraining.corrected_pictures import picture_of

dataset = RetrainingSet.open(Path(sys.argv[1]))
for number in map(int, sys.argv[2:]):
    while True:
        try:
            dataset.add(picture_of(number))
            break
        except DatasetError as error:
            assert "another program is writing" in str(error)
            time.sleep(0.01)
"""


def python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.parametrize("change", ["0", "4", "remove"])
def test_a_program_that_is_killed_at_any_step_leaves_the_old_state_or_the_new_one(tmp_path, change):
    spare, first = RetrainingSet.create(tmp_path / "spare"), RetrainingSet.create(tmp_path / "0")
    if change != "0":
        first.add(picture_of(1))
    first.add(picture_of(2))
    folders = [tmp_path / str(number) for number in range(14)]
    for folder in folders[1:]:
        shutil.copytree(first.folder, folder)
    before = first.entries
    child = python(KILLED, change, spare.folder, *folders)
    codes = [int(code) for code in child.communicate(timeout=120)[0].split()]
    assert codes[0] == 9 and codes[-1] == 0 and codes == sorted(codes, reverse=True)
    for folder, code in zip(folders, codes, strict=True):
        dataset = RetrainingSet.open(folder)
        assert (dataset.entries == before) == (code == 9)
        assert {problem.kind for problem in dataset.check()} <= {"unlisted"}
        assert len(dataset.pictures()) == len(dataset.entries)
        dataset.add(picture_of(1, moved=4 if change == "4" else 0))
        assert dataset.check() == []
        assert not list(folder.glob("pictures/.*"))


def test_a_disk_that_is_full_at_any_step_changes_nothing(dataset, monkeypatch):
    dataset.add(picture_of(1))
    before, entries = state_of(dataset.folder), dataset.entries
    fsync, left, n_refused = os.fsync, 0, 0

    def full(number):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    monkeypatch.setattr(os, "fsync", full)
    for step in range(20):
        left = step
        with suppress(OutputError):
            dataset.add(picture_of(2))
            break
        n_refused += 1
        assert state_of(dataset.folder) == before
        assert dataset.entries == entries
    assert n_refused == 5  # image, labels, verified region, cells, index
    assert len(dataset.pictures()) == 2 and dataset.check() == []


def test_a_disk_that_is_full_does_not_take_a_picture_out(dataset, monkeypatch):
    dataset.add(picture_of(1))
    before = state_of(dataset.folder)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OutputError, match="full"):
        dataset.remove("p1.tif")
    assert state_of(dataset.folder) == before and len(dataset.pictures()) == 1


def test_a_second_writer_is_refused_and_readers_are_not(dataset):
    dataset.add(picture_of(1))
    other = python(WRITING, dataset.folder, stdin=subprocess.PIPE)
    assert other.stdout.readline() == "writing\n"
    for change in (lambda: dataset.add(picture_of(2)), lambda: dataset.remove("p1.tif")):
        with pytest.raises(DatasetError, match="another program is writing"):
            change()
    assert len(RetrainingSet.open(dataset.folder).pictures()) == 1 and dataset.check() == []
    other.communicate("\n", timeout=60)
    dataset.add(picture_of(2))
    assert len(dataset.pictures()) == 2


def test_a_writer_that_was_killed_does_not_keep_others_out(dataset):
    other = python(WRITING, dataset.folder, stdin=subprocess.PIPE)
    assert other.stdout.readline() == "writing\n"
    other.kill()
    other.communicate(timeout=60)
    assert dataset.add(picture_of(1)).outcome == "added"


def test_two_processes_that_add_at_once_lose_nothing(dataset):
    others = [python(ADDING, dataset.folder, *numbers) for numbers in (range(6), range(4, 10))]
    for other in others:
        other.communicate(timeout=120)
        assert other.returncode == 0
    opened = RetrainingSet.open(dataset.folder)
    assert sorted(entry.name for entry in opened.entries) == [f"p{number}.tif" for number in range(10)]
    assert opened.check() == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may write anywhere")
def test_a_folder_that_is_read_only_can_be_read_and_is_not_written(dataset):
    dataset.add(picture_of(1))
    folders = [dataset.folder, *(path for path in dataset.folder.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(RetrainingSet.open(dataset.folder).pictures()) == 1
        with pytest.raises(OutputError, match=r"cannot be (written|made)"):
            dataset.add(picture_of(2))
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
@pytest.mark.parametrize("name", ["image-0.tif", "labels-0.tif", "verified-0.tif", "cells.json"])
def test_a_file_that_was_cut_is_found_refused_and_mended_by_adding_again(dataset, name, cut):
    entry = dataset.add(picture_of(1)).entry
    path = dataset.folder / "pictures" / entry.id / name
    path.write_bytes(path.read_bytes()[:cut])
    assert [(p.kind, p.picture) for p in dataset.check()] == [("changed", "p1.tif")]
    with pytest.raises(DatasetError, match="is not what was written"):
        dataset.cells(entry) if name == "cells.json" else dataset.pictures()
    result = dataset.add(picture_of(1))
    assert result.outcome == "replaced" and "1 damaged versions of it were taken out" in result.notes
    assert dataset.check() == [] and len(dataset.pictures()) == 1


def test_a_file_that_is_gone_is_found_and_mended_in_all_versions_that_had_it(dataset):
    first = dataset.add(picture_of(1)).entry
    dataset.add(picture_of(1, moved=3))
    (dataset.folder / first.crops[0].image).unlink()
    assert [(p.kind, p.picture) for p in dataset.check()] == [("missing", "p1.tif")] * 2
    with pytest.raises(DatasetError, match="is missing"):
        dataset.pictures()
    dataset.add(picture_of(1, moved=3))
    assert dataset.check() == [] and len(dataset.pictures()) == 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_index_that_was_cut_or_changed_is_told_in_our_own_words(dataset, data):
    if not dataset.entries:
        dataset.add(picture_of(1))
    path = dataset.folder / "dataset.json"
    raw = path.read_bytes()
    place = data.draw(st.integers(0, len(raw) - 1))
    broken = raw[:place] + data.draw(st.binary(max_size=3))
    path.write_bytes(broken + (raw[place + 1 :] if data.draw(st.booleans()) else b""))
    try:
        with suppress(CellsamError):  # anything else fails
            opened = RetrainingSet.open(dataset.folder)
            opened.check()
            opened.pictures()
    finally:
        path.write_bytes(raw)


def test_an_index_of_a_newer_program_is_not_guessed_at(dataset):
    path = dataset.folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2, "program": "later 9", "pictures": 5}))
    with pytest.raises(DatasetError, match="written by later 9; update"):
        read_index(dataset.folder)


@pytest.mark.parametrize("file", ["../../mine.tif", "/etc/passwd", "pictures/../dataset.json", "C:\\x.tif"])
def test_an_index_that_points_outside_the_folder_is_refused(dataset, file):
    dataset.add(picture_of(1))
    path = dataset.folder / "dataset.json"
    index = json.loads(path.read_text())
    index["pictures"][0]["files"][file] = "0" * 64
    path.write_text(json.dumps(index))
    with pytest.raises(DatasetError, match="is no file of a data set"):
        RetrainingSet.open(dataset.folder)
