"""The section of training: the set, the way of a training, its curve, and the choice of a model."""

from __future__ import annotations

import sys
import time

import pytest
from qtpy.QtWidgets import QApplication
from tests.widgets.conftest import HANG_MS, N_STEPS, long_curve, record_of

from napari_cellsam.types.finetuning import TrainingProgress
from napari_cellsam.widgets import _train_section


@pytest.fixture
def section(session, dock, tmp_path):
    """Return the open section of a session, one of whose cells is certain."""
    session.collecting.use(tmp_path / "my cells")
    session.automatic.run()
    session.settle()
    session.correcting.grow(20, 20)
    dock.sections["train"].set_open(True)
    session.settle()
    dock.refresh()
    return dock.sections["train"]


@pytest.fixture
def button(dock):
    def button(action_id):
        return dock.sections["train"]._buttons[action_id]

    return button


@pytest.fixture
def train(session, section, dock):
    """Return what trains a model, and waits for it."""

    def train():
        section._buttons["train_model"].click()
        session.settle()
        dock.refresh()

    return train


@pytest.fixture
def halfway(session, section, dock, client, qtbot):
    """Wait until a training is halfway."""
    client.train_release.clear()
    section._buttons["train_model"].click()
    qtbot.waitUntil(lambda: session.training.share == 0.5, timeout=HANG_MS)
    dock.refresh()


def test_the_set_is_named_and_counted_when_the_section_is_opened(session, section, dock, button):
    assert section.about.text() == "my cells: no pictures yet."
    button("add_to_training").click()
    session.settle()
    dock.refresh()
    assert section.about.text() == "my cells: 1 picture."
    session.collecting.n_added, session.collecting.n_held_out = 7, 2
    dock.refresh()
    assert section.about.text() == "my cells: 7 pictures, 2 held out to judge."


def test_pictures_of_an_earlier_day_are_counted(session, section, button, make_dock, dock):
    button("add_to_training").click()
    session.settle()
    folder = session.collecting.folder
    session.collecting.use(folder.parent / "none")
    session.settle()
    assert session.collecting.n_added == 0
    session.collecting.use(folder)
    session.settle()
    assert session.collecting.n_added == 1


def test_time_and_name_are_given_in_the_form(session, section, client, train):
    assert section.form.minutes.value() == 6
    assert section.form.name.placeholderText() == "my-cells-1"
    section.form.minutes.setValue(12)
    section.form.name.setText(" nuclei ")
    train()
    assert ("train", "nuclei", 1, 0, 12.0) in client.asked
    assert section.form.name.text() == ""
    assert section.form.name.placeholderText() == "my-cells-1"


def test_a_name_that_no_model_can_have_is_told_of(session, section, client, train):
    section.form.name.setText("My nuclei")
    train()
    assert "'My nuclei' cannot name a model" in session.heard[-1]
    assert session.training.state == "idle"


def test_the_way_is_shown_while_it_learns(section, halfway, button):
    assert section.progress.isVisibleTo(section) and section.progress.value() == 50
    assert section.progress.format() == "learning, 4 min left"
    assert button("stop_training").isVisibleTo(section) and button("stop_training").isEnabled()
    assert button("cancel_training").isVisibleTo(section)
    assert not button("train_model").isEnabled()
    assert not section.form.minutes.isEnabled()


def test_the_head_of_the_dock_shows_the_training_while_nothing_else_is_done(dock, halfway):
    assert dock.state.progress.value() == 50
    assert dock.state.progress.format() == "learning, 4 min left"


def test_stopping_is_asked_once(session, section, dock, client, halfway, button, monkeypatch):
    monkeypatch.setattr(client, "stop_training", lambda name, call=None: client.train_release.wait(20))
    button("stop_training").click()
    dock.refresh()
    assert not button("stop_training").isEnabled()
    assert section.progress.format() == "keeping the best"


def test_after_a_cancel_it_is_as_before(session, dock, section, halfway, button):
    button("cancel_training").click()
    session.settle()
    dock.refresh()
    assert not section.progress.isVisibleTo(section)
    assert not button("cancel_training").isVisibleTo(section)
    assert button("train_model").isEnabled()


def test_figures_are_shown_before_anything_is_replaced(session, section, train, button):
    section.form.use.setChecked(False)
    train()
    assert session.preferences.model == ""
    assert section.result.verdict.text() == "<b>The new model is better on 12 held-out cells.</b>"
    assert "0.667" in section.result.table.text() and "0.909" in section.result.table.text()
    assert "day 3" in section.result.table.toolTip()
    assert button("use_trained").isVisibleTo(section) and section.result.keep.isVisibleTo(section)
    assert not button("go_back_model").isVisibleTo(section)


def test_the_new_model_is_used_and_taken_back(session, section, dock, train, button):
    section.form.use.setChecked(False)
    train()
    button("use_trained").click()
    dock.refresh()
    assert session.preferences.model == "my-cells-1"
    assert not button("use_trained").isVisibleTo(section)
    assert button("go_back_model").text() == "Go back to discs"
    button("go_back_model").click()
    dock.refresh()
    assert session.preferences.model == "discs"
    assert not button("go_back_model").isVisibleTo(section)
    assert button("use_trained").isVisibleTo(section)


def test_the_present_model_is_kept(session, section, dock, client, train, button):
    client.record = record_of((6, 0, 6), (5, 0, 7))
    train()
    section.result.keep.click()
    dock.refresh()
    assert session.preferences.model == ""
    assert not section.result.verdict.isVisibleTo(section)
    assert not button("use_trained").isVisibleTo(section)


# --- the curve


def test_the_curve_is_drawn(section, train, qtbot):
    assert not section.curve.isVisibleTo(section)
    train()
    assert section.curve.isVisibleTo(section) and section.curve.is_ready
    lines = section.curve._lines
    qtbot.waitUntil(lambda: len(lines["loss"].getData()[0]) == N_STEPS, timeout=HANG_MS)
    assert lines["loss"].getData()[0].tolist() == list(range(1, N_STEPS + 1))
    assert lines["f1"].getData()[1].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_a_training_that_was_begun_before_the_section_was_opened_is_drawn_too(session, dock, tmp_path, client):
    session.collecting.use(tmp_path / "set")
    session.automatic.run()
    session.settle()
    session.verifying.verify_image()
    session.training.learn()
    session.settle()
    curve = dock.sections["train"].curve
    assert curve.n_drawn == 0
    dock.sections["train"].set_open(True)
    session.settle()
    dock.refresh()
    assert curve.n_drawn == 1
    assert len(curve._lines["loss"].getData()[0]) == N_STEPS


def test_what_draws_is_loaded_when_the_section_is_opened_first(session, dock, monkeypatch):
    loaded = []
    monkeypatch.setattr(_train_section, "load_library", lambda: loaded.append(1) or True)
    session.settle()
    assert not loaded
    for _ in range(2):
        dock.sections["train"].set_open(True)
        dock.sections["train"].set_open(False)
    session.settle()
    assert loaded == [1]


def test_without_the_library_the_user_is_told_what_to_install(session, dock, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyqtgraph", None)
    dock.sections["train"].set_open(True)
    session.settle()
    assert "where pyqtgraph is installed" in dock.sections["train"].curve.legend.text()
    session.training.progressed.emit()
    assert not dock.sections["train"].curve.is_ready


def test_it_is_drawn_twice_a_second_at_most_and_what_came_last_is_seen(plot, qtbot):
    curve = long_curve(1)
    begun = time.monotonic()
    for step in range(1, 200):
        curve.add(TrainingProgress("joint", step, losses={"dice": 1.0}))
        plot.show_curve(curve, "#ffffff")
        QApplication.processEvents()
    elapsed = time.monotonic() - begun
    assert 1 <= plot.n_drawn <= 1 + elapsed / 0.5
    qtbot.waitUntil(lambda: len(plot._lines["loss"].getData()[0]) == 200, timeout=HANG_MS)
    qtbot.waitUntil(lambda: not plot._drawing.isActive(), timeout=HANG_MS)
