"""The slow writer: little at once, much in turns of the event loop, all of it at the end."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from tests.widgets.conftest import HANG_MS
from tests.widgets.test_pieces import square

from napari_cellsam.widgets._layers import LabelsTarget
from napari_cellsam.widgets._slow_writer import SlowWriter

FEW = [square(0, 20 * i) for i in range(5)]
MANY = [square(20 * (i // 40), 20 * (i % 40)) for i in range(1200)]


@pytest.fixture
def target(qtbot):
    made = LabelsTarget(Labels(np.zeros((700, 900), np.uint32)))
    yield made
    made.close()


@pytest.fixture
def writer(target):
    made = SlowWriter(target)
    yield made
    made.close()


def count(target):
    return int(np.count_nonzero(target.layer.data))


def test_a_few_edits_are_written_at_once(writer, target):
    written = []
    writer.start(FEW, written.extend)
    assert not writer.writing
    assert count(target) == 500
    assert len(written) == 5


def test_nothing_to_write_is_done_at_once(writer):
    heard = []
    writer.start([], heard.append)
    assert heard == [[]]
    assert not writer.writing


def test_many_edits_are_written_while_the_window_goes_on(writer, target, qtbot):
    written = []
    writer.start(MANY, written.extend)
    assert writer.writing
    assert not written
    qtbot.waitUntil(lambda: not writer.writing, timeout=HANG_MS)
    assert count(target) == 120_000
    assert len(written) == 1200


def test_a_second_start_waits_for_the_end_of_the_first(writer, target, qtbot):
    order = []
    writer.start(MANY, lambda edits: order.append(("first", len(edits))))
    writer.start([edit.inverse() for edit in MANY], lambda edits: order.append(("second", len(edits))))
    qtbot.waitUntil(lambda: not writer.writing, timeout=HANG_MS)
    assert order == [("first", 1200), ("second", 1200)]
    assert count(target) == 0


def test_finishing_writes_all_that_is_left(writer, target):
    writer.start(MANY, lambda edits: None)
    writer.finish()
    assert not writer.writing
    assert count(target) == 120_000


def test_dropping_tells_what_was_written_and_no_more(writer, target, qtbot):
    written = []
    writer.start(MANY, written.extend)
    qtbot.waitUntil(lambda: count(target) > 0, timeout=HANG_MS)
    writer.drop()
    assert not writer.writing
    n_written = sum(len(edit.rows) for edit in written)
    assert n_written == count(target) < 120_000
    qtbot.wait(30)
    assert n_written == count(target)


def test_pixels_that_someone_changed_meanwhile_are_left_alone(writer, target):
    written = []
    writer.start(MANY, written.extend)
    target.layer.data[580:590, 780:790] = 7
    writer.finish()
    assert (target.layer.data[580:590, 780:790] == 7).all()
    assert len(written) == 1199
