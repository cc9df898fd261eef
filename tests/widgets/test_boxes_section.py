"""The section of the detector's boxes: shown or not, from which score on, and how many."""

from __future__ import annotations

import pytest

from napari_cellsam.widgets._boxes_section import BoxesSection


@pytest.fixture
def section(session, qtbot):
    made = BoxesSection(session, session.boxes)
    qtbot.addWidget(made)
    made.set_open(True)
    yield made
    made.close_session()


def settle(session, qtbot):
    session.settle()
    qtbot.waitUntil(lambda: not session.boxes.running, timeout=20_000)


def test_boxes_are_shown_and_hidden(session, section, qtbot):
    assert not section.threshold.isEnabled()
    section.shown.click()
    settle(session, qtbot)
    assert session.boxes.on
    assert section.count.text() == "4 of 4 cells"
    assert section.threshold.isEnabled()
    section.shown.click()
    assert not session.boxes.on
    assert section.count.isHidden()


def test_the_line_below_counts_the_boxes_that_are_drawn(session, section, qtbot):
    section.shown.click()
    settle(session, qtbot)
    assert section.help.text() == session.boxes.help == "4 of 4 boxes."


def test_the_threshold_hides_boxes_and_says_its_number(session, section, qtbot):
    section.shown.click()
    settle(session, qtbot)
    section.threshold.setValue(95)
    settle(session, qtbot)
    assert session.boxes.threshold == 0.95
    assert section.number.text() == "0.95"
    assert section.count.text() == "0 of 4 cells"
    section.threshold.setValue(40)
    settle(session, qtbot)
    assert section.count.text() == "4 of 4 cells"


def test_one_drag_of_the_threshold_is_one_step(session, section, qtbot):
    section.shown.click()
    settle(session, qtbot)
    n_steps = len(session.history)
    section.threshold.sliderPressed.emit()
    for value in (60, 95, 80, 95):
        section.threshold.setValue(value)
        settle(session, qtbot)
    section.threshold.sliderReleased.emit()
    settle(session, qtbot)
    assert len(session.history) == n_steps + 1


def test_the_section_follows_a_threshold_that_is_set_elsewhere(session, section, qtbot):
    session.boxes.threshold = 0.7
    assert section.threshold.value() == 70
    assert section.number.text() == "0.70"


def test_without_an_image_there_are_no_boxes_to_show(viewer, make_session, qtbot):
    session = make_session(viewer)
    made = BoxesSection(session, session.boxes)
    qtbot.addWidget(made)
    made.set_open(True)
    assert not made.shown.isEnabled()
    made.close_session()
