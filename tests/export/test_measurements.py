"""The table of measurements has one column for each channel, whatever it is called."""

import numpy as np
import pytest

from napari_cellsam.export import measurements
from napari_cellsam.export.cell_set import CellSet
from napari_cellsam.export.formats import export_cells
from napari_cellsam.export.measurements import tabulate
from napari_cellsam.types import Image


def _image(names):
    return Image(np.full((2, 3, len(names)), (10, 20)[: len(names)], np.uint8), cell=0, channel_names=names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("DAPI", "CD45"), {"DAPI": 10, "CD45": 20}), (("DAPI", "DAPI"), {"DAPI_0": 10, "DAPI_1": 20})],
)
def test_channels_of_one_name_have_a_column_each(names, expected):
    table = tabulate(CellSet.from_array(np.ones((2, 3), int), images=(_image(names),)))
    assert {name: table[f"mean_intensity_{name}"] for name in expected} == {k: [v] for k, v in expected.items()}


def test_a_channel_without_a_name_is_called_by_its_role():
    image = Image(np.full((2, 3, 2), (10, 20), np.uint8), nuclear=1, cell=0)
    table = tabulate(CellSet.from_array(np.ones((2, 3), int), images=(image,)))
    assert (table["mean_intensity_cell"], table["mean_intensity_nuclear"]) == ([10], [20])


def test_planes_with_other_channels_have_rows_of_equal_length():
    images = (_image(("DAPI",)), _image(("CD45", "DAPI")), _image(("CD45",)))
    table = tabulate(CellSet.from_array(np.ones((3, 2, 3), int), images=images))
    assert table["plane"] == [0, 1, 2]
    assert table["mean_intensity_DAPI"] == [10, 20, None]
    assert table["mean_intensity_CD45"] == [None, 10, 10]


def test_cells_are_measured_once_for_all_tables_of_them(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(measurements, "tabulate", lambda cells: measured.append(cells) or tabulate(cells))
    both = [CellSet.from_array(np.ones((2, 3), int), name=name) for name in ("a", "b")]
    for cells in both:
        list(export_cells(cells, tmp_path, ["csv", "parquet"]))
    assert measured == both
