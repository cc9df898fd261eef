"""The command ``replay``: cells from a journal, without napari."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.cli import main
from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import edit_between
from napari_cellsam.editing.journal_format import Opening
from napari_cellsam.editing.journal_writer import JournalWriter
from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.export.formats import FORMATS, read_cells


def ended(code, arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    assert exit_.value.code == code


def square(label, plane=()):
    nothing = np.zeros((4, 4), np.uint32)
    edit = edit_between(plane, (label, 2 * label), nothing, nothing + label)
    record = CellRecord(label, plane, "prompted", None, 0.5)
    return Action(f"click {label}", (edit,), (RecordChange(None, record),))


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "day 1.tif.cellsam"
    writer = JournalWriter(path, Opening(name="day 1.tif", shape=(20, 30), dtype="uint32", pixel_size_um=(0.5, 0.5)))
    for label in (1, 5):
        writer.add("do", square(label))
    writer.close()
    return path


def test_a_journal_becomes_a_label_image(journal, tmp_path, capsys):
    ended(0, ["replay", journal, "-o", tmp_path / "out"])
    assert "2 steps, 2 cells" in capsys.readouterr().out
    cells = read_cells(tmp_path / "out" / "day 1_labels.tif")
    assert np.unique(cells.labels).tolist() == [0, 1, 5]
    assert cells.pixel_size_um == pytest.approx((0.5, 0.5))


def test_an_ending_of_two_parts_is_no_part_of_the_name(tmp_path):
    writer = JournalWriter(tmp_path / "s.cellsam", Opening(name="s.ome.tif", shape=(20, 30), dtype="uint32"))
    writer.add("do", square(1))
    writer.close()
    ended(0, ["replay", tmp_path / "s.cellsam", "-o", tmp_path / "out"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["s_labels.tif"]


def test_any_format_of_the_export_can_be_had(journal, tmp_path):
    ended(0, ["replay", journal, "-o", tmp_path, "-f", "coco", "-f", "csv"])
    assert np.unique(read_cells(tmp_path / "day 1_coco.json").labels).tolist() == [0, 1, 5]
    assert "prompted" in FORMATS["csv"].path(tmp_path, "day 1").read_text()


def test_only_the_first_steps_are_done_if_wanted(journal, tmp_path):
    ended(0, ["replay", journal, "-o", tmp_path, "--steps", 1])
    assert np.unique(read_cells(tmp_path / "day 1_labels.tif").labels).tolist() == [0, 1]


def test_more_steps_than_there_are_is_told(journal, tmp_path, capsys):
    ended(0, ["replay", journal, "-o", tmp_path, "--steps", 40])
    assert "has only 2 steps" in capsys.readouterr().err


def test_the_steps_are_listed(journal, capsys):
    ended(0, ["replay", journal, "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == ["click 1", "click 5"]


def test_a_journal_that_was_cut_off_is_used_as_far_as_it_goes(journal, tmp_path, capsys):
    journal.write_bytes(journal.read_bytes()[:-3])
    ended(0, ["replay", journal, "-o", tmp_path])
    assert "never finished" in capsys.readouterr().err
    assert np.unique(read_cells(tmp_path / "day 1_labels.tif").labels).tolist() == [0, 1]


def test_a_stack_becomes_a_stack(tmp_path):
    path = tmp_path / "stack.cellsam"
    writer = JournalWriter(path, Opening(name="stack", shape=(3, 20, 30), dtype="uint32"))
    writer.add("do", square(2, (1,)))
    writer.close()
    ended(0, ["replay", path, "-o", tmp_path])
    labels = read_cells(tmp_path / "stack_labels.tif").labels
    assert labels.shape == (3, 20, 30)
    assert labels[1].any()
    assert not labels[0].any()


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_what_is_no_journal_is_told_in_one_line(tmp_path, content, capsys):
    path = tmp_path / "x.cellsam"
    if content is not None:
        path.write_bytes(content)
    ended(1, ["replay", path, "-o", tmp_path])
    assert capsys.readouterr().err.count("\n") == 1


def test_a_format_that_does_not_exist_is_a_wrong_command(journal, tmp_path):
    ended(2, ["replay", journal, "-o", tmp_path, "-f", "paper"])


def test_a_file_that_is_there_is_replaced_only_if_wanted(journal, tmp_path):
    ended(0, ["replay", journal, "-o", tmp_path])
    ended(1, ["replay", journal, "-o", tmp_path])
    ended(0, ["replay", journal, "-o", tmp_path, "--overwrite"])
