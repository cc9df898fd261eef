"""Exporting from napari: all cells as files, while the work goes on."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from tests.widgets.conftest import discs

from napari_cellsam.errors import OptionError
from napari_cellsam.export.formats import FORMATS, export_cells, read_cells
from napari_cellsam.widgets import _exporting
from napari_cellsam.widgets._exporting import DEFAULT_FORMATS
from napari_cellsam.widgets._looking import NoImageError


@pytest.fixture
def found(session):
    session.automatic.run()
    session.settle()
    return session


def test_all_default_formats_are_written_and_the_labels_come_back(found, tmp_path):
    found.exporting.run(tmp_path / "out")
    found.settle()
    assert found.exporting.folder == tmp_path / "out"
    assert len(list((tmp_path / "out").iterdir())) == len(DEFAULT_FORMATS)
    for name in ("tiff", "coco", "geojson", "imagej"):
        entry = FORMATS[name]
        cells = read_cells(entry.path(tmp_path / "out", "discs"), shape=(100, 110))
        assert np.array_equal(cells.labels > 0, np.asarray(found.target.layer.data) > 0)


def test_origins_and_scores_are_in_the_table(found, tmp_path):
    found.exporting.run(tmp_path / "out", ["csv"])
    found.settle()
    text = FORMATS["csv"].path(tmp_path / "out", "discs").read_text()
    assert text.count("automatic") == 4


@pytest.mark.parametrize("name", ["\N{GREEK SMALL LETTER MU}m: 1/2 <day>", "\N{CJK UNIFIED IDEOGRAPH-7D30}" * 120])
def test_files_of_any_layer_have_a_name_that_any_system_takes(viewer, make_session, tmp_path, name):
    viewer.add_image(discs(), name=name)
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run()
    session.settle()
    session.exporting.run(tmp_path / "out", ["tiff"])
    session.settle()
    (written,) = (tmp_path / "out").iterdir()
    assert len(written.name.encode()) < 255
    assert not set(written.name) & set('<>:"/\\|?*')


def test_a_second_export_goes_beside_the_first(viewer, make_session, tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "day 1.tif", discs())
    viewer.open(tmp_path / "day 1.tif", plugin="napari")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run()
    session.settle()
    for name in ("day 1 cells", "day 1 cells 2"):
        session.exporting.run(formats=["tiff"])
        session.settle()
        assert (tmp_path / name / "day 1_labels.tif").is_file()


def test_files_that_are_there_are_not_replaced(found, tmp_path):
    (tmp_path / "discs_labels.tif").write_text("precious")
    found.exporting.run(tmp_path, ["tiff"])
    found.settle()
    assert (tmp_path / "discs_labels.tif").read_text() == "precious"
    assert "exists already" in found.heard[-1]


@pytest.mark.parametrize(("first", "expected"), [("time", "T"), ("", "Z")])
def test_a_stack_is_one_file_where_the_format_has_stacks(viewer, make_session, tmp_path, first, expected):
    viewer.add_image(np.stack([discs(), discs(centres=((50, 50),))]), name="stack", axis_labels=(first, "y", "x"))
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run(planes=session.planes())
    session.settle()
    session.exporting.run(tmp_path / "out", ["tiff", "png"])
    session.settle()
    cells = read_cells(tmp_path / "out" / "stack_labels.tif")
    assert (cells.labels.shape, cells.axis) == ((2, 100, 110), expected)
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def test_without_cells_there_is_nothing_to_export(session):
    with pytest.raises(NoImageError, match="no cells to export"):
        session.exporting.run()


def test_a_format_that_does_not_exist_is_refused_before_anything_is_written(found, tmp_path):
    with pytest.raises(OptionError, match="does not exist"):
        found.exporting.run(tmp_path / "out", ["paper"])
    assert not (tmp_path / "out").exists()


def test_an_image_without_a_file_is_exported_to_the_home_folder(found, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert found.exporting.suggestion == tmp_path / "discs cells"


def test_an_export_that_is_cancelled_says_how_many_files_there_are(found, tmp_path, monkeypatch):
    begun, release = threading.Event(), threading.Event()

    def slowly(cells, folder, names):
        for number, written in enumerate(export_cells(cells, folder, names), start=1):
            if number == 2:
                begun.set()
                assert release.wait(20)
            yield written

    monkeypatch.setattr(_exporting, "export_cells", slowly)
    found.exporting.run(tmp_path / "out", ["tiff", "csv", "coco"])
    assert begun.wait(20)
    found.cancel()
    release.set()
    found.settle()
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert "cancelled after 2 files" in found.heard[-1]
    assert not found.exporting.running


def test_without_a_format_nothing_is_exported_and_the_user_is_told(found, tmp_path):
    with pytest.raises(OptionError, match="tick a format first"):
        found.exporting.run(tmp_path / "out", [])
    assert not found.exporting.running
    assert found.exporting.folder is None


def test_what_a_long_stack_is_exported_without_is_told(viewer, make_session, monkeypatch, tmp_path):
    monkeypatch.setattr(_exporting, "_MOST_PLANES_WITH_IMAGES", 1)
    viewer.add_image(np.stack([discs()] * 2), name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run()
    session.settle()
    session.exporting.run(tmp_path / "out", ["tiff", "csv", "png"])
    session.settle()
    told = session.heard[-1]
    assert "no pictures" in told
    assert "not written: overlay PNG; without pictures and intensities: CSV of measurements" in told
    session.exporting.run(tmp_path / "more", ["coco"])
    session.settle()
    assert session.heard[-1].endswith("more.")
    with pytest.raises(OptionError, match="needs none"):
        session.exporting.run(tmp_path / "none", ["png"])
