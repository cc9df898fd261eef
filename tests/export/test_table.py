"""The table has one row per cell."""

import csv

import numpy as np
import pytest

from napari_cellsam.errors import OptionError, OutputError
from napari_cellsam.export.cell_set import CellFacts
from napari_cellsam.export.table import COLUMNS, read_facts, read_scores, write_table
from napari_cellsam.types import Segmentation

LABELS = np.array([[1, 1, 0, 0], [1, 1, 0, 2], [0, 0, 0, 2]], np.uint32)
RESULT = Segmentation(
    LABELS,
    np.array([[0, 0, 1, 1], [1, 3, 2, 3]], np.float32),
    np.array([0.9, 0.5], np.float32),
    np.array([0.8, 0.7], np.float32),
)
EMPTY = Segmentation(np.zeros((2, 2), np.uint32), np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0))


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_cell_has_its_figures_in_pixels_and_micrometres(tmp_path):
    write_table(tmp_path / "a.csv", RESULT, pixel_size_um=(0.5, 0.25))
    rows = read_rows(tmp_path / "a.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [float(value) for value in rows[0].values()] == pytest.approx([1, 0, 0, 1, 1, 0.5, 0.5, 4, 0.5, 0.9, 0.8])
    assert [float(value) for value in rows[1].values()] == pytest.approx([2, 1, 3, 2, 3, 1.5, 3, 2, 0.25, 0.5, 0.7])


def test_without_a_pixel_size_the_area_in_micrometres_is_empty(tmp_path):
    write_table(tmp_path / "a.csv", RESULT)
    assert [row["area_um2"] for row in read_rows(tmp_path / "a.csv")] == ["", ""]


def test_without_cells_there_is_only_the_header(tmp_path):
    write_table(tmp_path / "a.csv", EMPTY)
    assert (tmp_path / "a.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert read_scores(tmp_path / "a.csv") == {}


def test_scores_are_read_back_by_label(tmp_path):
    write_table(tmp_path / "a.csv", RESULT)
    assert read_scores(tmp_path / "a.csv") == pytest.approx({1: 0.9, 2: 0.5})


def test_facts_are_read_back_by_label(tmp_path):
    write_table(tmp_path / "a.csv", RESULT)
    assert read_facts(tmp_path / "a.csv") == {1: CellFacts("automatic", 0.9, 0.8), 2: CellFacts("automatic", 0.5, 0.7)}


@pytest.mark.parametrize("text", ["label,score\n1,0.5\n", "label,score,predicted_iou\n1,0.5,\n"])
def test_a_table_need_not_say_all(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    assert read_facts(tmp_path / "a.csv") == {1: CellFacts("automatic", 0.5)}


def test_a_predicted_iou_beyond_one_says_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("label,score,predicted_iou\n1,0.5,1.02\n")
    assert read_facts(tmp_path / "a.csv") == {1: CellFacts("automatic", 0.5)}


@pytest.mark.parametrize("text", ["label,area\n1,2\n", "label,score\n1,high\n", "label,score\n1\n", "", "\x00"])
def test_a_table_without_scores_is_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(OptionError, match=r"a\.csv"):
        read_scores(tmp_path / "a.csv")


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(OptionError, match="cannot be read"):
        read_scores(tmp_path / "a.csv")


def test_a_table_that_is_there_already_is_kept(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(OutputError, match="exists already"):
        write_table(tmp_path / "a.csv", RESULT)
