"""The journal: what was accepted is there, whatever happens to the program, the disk or the file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from napari_cellsam.editing import journal_writer
from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import CropEdit, edit_between
from napari_cellsam.editing.journal import read_steps, replay, summarize
from napari_cellsam.editing.journal_format import MAGIC, Opening, frame_of
from napari_cellsam.editing.journal_writer import JournalWriter
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.editing.verified import Mark
from napari_cellsam.errors import JournalError, OutputError
from napari_cellsam.types import Prompt

SHAPE = (12, 16)
OPENING = Opening(name="a picture", shape=SHAPE, dtype="uint32")


def cell(label, top, left, size=3, **record):
    """Return the action that puts a square cell onto background."""
    inside = np.zeros((size, size), np.uint32)
    edit = edit_between((), (top, left), inside, inside + label)
    return Action(f"cell {label}", (edit,), (RecordChange(None, CellRecord(label, **record)),))


ACTIONS = (cell(1, 0, 0), cell(2, 4, 4, origin="prompted"), cell(3, 8, 10, size=2, origin="automatic"))


def write(path, actions=ACTIONS, opening=OPENING):
    writer = JournalWriter(path, opening)
    for action in actions:
        writer.add("do", action)
    assert writer.close()


def after(actions):
    labels = np.zeros(SHAPE, np.uint32)
    for action in actions:
        for edit in action.edits:
            labels[edit.indices] = edit.after
    return labels


def test_what_was_done_is_there_again(tmp_path):
    path = tmp_path / "a.cellsam"
    write(path)
    replayed = replay(path)
    assert np.array_equal(replayed.labels, after(ACTIONS))
    assert replayed.labels.dtype == np.uint32
    assert {label: record.origin for (_, label), record in replayed.cells.items()} == {
        1: "manual",
        2: "prompted",
        3: "automatic",
    }
    assert [action.title for _, action in replayed.steps] == ["cell 1", "cell 2", "cell 3"]
    assert replayed.summary.opening.name == "a picture"


def test_a_name_that_is_no_text_is_written_as_far_as_it_is(tmp_path):
    opening = Opening(name="cell_\udcfc.tif", shape=SHAPE, dtype="uint32")
    JournalWriter(tmp_path / "a.cellsam", opening).close()
    assert summarize(tmp_path / "a.cellsam").opening.name == "cell_?.tif"


def test_prompts_and_scores_are_there_again(tmp_path):
    prompts = (Prompt(inside=[(1, 2), (3, 4)], outside=[(0, 0)]), Prompt(box=(0, 1, 5, 6)))
    action = cell(7, 0, 0, origin="prompted", detector_score=0.25, predicted_iou=0.75, prompts=prompts)
    write(tmp_path / "a.cellsam", [action])
    [record] = replay(tmp_path / "a.cellsam").cells.values()
    assert (record.label, record.detector_score, record.predicted_iou) == (7, 0.25, 0.75)
    assert record.prompts[0].inside_yx.tolist() == [[1, 2], [3, 4]]
    assert record.prompts[0].outside_yx.tolist() == [[0, 0]]
    assert record.prompts[1].box_yxyx.tolist() == [0, 1, 5, 6]


def test_undone_and_redone_steps_are_steps_too(tmp_path):
    path = tmp_path / "a.cellsam"
    writer = JournalWriter(path, OPENING)
    writer.add("do", ACTIONS[0])
    writer.add("do", ACTIONS[1])
    writer.add("undo", ACTIONS[1].inverse())
    writer.close()
    replayed = replay(path)
    assert np.array_equal(replayed.labels, after(ACTIONS[:1]))
    assert list(replayed.cells) == [((), 1)]
    assert [kind for kind, _ in replayed.steps] == ["do", "do", "undo"]


def test_only_the_first_steps_are_done_if_wanted(tmp_path):
    write(tmp_path / "a.cellsam")
    for n in range(4):
        assert np.array_equal(replay(tmp_path / "a.cellsam", n).labels, after(ACTIONS[:n]))


def test_steps_of_one_group_stay_together_also_when_the_journal_is_continued(tmp_path):
    path, group = tmp_path / "a.cellsam", object()

    def with_group(action, group):
        return Action(action.title, action.edits, action.changes, group)

    write(path, [with_group(ACTIONS[0], group), with_group(ACTIONS[1], group)])
    write(path, [with_group(ACTIONS[2], object())])
    groups = [action.group for _, action in replay(path).steps]
    assert groups[0] is groups[1]
    assert groups[2] is not groups[0]


def test_verified_regions_and_reviewed_cells_are_there_again(tmp_path):
    mark = Mark.of((), (2, 3), np.ones((4, 5), bool), verified=True)
    write(tmp_path / "a.cellsam", [cell(1, 0, 0, reviewed=True), Action("verify", marks=(mark,))])
    replayed = replay(tmp_path / "a.cellsam")
    assert np.count_nonzero(replayed.verified) == 20
    assert replayed.verified[2:6, 3:8].all()
    assert replayed.cells[(), 1].reviewed


def test_a_plane_of_a_stack_is_told_from_the_others(tmp_path):
    edit = CropEdit(
        (1, 0), np.array([2], np.int32), np.array([3], np.int32), np.zeros(1, np.uint32), np.array([9], np.uint32)
    )
    write(tmp_path / "a.cellsam", [Action("dot", (edit,))], Opening(name="stack", shape=(2, 2, 5, 6), dtype="uint16"))
    labels = replay(tmp_path / "a.cellsam").labels
    assert labels.dtype == np.uint16
    assert labels[1, 0, 2, 3] == 9
    assert np.count_nonzero(labels) == 1


@given(
    before=nps.arrays(np.uint32, (5, 6), elements=st.integers(0, 3)),
    now=nps.arrays(np.uint32, (5, 6), elements=st.integers(0, 3)),
)
@settings(deadline=None, max_examples=60)
def test_any_edit_comes_back_as_it_was(tmp_path_factory, before, now):
    path = tmp_path_factory.mktemp("journal") / "a.cellsam"
    edits = [
        edit for edit in (edit_between((), (0, 0), before * 0, before), edit_between((), (0, 0), before, now)) if edit
    ]
    write(path, [Action("any", tuple(edits))], Opening(name="small", shape=(5, 6), dtype="uint32"))
    assert np.array_equal(replay(path).labels, now)


def test_a_file_cut_at_any_byte_gives_all_steps_that_were_whole(tmp_path):
    path, cut = tmp_path / "a.cellsam", tmp_path / "cut.cellsam"
    write(path)
    data = path.read_bytes()
    seen = set()
    for length in range(len(data) + 1):
        cut.write_bytes(data[:length])
        summary = summarize(cut)
        if summary is None:
            assert length < len(data) / 2
            continue
        assert np.array_equal(replay(cut).labels, after(ACTIONS[: summary.n_steps]))
        assert summary.n_bytes <= length
        seen.add(summary.n_steps)
    assert seen == {0, 1, 2, 3}


def test_a_file_cut_at_any_byte_is_continued_without_loss(tmp_path):
    path, cut = tmp_path / "a.cellsam", tmp_path / "cut.cellsam"
    write(path)
    data = path.read_bytes()
    for length in range(0, len(data) + 1, 3):
        cut.write_bytes(data[:length])
        summary = summarize(cut)
        write(cut, [cell(9, 0, 12)])
        n_steps = 0 if summary is None else summary.n_steps
        assert np.array_equal(replay(cut).labels, after([*ACTIONS[:n_steps], cell(9, 0, 12)]))
        if summary is not None and summary.n_bytes < length:
            aside = cut.with_name(f"{cut.name}.cut-off-{summary.n_bytes}")
            assert aside.read_bytes() == data[summary.n_bytes : length]
        cut.unlink()


def test_a_flipped_bit_ends_the_journal_before_its_step(tmp_path):
    path, broken = tmp_path / "a.cellsam", tmp_path / "broken.cellsam"
    write(path)
    data = path.read_bytes()
    for at in range(len(MAGIC), len(data)):
        broken.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        summary = summarize(broken)
        n_steps = 0 if summary is None else summary.n_steps
        assert n_steps < len(ACTIONS)
        if summary is not None:
            assert np.array_equal(replay(broken).labels, after(ACTIONS[:n_steps]))


def test_another_file_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "a.cellsam"
    path.write_bytes(b"something else entirely")
    with pytest.raises(JournalError, match="no journal"):
        replay(path)
    with pytest.raises(JournalError, match="no journal"):
        JournalWriter(path, OPENING)
    assert path.read_bytes() == b"something else entirely"


def test_the_journal_of_another_image_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "a.cellsam"
    write(path)
    data = path.read_bytes()
    with pytest.raises(JournalError, match=r"shape \(12, 16\)"):
        JournalWriter(path, Opening(name="other", shape=(5, 5), dtype="uint32"))
    assert path.read_bytes() == data


def test_a_journal_of_a_newer_program_is_refused(tmp_path):
    path = tmp_path / "a.cellsam"
    newer = Opening(format=99, program="napari-cellsam 99", name="x", shape=SHAPE, dtype="uint32", begun=0.0)
    path.write_bytes(MAGIC + frame_of(newer, 0)[0])
    with pytest.raises(JournalError, match="written by napari-cellsam 99"):
        replay(path)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((5,), "uint32"), ((0, 4), "uint32"), ((4, 4), "float32"), ((4, 4), "no")]
)
def test_labels_that_cannot_be_are_refused(tmp_path, shape, dtype):
    path = tmp_path / "a.cellsam"
    write(path, [], Opening(name="x", shape=shape, dtype=dtype))
    with pytest.raises(JournalError, match="labels of"):
        replay(path)


@pytest.mark.parametrize("at", [(50, 0), (0, 50), (-1, 0)])
def test_a_step_beyond_the_image_is_refused(tmp_path, at):
    row, column = (np.array([n], np.int32) for n in at)
    edit = CropEdit((), row, column, np.zeros(1, np.uint32), np.ones(1, np.uint32))
    write(tmp_path / "a.cellsam", [Action("far", (edit,))])
    with pytest.raises(JournalError, match="does not fit"):
        replay(tmp_path / "a.cellsam")


def test_two_writers_at_once_are_refused(tmp_path):
    path = tmp_path / "a.cellsam"
    first = JournalWriter(path, OPENING)
    with pytest.raises(JournalError, match="another window"):
        JournalWriter(path, OPENING)
    first.close()
    JournalWriter(path, OPENING).close()


def test_a_file_that_is_not_there_cannot_be_replayed(tmp_path):
    with pytest.raises(JournalError, match="cannot be read"):
        replay(tmp_path / "none.cellsam")


def test_a_place_that_is_no_folder_is_told(tmp_path):
    (tmp_path / "no").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        JournalWriter(tmp_path / "no" / "a.cellsam", OPENING)


def test_what_a_full_disk_refuses_is_written_when_there_is_room(tmp_path, monkeypatch):
    path, troubles, full = tmp_path / "a.cellsam", [], threading.Event()
    heard = threading.Event()
    sync = os.fsync

    def refuse(fd):
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(fd)

    def trouble(error):
        troubles.append(error)
        heard.set()

    monkeypatch.setattr(journal_writer.os, "fsync", refuse)
    monkeypatch.setattr(journal_writer, "_RETRY_S", 0.01)
    writer = JournalWriter(path, OPENING, trouble)
    writer.add("do", ACTIONS[0])
    assert writer.flush()
    full.set()
    writer.add("do", ACTIONS[1])
    assert heard.wait(20)
    assert not writer.flush(0.1)
    writer.add("do", ACTIONS[2])
    full.clear()
    assert writer.close()
    assert np.array_equal(replay(path).labels, after(ACTIONS))
    assert isinstance(troubles[0], OutputError)
    assert "No space left" in str(troubles[0])
    assert troubles[1:] == [None]


KILLED = """
import sys
from pathlib import Path
from tests.editing.test_journal import ACTIONS, OPENING, cell
from napari_cellsam.editing.journal_writer import JournalWriter
writer = JournalWriter(Path(sys.argv[1]), OPENING)
for n in range(1, 400):
    writer.add("do", cell(n, n % 9, n % 13))
    if n % 7 == 0:
        writer.flush()
        print(n, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("n_lines", [1, 3, 10])
def test_after_a_kill_everything_that_was_flushed_is_there(tmp_path, n_lines):
    path = tmp_path / "a.cellsam"
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as child:
        flushed = [int(child.stdout.readline()) for _ in range(n_lines)]
        child.kill()
    summary = summarize(path)
    assert summary.n_steps >= flushed[-1]
    writer = JournalWriter(path, OPENING)  # the lock of a dead process holds nobody up
    writer.close()
    assert len(list(read_steps(path))) == summary.n_steps
