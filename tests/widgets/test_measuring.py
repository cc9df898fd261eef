"""Measuring in napari: in another thread, into the features, and nothing that is not true any more."""

from __future__ import annotations

import csv
import threading

import numpy as np
import pytest
from tests.widgets.conftest import DISCS, HANG_MS, discs

from napari_cellsam.errors import OutputError
from napari_cellsam.widgets import _measuring
from napari_cellsam.widgets._features import Features
from napari_cellsam.widgets._looking import NoImageError
from napari_cellsam.widgets._measured import Measurements
from napari_cellsam.widgets._measuring import Measuring

AREA = int((discs() > 0).sum() / len(DISCS))


@pytest.fixture
def make_measuring(qtbot):
    made = []

    def make(session):
        measuring = Measuring(session, session._place.ledgers)
        measuring.changed.connect(session.changed.emit)
        made.append(measuring)
        return measuring

    yield make
    for measuring in made:
        measuring.close()


@pytest.fixture
def measuring(session, make_measuring):
    """Return the measuring of a session that has found four discs."""
    made = make_measuring(session)
    session.automatic.run()
    session.settle()
    return made


@pytest.fixture
def measured(session, measuring):
    measuring.run()
    session.settle()
    return measuring


@pytest.fixture
def features(session, measuring, qtbot):
    made = Features(session, lambda: measuring.current)
    made.settle = lambda: qtbot.waitUntil(lambda: not made.waiting, timeout=HANG_MS)
    yield made
    made.close()


@pytest.fixture
def held(monkeypatch):
    """Let measuring begin with a plane, and go on when the gate is open."""
    gate, begun, real = threading.Event(), threading.Event(), _measuring.measure_cells

    def measure(*args):
        begun.set()
        assert gate.wait(HANG_MS / 1000)
        return real(*args)

    monkeypatch.setattr(_measuring, "measure_cells", measure)
    gate.begun = begun
    yield gate
    gate.set()


def column(measuring, name):
    keys = sorted(measuring.current.rows)
    return dict(zip(keys, measuring.current.columns_of(keys)[name], strict=True))


def test_every_cell_is_measured_and_the_user_is_told(session, measured):
    assert column(measured, "area_px") == {((), label): AREA for label in (1, 2, 3, 4)}
    assert column(measured, "mean_intensity_cell") == {((), label): 200 for label in (1, 2, 3, 4)}
    assert session.heard[-1].startswith("4 cells were measured")


def test_measurements_are_columns_of_the_features(session, measured, features):
    features._show()
    features.settle()
    table = session.target.layer.features
    assert table["area_px"].tolist() == [AREA] * 4
    assert table["origin"].tolist() == ["automatic"] * 4
    assert {"centroid_y", "solidity", "max_intensity_cell"} <= set(table.columns)


def test_they_stay_when_the_features_are_made_anew(session, measured, features):
    features._show()
    features.settle()
    session.review.start()
    session.settle()
    session.review.accept()
    session.settle()
    features._show()
    features.settle()
    table = session.target.layer.features
    assert table["area_px"].tolist() == [AREA] * 4
    assert table["reviewed"].sum() == 1


def test_columns_of_others_stay_beside_them(session, measured, features):
    layer = session.target.layer
    layer.features = {"index": [1, 2, 3, 4], "clone": ["a", "b", "c", "d"]}
    features._show()
    features.settle()
    assert layer.features["clone"].tolist() == ["a", "b", "c", "d"]
    assert layer.features["area_px"].tolist() == [AREA] * 4


def test_a_column_that_is_measured_no_more_goes(session, measured, features):
    features._show()
    features.settle()
    measured._measured[session.target.layer.unique_id] = Measurements(("area_px",), {((), 1): (5.0,)})
    features._show()
    features.settle()
    assert "solidity" not in session.target.layer.features.columns
    assert session.target.layer.features["area_px"].tolist()[0] == 5


def test_a_cell_that_changes_is_measured_no_more_and_the_others_are(session, measured):
    y, x = DISCS[0]
    label = session.target.at((), y, x)
    session.target.layer.paint((y, x), 0)
    assert set(measured.current.rows) == {((), other) for other in {1, 2, 3, 4} - {label}}


def test_a_cell_that_is_deleted_has_no_row_even_when_that_is_undone(session, measured):
    session.prompting.delete(*DISCS[1])
    session.settle()
    assert len(measured.current.rows) == 3
    session.undo()
    session.settle()
    assert len(measured.current.rows) == 3


def test_undoing_the_run_forgets_all_of_it(session, measured):
    session.undo()
    session.settle()
    assert not measured.current.rows


def test_a_cell_that_changes_while_it_is_measured_is_left_out_and_that_is_said(session, measuring, held, qtbot):
    measuring.run()
    qtbot.waitUntil(held.begun.is_set, timeout=HANG_MS)
    session.target.layer.paint(DISCS[0], 0)
    held.set()
    session.settle()
    assert len(measuring.current.rows) == 3
    assert session.heard[-1].endswith("1 changed meanwhile: measure again to have them too.")


def test_other_data_in_the_layer_forgets_everything(session, measured):
    session.target.layer.data = np.zeros((100, 110), np.uint32)
    assert not measured.current.rows


def test_other_data_in_the_middle_ends_the_measuring(session, measuring, held, qtbot):
    measuring.run()
    qtbot.waitUntil(held.begun.is_set, timeout=HANG_MS)
    session.target.layer.data = np.zeros((100, 110), np.uint32)
    assert not measuring.running
    assert measuring.current is None


def test_cancelling_keeps_what_was_measured_before(session, measured, held, qtbot):
    before = measured.current
    measured.run()
    qtbot.waitUntil(held.begun.is_set, timeout=HANG_MS)
    assert measured.running
    measured.cancel()
    assert not measured.running
    assert measured.current is before


def test_cancelling_ends_the_thread_between_two_cells(session, measuring, held, qtbot):
    measuring.run()
    qtbot.waitUntil(held.begun.is_set, timeout=HANG_MS)
    session.cancel()
    held.set()
    qtbot.waitUntil(
        lambda: not any(thread.name == "napari-cellsam measure" for thread in threading.enumerate()), timeout=HANG_MS
    )
    assert measuring.current is None


def test_all_planes_of_a_stack_are_measured_with_progress(viewer, make_session, make_measuring):
    viewer.add_image(np.stack([discs(), discs(centres=()), discs(centres=((50, 50),))]), name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    measuring = make_measuring(session)
    session.automatic.run(planes=session.planes())
    session.settle()
    shares = []
    measuring.changed.connect(lambda: shares.append(measuring.share))
    measuring.run()
    session.settle()
    assert sorted(plane for plane, _ in measuring.current.rows) == [(0,)] * 4 + [(2,)]
    assert shares == sorted(shares) and shares[-1] == 1
    assert len(set(shares)) >= 4


def test_cells_of_a_layer_that_the_user_chose_are_measured_without_having_been_touched(
    viewer, make_session, make_measuring, qtbot
):
    viewer.add_image(discs(), name="discs")
    session = make_session(viewer)
    session.start()
    session.settle()
    theirs = viewer.add_labels((discs() > 0).astype(np.uint8) * 9, name="theirs")
    measuring = make_measuring(session)
    session.use_labels(theirs)
    session.settle()
    measuring.run()
    session.settle()
    assert column(measuring, "area_px") == {((), 9): 4 * AREA}
    features = Features(session, lambda: measuring.current)
    features._show()
    qtbot.waitUntil(lambda: not features.waiting, timeout=HANG_MS)
    assert theirs.features["origin"].tolist() == ["manual"]
    features.close()


def test_micrometres_are_those_of_the_layer(viewer, make_session, make_measuring):
    viewer.add_image(discs(), name="discs", scale=(0.5, 0.5), units=("um", "um"))
    session = make_session(viewer)
    session.start()
    session.settle()
    measuring = make_measuring(session)
    session.automatic.run()
    session.settle()
    measuring.run()
    session.settle()
    assert set(column(measuring, "area_um2").values()) == {AREA / 4}


def test_each_labels_layer_has_its_own_measurements(session, measured):
    before = measured.current
    first = session.target.layer
    session.use_new_labels()
    assert measured.current is None
    session.use_labels(first)
    assert measured.current is before


def test_a_layer_that_is_removed_takes_its_measurements_along(session, measured, viewer):
    viewer.layers.remove(session.target.layer)
    assert measured.current is None
    assert not measured._measured


def test_without_cells_there_is_nothing_to_measure(session, make_measuring):
    with pytest.raises(NoImageError, match="no cells to measure yet"):
        make_measuring(session).run()


def test_a_picture_that_cannot_be_read_is_told(session, measuring, viewer):
    class Broken:
        shape, dtype, ndim, gone = (100, 110), np.dtype(np.uint8), 2, False

        def __getitem__(self, index):
            if self.gone:
                raise OSError("the disk is gone")
            return discs()[index]

        def __array__(self, *args, **kwargs):
            return np.zeros(self.shape, self.dtype)

    viewer.layers["discs"].data = picture = Broken()
    picture.gone = True
    measuring.run()
    session.settle()
    assert "the disk is gone" in session.heard[-1]
    assert measuring.current is None


def test_the_table_is_saved_with_what_is_known_of_the_cells(session, measured, tmp_path):
    measured.save(tmp_path / "cells.csv")
    session.settle()
    with (tmp_path / "cells.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["1", "2", "3", "4"]
    assert {row["origin"] for row in rows} == {"automatic"}
    assert {float(row["area_px"]) for row in rows} == {AREA}
    assert "plane" not in rows[0]
    assert session.heard[-1] == f"The measurements were saved as {tmp_path / 'cells.csv'}."


def test_what_is_not_known_is_empty_in_the_table(session, measured, tmp_path):
    session.target.layer.paint(DISCS[0], 0)
    measured.save(tmp_path / "cells.csv")
    session.settle()
    with (tmp_path / "cells.csv").open(encoding="utf-8") as file:
        assert sum(row["area_px"] == "" for row in csv.DictReader(file)) == 1


def test_a_table_that_is_there_is_not_replaced_unless_asked(session, measured, tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("precious")
    measured.save(path)
    session.settle()
    assert path.read_text() == "precious"
    assert "exists already" in session.heard[-1]
    measured.save(path, overwrite=True)
    session.settle()
    assert path.read_text().startswith("label,")


def test_nothing_is_saved_before_anything_was_measured(measuring, tmp_path):
    with pytest.raises(OutputError, match="measure the cells first"):
        measuring.save(tmp_path / "cells.csv")


def test_cells_are_measured_in_another_thread(session, measuring, monkeypatch):
    threads, real = [], _measuring.measure_cells
    monkeypatch.setattr(
        _measuring, "measure_cells", lambda *args: (threads.append(threading.get_ident()), real(*args))[1]
    )
    measuring.run()
    session.settle()
    assert len(threads) == 1 and threading.get_ident() not in threads
