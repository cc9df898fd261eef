"""The features: what the labels layer knows of its cells, made aside, and colours for everybody's eyes."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.widgets.conftest import HANG_MS

from napari_cellsam.editing.records import CellRecord, RecordChange
from napari_cellsam.widgets import _features
from napari_cellsam.widgets._features import COLOURINGS, Features, colours_of, legend_of, table_of

RECORDS = (
    CellRecord(2, (1,), "prompted", None, 0.8),
    CellRecord(1, (0,), "automatic", 0.9, 0.7),
    CellRecord(3, (1,), "manual"),
)
N_MANY = 10_000


@pytest.fixture
def features(session, qtbot):
    made = Features(session)
    made.settle = lambda: qtbot.waitUntil(lambda: not made.waiting, timeout=HANG_MS)
    yield made
    made.close()


def click(session, y, x):
    session.prompting.click(y, x)
    session.settle()


def test_a_table_has_a_row_for_each_cell_in_order_of_number():
    table = table_of(RECORDS)
    assert table["index"] == [1, 2, 3]
    assert table["plane"] == ["0", "1", "1"]
    assert table["origin"] == ["automatic", "prompted", "manual"]
    assert np.array_equal(table["detector_score"], [0.9, np.nan, np.nan], equal_nan=True)


def test_cells_have_the_colour_of_their_origin():
    colours = colours_of(RECORDS, "origin").color_dict
    assert len({tuple(colours[label]) for label in (1, 2, 3)}) == 3
    assert tuple(colours[0]) == (0, 0, 0, 0)


def test_what_was_reviewed_has_another_colour():
    records = [CellRecord(1, reviewed=True), CellRecord(2), CellRecord(3, (), "automatic", 0.9)]
    colours = colours_of(records, "reviewed").color_dict
    assert tuple(colours[2]) == tuple(colours[3]) != tuple(colours[1])
    assert "accepted" in legend_of("reviewed")


def test_scores_have_colours_between_two_that_everybody_tells_apart():
    records = [CellRecord(i, (), "automatic", s) for i, s in enumerate((0.0, 0.5, 1.0), start=1)]
    records.append(CellRecord(4, (), "manual"))
    colours = colours_of(records, "detector_score").color_dict
    assert colours[1][0] > 0.8 and colours[1][2] < 0.05  # vermilion
    assert colours[3][2] > 0.6 and colours[3][0] < 0.05  # blue
    assert np.ptp(colours[4][:3]) < 0.01  # grey
    assert colours[2].sum() > max(colours[1].sum(), colours[3].sum())  # a light middle


def test_few_colours_are_used_for_many_scores():
    records = [CellRecord(i, (), "automatic", i / 5000) for i in range(1, 5001)]
    colours = colours_of(records, "detector_score").color_dict
    assert len({tuple(colour) for colour in colours.values()}) <= 66


@pytest.mark.parametrize("by", COLOURINGS)
def test_every_colouring_has_a_legend_unless_each_cell_has_its_own(by):
    assert ("■" in legend_of(by)) == (by != "label")


def test_the_layer_knows_its_cells_a_moment_later(session, features):
    click(session, 20, 20)
    features.settle()
    table = session.target.layer.features
    assert table["origin"].tolist() == ["prompted"]
    assert table["predicted_iou"].tolist() == [0.8]
    session.undo()
    session.settle()
    features.settle()
    assert len(session.target.layer.features) == 0


def test_nothing_is_done_when_no_cell_has_changed(session, features):
    click(session, 20, 20)
    features.settle()
    shown = []
    features.changed.connect(lambda: shown.append(1))
    session.changed.emit()
    features.settle()
    assert shown == []


def test_columns_of_someone_else_stay(session, features):
    click(session, 20, 20)
    features.settle()
    layer = session.target.layer
    layer.features = pd.DataFrame({"index": [1], "area": [149.0]})
    click(session, 20, 60)
    features.settle()
    assert layer.features["index"].tolist() == [1, 2]
    assert layer.features["area"].tolist()[0] == 149.0
    assert layer.features["origin"].tolist() == ["prompted", "prompted"]


def test_rows_of_the_users_own_layer_stay(session, features):
    table = pd.DataFrame({"index": [7, 9], "treated": [True, False]})
    own = session.viewer.add_labels(np.zeros((100, 110), np.uint32), name="mine", features=table)
    session.viewer.layers.selection.active = session.viewer.layers["discs"]
    session.use_labels(own)
    session.settle()
    click(session, 20, 20)
    features.settle()
    assert own.features["index"].tolist()[-2:] == [7, 9]
    assert own.features["treated"].tolist()[-2:] == [True, False]


def test_colours_come_and_go(session, features):
    click(session, 20, 20)
    features.settle()
    layer = session.target.layer
    before = layer.get_color(1)
    features.colour_by("origin")
    features.settle()
    assert np.allclose(layer.get_color(1), np.array([0xE6, 0x9F, 0, 255]) / 255, atol=0.01)
    features.colour_by("label")
    features.settle()
    assert np.allclose(layer.get_color(1), before)


def test_a_new_cell_has_its_colour_a_moment_later(session, features):
    click(session, 20, 20)
    features.colour_by("origin")
    features.settle()
    click(session, 20, 60)
    features.settle()
    assert np.allclose(session.target.layer.get_color(2), session.target.layer.get_color(1))


def test_one_slow_colouring_delays_nothing_and_two_leave_the_window_its_time(session, features, qtbot, monkeypatch):
    click(session, 20, 20)
    features.settle()
    features._took_ms.clear()
    clock = iter([0.0, 2.0, 10.0, 12.0, 20.0, 20.01])
    monkeypatch.setattr(_features, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    intervals_ms = []
    for by in ("origin", "reviewed", "origin"):
        features.colour_by(by)
        qtbot.waitUntil(lambda: not features._jobs.n_running, timeout=HANG_MS)
        intervals_ms.append(features._timer.interval())
    assert intervals_ms[0] == intervals_ms[2] < 1000 < 20_000 < intervals_ms[1]


def test_cancelling_what_the_session_does_loses_no_features(session, features):
    click(session, 20, 20)
    session.cancel()
    features.settle()
    assert len(session.target.layer.features) == 1


def known_to(features):
    """Return the layers that something is kept of."""
    return {*features._shown, *features._columns, *features._own_colours}


def test_of_a_closed_layer_nothing_is_kept(session, features):
    features.colour_by("origin")
    click(session, 20, 20)
    features.settle()
    layer = session.target.layer
    assert known_to(features) == {layer.unique_id}
    session.viewer.layers.remove(layer)
    features.settle()
    assert known_to(features) == set()


def test_of_a_layer_that_is_closed_while_its_table_is_made_nothing_is_kept(session, features, qtbot):
    click(session, 20, 20)
    features.colour_by("origin")
    assert features._jobs.n_running
    session.viewer.layers.remove(session.target.layer)
    features.settle()
    assert known_to(features) == set()


def test_the_table_and_the_colours_of_ten_thousand_cells_are_made_in_another_thread(
    session, features, qtbot, monkeypatch
):
    rng, threads = np.random.default_rng(0), []
    for name in ("table_of", "colours_of"):
        real = getattr(_features, name)
        monkeypatch.setattr(
            _features, name, lambda *args, real=real: (threads.append(threading.get_ident()), real(*args))[1]
        )
    session.cells.apply(
        RecordChange(None, CellRecord(i, (), "automatic", float(score), float(score)))
        for i, score in enumerate(rng.random(N_MANY), start=1)
    )
    features.colour_by("detector_score")
    qtbot.waitUntil(lambda: len(session.target.layer.features) == N_MANY, timeout=HANG_MS)
    assert len(threads) >= 2 and threading.get_ident() not in threads
