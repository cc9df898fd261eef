"""Verified regions: marked, seen, undone, and never taken for cells."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import HANG_MS

from napari_cellsam.editing.journal import replay
from napari_cellsam.widgets import _verifying
from napari_cellsam.widgets._search_region import Region
from napari_cellsam.widgets._verifying import Verifying


@pytest.fixture
def verifying(session):
    session.set_clicking(True)
    made = Verifying(session)
    yield made
    made.close()


def test_the_whole_image_is_verified_and_that_is_undone(session, verifying):
    verifying.verify_image()
    assert session.verified.of(()).all()
    assert verifying.share == 1
    session.undo()
    assert verifying.share == 0
    session.redo()
    assert verifying.share == 1


def test_a_polygon_is_verified_and_the_rest_is_not(session, verifying):
    triangle = np.array([(10.0, 10.0), (10.0, 60.0), (60.0, 10.0)])
    verifying.mark(Region.around([triangle], (100, 110)), verified=True)
    marked = session.verified.of(())
    assert marked[20, 20]
    assert not marked[55, 55]
    assert not marked[5, 5]


def test_a_region_that_is_drawn_is_verified_instead_of_searched(session, verifying, qtbot):
    from napari_cellsam.widgets._region import RegionDrawing

    region = RegionDrawing(session)
    region.draw(then=lambda drawn: verifying.mark(drawn, verified=True))
    session.viewer.layers["discs region"].add([[(10, 10), (10, 60), (60, 10)]], shape_type="polygon")
    qtbot.waitUntil(lambda: session.verified.any(()), timeout=HANG_MS)
    assert not region.drawing
    assert not session.automatic.running
    region.close()


def test_100_percent_is_all_of_it(session, dock):
    dock.sections["review"].set_open(True)
    verifying = session.verifying
    verifying.mark(Region((0, 0, 100, 110)), verified=True)
    assert verifying.percent == 100
    verifying.mark(Region((0, 0, 1, 40)), verified=False)  # 99.6 % are left
    dock.refresh()
    assert verifying.percent == 99
    assert session.heard[-1].startswith("99% ")
    assert "99%" in dock.sections["review"].complete.text()


def test_what_is_verified_can_be_taken_back(session, verifying):
    verifying.verify_image()
    verifying.mark(Region((0, 0, 50, 110)), verified=False)
    assert verifying.share == pytest.approx(0.5)
    verifying.unverify_image()
    assert verifying.share == 0


def test_cells_in_a_verified_region_are_reviewed_in_the_same_step(session, verifying):
    session.automatic.run()
    session.settle()
    verifying.mark(Region((0, 0, 40, 110)), verified=True)
    labels = np.asarray(session.target.layer.data)
    assert session.cells.get((), int(labels[20, 20])).reviewed
    assert not session.cells.get((), int(labels[70, 80])).reviewed
    session.undo()
    assert not session.cells.get((), int(labels[20, 20])).reviewed


def test_what_is_verified_already_makes_no_step(session, verifying):
    verifying.verify_image()
    n_steps = len(session.history)
    verifying.verify_image()
    assert len(session.history) == n_steps
    assert "already" in session.heard[-1]


def test_the_picture_of_it_follows_and_leaves_the_active_layer_alone(session, verifying):
    verifying.show()
    layer = session.viewer.layers["discs verified"]
    assert not np.asarray(layer.data).any()
    verifying.verify_image()
    assert np.asarray(layer.data).all()
    session.undo()
    assert not np.asarray(layer.data).any()
    assert session.viewer.layers.selection.active.name == "discs"
    verifying.hide()
    assert "discs verified" not in session.viewer.layers
    assert not verifying.on


def test_removing_the_picture_of_it_hides_it_and_loses_nothing(session, verifying):
    verifying.show()
    verifying.verify_image()
    session.viewer.layers.remove("discs verified")
    assert not verifying.on
    assert verifying.share == 1


def test_the_picture_of_it_is_not_written_into(session, verifying):
    verifying.show()
    session.prompting.click(20, 20)
    session.settle()
    assert session.target.layer.name == "discs cells"


def test_it_is_in_the_journal(session, verifying):
    verifying.verify_image()
    assert session.journaling.flush()
    assert replay(session.journaling.path).verified.all()


def test_cells_of_another_tool_are_reviewed_too_and_those_mostly_outside_are_not(session, verifying, monkeypatch):
    monkeypatch.setattr(_verifying, "_ROWS_AT_ONCE", 7)
    mine = np.zeros((100, 110), np.int64)
    mine[:, :3] = -1  # another tool's border
    mine[10:20, 10:20], mine[45:65, 30:40], mine[48:80, 60:70], mine[90:99, 90:99] = 4, 5, 6, 7
    layer = session.viewer.add_labels(mine, name="mine")
    session.use_labels(layer)
    session.settle()
    verifying.mark(Region((0, 0, 55, 110)), verified=True)
    assert {record.label for record in session.cells if record.reviewed} == {4, 5}, "6 goes on far beyond it"
    verifying.verify_image()
    assert {record.label for record in session.cells if record.reviewed} == {4, 5, 6, 7}
    session.undo()
    session.undo()
    assert len(session.cells) == 0
