"""The dock: every action at hand, what is under way, and an end that leaves nothing behind."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QAccessible
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QApplication,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QWidget,
)
from tests.widgets.conftest import HANG_MS, discs

from napari_cellsam.errors import ServiceUnavailableError
from napari_cellsam.widgets import _commands
from napari_cellsam.widgets._actions import ACTIONS, find_action
from napari_cellsam.widgets._cell_section import AT_CURSOR
from napari_cellsam.widgets._correct_section import CORRECTIONS
from napari_cellsam.widgets._sessions import session_of

KEYS_ALONE = (*AT_CURSOR, *CORRECTIONS)


def button(dock, action_id):
    found = dock.findChild(QPushButton, action_id)
    assert found is not None, f"no button for {action_id}"
    return found


def open_all(dock):
    for section in dock.sections.values():
        section.set_open(True)


def n_listening(viewer):
    """Return how many hear of the mouse."""
    return len(viewer.mouse_drag_callbacks) + len(viewer.mouse_move_callbacks)


# --- what is at hand


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_every_action_is_in_the_dock_and_in_the_palette(dock, action):
    assert callable(getattr(_commands, action.id))
    if dock.findChild(QPushButton, action.id) is not None:
        return
    open_all(dock)
    if action.id in KEYS_ALONE:
        texts = dock.sections["cell"].keys.text() + dock.sections["correct"].keys.text()
        assert f"</b> {action.title}" in texts
    else:
        boxes = {
            "toggle_boxes": dock.sections["boxes"].shown,
            "toggle_model_view": dock.sections["channels"].preview,
            "export_cells": dock.sections["export"].here,
        }
        assert action.id in boxes


def test_every_button_runs_its_own_action(dock, monkeypatch):
    import napari_cellsam.widgets._action_buttons as module

    ran = []
    monkeypatch.setattr(module, "run_action", lambda session, action: ran.append(action.id))
    pressed = []
    for action in ACTIONS:
        found = dock.findChild(QPushButton, action.id)
        if found is not None:
            found.setEnabled(True)
            found.click()
            pressed.append(action.id)
    assert ran == pressed
    assert len(pressed) > 20


def test_everything_has_a_tooltip_and_is_reached_by_tab(dock):
    open_all(dock)
    for kind in (QAbstractButton, QComboBox, QLineEdit, QAbstractSlider):
        for widget in dock.findChildren(kind):
            if widget.parent().metaObject().className().startswith("QScrollArea") or "scroll" in widget.objectName():
                continue
            if isinstance(widget, QAbstractSlider) and widget.focusPolicy() == Qt.FocusPolicy.NoFocus:
                continue  # a scroll bar
            assert widget.toolTip(), widget
            assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus, widget


def test_keys_are_written_beside_the_actions_and_follow_the_preferences(session, dock):
    assert button(dock, "segment_image").text() == "Segment the image  [G]"
    session.store.update(keys={"segment_image": "Y", "delete_cell": "F9"})
    dock.refresh()
    assert button(dock, "segment_image").text() == "Segment the image  [Y]"
    assert "<b>F9</b> Delete cell" in dock.sections["cell"].keys.text()
    assert "<b>Y</b> finds every cell" in dock.first_steps.text.text()


# --- sections


def test_a_section_shows_its_contents_only_while_it_is_open(dock):
    section = dock.sections["channels"]
    dock.show()
    assert not section.is_open
    assert not section.preview.isVisibleTo(section)
    section.heading.click()
    assert section.is_open
    assert section.preview.isVisibleTo(section)
    section.heading.click()
    assert not section.preview.isVisibleTo(section)


def test_the_dock_fits_into_a_window_of_1280_by_800(dock):
    open_all(dock)
    QApplication.processEvents()
    assert dock.minimumSizeHint().height() < 300
    assert dock.minimumSizeHint().width() < 420


def test_opening_sections_does_not_make_the_dock_wider(dock):
    before = dock.minimumSizeHint().width()
    open_all(dock)
    QApplication.processEvents()
    assert dock.minimumSizeHint().width() <= before + 1


def test_the_wheel_over_a_choice_changes_nothing(dock, qtbot):
    from qtpy.QtCore import QPoint, QPointF
    from qtpy.QtGui import QWheelEvent

    choice = dock.sections["find"].rule
    before = choice.value
    event = QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, -120),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(choice, event)
    assert choice.value == before


def test_the_rule_is_the_sessions(session, dock):
    rule = dock.sections["find"].rule
    assert rule.value == "fill"
    rule.choose("replace")
    assert session.rule == "replace"


def test_buttons_wait_for_an_image(viewer, make_session, make_dock):
    dock = make_dock(make_session(viewer))
    assert not button(dock, "segment_image").isEnabled()
    assert "Open an image" in dock.state.told
    viewer.add_image(discs(), name="discs")
    dock.session.settle()
    dock.refresh()
    assert button(dock, "segment_image").isEnabled()
    assert dock.state.told == ""


def test_all_planes_are_offered_only_for_stacks(viewer, make_session, make_dock):
    viewer.add_image(np.stack([discs(), discs()]), name="stack")
    dock = make_dock(make_session(viewer))
    assert not button(dock, "segment_stack").isHidden()
    viewer.add_image(discs(), name="single")
    dock.session.settle()
    dock.refresh()
    assert button(dock, "segment_stack").isHidden()


def test_undo_says_what_it_would_take_back(session, dock):
    assert not button(dock, "undo").isEnabled()
    session.prompting.click(20, 20)
    session.settle()
    dock.refresh()
    assert button(dock, "undo").isEnabled()
    assert "Now: click 1." in button(dock, "undo").toolTip()
    button(dock, "undo").click()
    session.settle()
    dock.refresh()
    assert "Now: click 1." in button(dock, "redo").toolTip()


# --- the cell, and where it goes


def test_the_active_cell_is_described(session, dock):
    session.prompting.click(20, 20)
    session.settle()
    dock.refresh()
    assert dock.sections["cell"].about.text() == "Cell 1: 1 click inside, 0 outside, predicted IoU 0.80."
    button(dock, "accept_cell").click()
    dock.refresh()
    assert dock.sections["cell"].about.text() == "No cell is taken up."
    assert not button(dock, "accept_cell").isEnabled()


def test_the_users_labels_layer_is_written_into_once_it_is_chosen(session, dock):
    session.viewer.add_labels(np.zeros((100, 110), np.uint32), name="mine")
    session.viewer.layers.selection.active = session.viewer.layers["discs"]
    dock.refresh()
    into = dock.sections["cell"].into
    assert [into.itemText(i) for i in range(into.count())] == ["mine", "New layer"]
    into.choose(into.values[0])
    assert session.target.layer.name == "mine"
    assert into.currentText() == "mine"


def test_a_labels_layer_of_another_shape_is_refused_and_the_choice_goes_back(session, dock):
    session.viewer.add_labels(np.zeros((5, 5), np.uint32), name="small")
    session.viewer.layers.selection.active = session.viewer.layers["discs"]
    dock.refresh()
    into = dock.sections["cell"].into
    into.choose(into.values[0])
    assert "shape (5, 5)" in dock.state.told
    assert into.currentText() == "New layer"


def test_layers_that_only_show_something_are_not_offered(session, dock):
    session.prompting.click(20, 20)
    session.settle()
    session.verifying.verify_image()
    session.verifying.show()
    dock.refresh()
    into = dock.sections["cell"].into
    assert [into.itemText(i) for i in range(into.count())] == ["discs cells", "New layer"]


# --- the state


def test_the_state_is_that_of_the_connection(session, dock):
    assert "discs on cpu" in dock.state.state.text()
    assert dock.state.retry.isHidden()


def test_after_a_failure_the_dock_says_what_to_do_and_retries(session, dock):
    session.connection.state, session.connection.text = "failed", "It cannot be reached. The next action tries again."
    session.connection.changed.emit()
    dock.refresh()
    assert "The next action tries again" in dock.state.state.text()
    assert not dock.state.retry.isHidden()
    dock.state.retry.click()
    dock.refresh()
    assert session.connection.n_reconnected == 1
    assert dock.state.retry.isHidden()


def test_an_error_is_shown_as_text_and_not_as_markup(session, dock):
    session.say("the layer <b>x</b> is gone")
    assert dock.state.message.text() == "The layer &lt;b&gt;x&lt;/b&gt; is gone"


def test_an_error_is_a_notification_of_naparis_too(session, dock):
    from napari.utils.notifications import notification_manager

    session.failed(ServiceUnavailableError("the service has ended"))
    assert notification_manager.records[-1].message == "the service has ended"
    assert dock.state.told == "the service has ended"


def test_a_run_shows_how_far_it_is_and_can_be_cancelled(session, dock, client, qtbot):
    assert not button(dock, "cancel").isEnabled()
    client.hold()
    button(dock, "segment_image").click()
    dock.refresh()
    assert dock.state.progress.text() == "looking at the image"
    assert button(dock, "cancel").isEnabled()
    button(dock, "cancel").click()
    session.settle()
    dock.refresh()
    assert dock.state.progress.text() == "idle"
    assert not button(dock, "cancel").isEnabled()


def test_tiles_are_counted(session, dock, client, qtbot):
    client.hold()
    button(dock, "segment_image").click()
    client.release.set()
    texts = []
    session.automatic.changed.connect(lambda: (dock.refresh(), texts.append(dock.state.progress.text())))
    session.settle()
    assert any(text.startswith("tile 1 of 4") for text in texts)


# --- first steps


def test_a_newcomer_is_told_three_things_until_something_is_done(session, dock):
    assert not dock.first_steps.isHidden()
    assert dock.first_steps.text.text().count("<br>") == 3
    session.set_clicking(True)
    dock.refresh()
    assert dock.first_steps.isHidden()
    session.set_clicking(False)
    dock.refresh()
    assert dock.first_steps.isHidden()


def test_help_calls_the_first_steps_back_and_they_can_be_put_away(session, dock):
    session.prompting.click(20, 20)
    session.settle()
    dock.refresh()
    assert dock.first_steps.isHidden()
    dock.help.click()
    dock.refresh()
    assert not dock.first_steps.isHidden()
    dock.first_steps.close_button.click()
    dock.refresh()
    assert dock.first_steps.isHidden()


def test_the_docs_are_opened_where_the_package_says(session, make_dock, monkeypatch):
    import napari_cellsam.widgets._first_steps as module

    opened = []
    monkeypatch.setattr(module, "docs_url", lambda: "https://example.org/docs")
    monkeypatch.setattr(module.QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    dock = make_dock(session)
    assert not dock.first_steps.docs.isHidden()
    dock.first_steps.docs.click()
    assert opened == ["https://example.org/docs"]


@pytest.mark.parametrize(
    ("links", "url"),
    [
        (["Homepage, https://a.org", "Documentation, https://b.org"], "https://b.org"),
        (["Homepage, https://a.org"], "https://a.org"),
        (None, None),
    ],
)
def test_the_docs_are_where_the_packages_metadata_says(monkeypatch, links, url):
    import napari_cellsam.widgets._first_steps as module

    class Metadata:
        def get_all(self, name):
            return links

    monkeypatch.setattr(module, "metadata", lambda name: Metadata())
    assert module.docs_url() == url


# --- the end


def test_a_dock_that_napari_takes_out_ends_its_session(session, make_dock):
    viewer = session.viewer
    before = n_listening(viewer)
    dock = make_dock(session)
    assert n_listening(viewer) > before
    session.prompting.click(20, 20)
    session.settle()
    layer = session.target.layer
    viewer.window.remove_dock_widget(dock)
    assert session.connection.state == "off"
    assert len(viewer.keymap) == 0
    assert len(layer.keymap) == 0
    assert n_listening(viewer) == before


def test_a_dock_that_is_hidden_and_shown_keeps_its_session(session, make_dock):
    dock = make_dock(session)
    dock.parent().hide()
    assert session.connection.state == "ready"
    dock.parent().show()
    dock.parent().setFloating(True)
    dock.parent().setFloating(False)
    assert session.connection.state == "ready"


def test_a_viewers_session_begins_anew_when_the_dock_is_opened_again(viewer, tmp_path, monkeypatch):
    from napari_cellsam.widgets.segment_dock import SegmentDock

    for name in ("CACHE", "CONFIG", "JOURNALS"):
        monkeypatch.setenv(f"NAPARI_CELLSAM_{name}_DIR", str(tmp_path / name))
    monkeypatch.setattr("napari_cellsam.widgets._connection.Connection.start", lambda self: None)
    first = SegmentDock(viewer)
    viewer.window.add_dock_widget(first, name="first")
    assert first.session is session_of(viewer)
    old = first.session
    viewer.window.remove_dock_widget(first)
    second = SegmentDock(viewer)
    viewer.window.add_dock_widget(second, name="second")
    assert second.session is not old
    assert second.session is session_of(viewer)
    viewer.add_image(discs(), name="discs")
    assert second.session.source is not None
    assert old.source is None
    viewer.window.remove_dock_widget(second)


def test_keys_work_again_in_a_dock_that_is_opened_again(viewer, make_session, make_dock):
    viewer.add_image(discs(), name="discs")
    first = make_session(viewer)
    dock = make_dock(first)
    viewer.window.remove_dock_widget(dock)
    second = make_session(viewer)
    make_dock(second)
    from napari.utils.key_bindings import coerce_keybinding

    viewer.keymap[coerce_keybinding("H")](viewer)
    assert second.clicking
    assert not first.clicking


def test_two_viewers_have_docks_that_know_nothing_of_each_other(
    session, dock, make_session, make_dock, make_napari_viewer_proxy
):
    other_viewer = make_napari_viewer_proxy()
    other_viewer.add_image(discs(), name="other")
    other = make_session(other_viewer)
    other_dock = make_dock(other)
    button(other_dock, "toggle_click_mode").click()
    other.prompting.click(20, 20)
    other.settle()
    dock.refresh()
    assert not session.clicking
    assert not session.has_target
    assert not button(dock, "toggle_click_mode").isChecked()
    other_viewer.window.remove_dock_widget(other_dock)
    button(dock, "toggle_click_mode").click()
    assert session.clicking


def test_nothing_of_a_closed_dock_is_left(session, qtbot):
    from napari_cellsam.widgets.segment_dock import SegmentDock

    def ours():
        return [w for w in QApplication.allWidgets() if type(w).__module__.startswith("napari_cellsam")]

    viewer = session.viewer
    dock = SegmentDock(viewer, session)
    viewer.window.add_dock_widget(dock, name="Segment cells")
    assert len(ours()) > 10
    open_all(dock)
    viewer.window.remove_dock_widget(dock)
    del dock

    def is_gone():
        gc.collect()
        return not ours()

    qtbot.waitUntil(is_gone, timeout=HANG_MS)


def test_a_button_says_what_its_action_does(dock):
    for found in dock.findChildren(QPushButton):
        if found.objectName() in {action.id for action in ACTIONS}:
            assert found.toolTip().startswith(find_action(found.objectName()).tooltip)


def test_a_screen_reader_has_a_name_for_all_that_the_keyboard_reaches(dock, session):
    open_all(dock)
    session.settle()
    reached = [w for w in dock.findChildren(QWidget) if w.focusPolicy() & Qt.FocusPolicy.TabFocus]
    shown = [w for w in reached if w.isVisibleTo(dock) and w.objectName() != "qt_spinbox_lineedit"]
    nameless = [
        f"{type(w).__name__}: {w.toolTip()}"
        for w in shown
        if not QAccessible.queryAccessibleInterface(w).text(QAccessible.Text.Name).strip()
    ]
    assert len(shown) > 50
    assert not nameless
    named = {w.accessibleName() for w in shown}
    assert {"Threshold", "Formats", "Origin", "Server"} <= named


def test_what_was_measured_is_saved_from_the_dock(dock, session, monkeypatch, tmp_path):
    section, offered = dock.sections["export"], []
    section.set_open(True)

    def choose(parent, title, start, kinds):
        offered.append(Path(start).name)
        return str(tmp_path / "table.csv"), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    session.automatic.run()
    session.settle()
    dock.refresh()
    assert not section.save.isEnabled()
    session.measuring.run()
    session.settle()
    dock.refresh()
    section.save.click()
    session.settle()
    assert offered == ["discs cells.csv"]
    assert (tmp_path / "table.csv").read_text().startswith("label,")
