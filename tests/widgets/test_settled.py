"""What reads all labels reads them whole, also while a large step is still being done again."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import discs

from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.export.formats import read_cells

CROWD = [(y, x) for y in range(10, 390, 20) for x in range(10, 390, 20)]


@pytest.fixture
def redoing(viewer, make_session):
    """Return a session that does a large step again just now, of which nothing is written yet."""
    viewer.add_image(discs((400, 400), CROWD), name="crowd")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run()
    session.settle()
    session.undo()
    session.settle()
    session.redo()
    assert session.writing
    return session


def test_an_export_has_all_cells(redoing, tmp_path):
    redoing.exporting.run(tmp_path / "out", ["tiff"])
    redoing.settle()
    assert read_cells(tmp_path / "out" / "crowd_labels.tif").labels.max() == len(CROWD)


def test_a_training_set_has_all_cells_that_are_complete(redoing, tmp_path):
    whole = np.ones((400, 400), bool)
    mark = redoing.verified.changed((), np.s_[0:400, 0:400], whole, verified=True)
    redoing.verified.apply([mark])
    redoing.collecting.use(tmp_path / "set")
    redoing.collecting.add()
    redoing.settle()
    [picture] = RetrainingSet.open(tmp_path / "set").pictures()
    assert picture.labels.max() == len(CROWD)
    assert np.array_equal(picture.verified, picture.labels == 0), "nobody has looked at the cells"


def test_every_cell_is_complete(redoing):
    redoing.verifying.verify_image()
    assert sum(record.reviewed for record in redoing.cells) == len(CROWD)


def test_every_cell_is_measured(redoing):
    redoing.measuring.run()
    redoing.settle()
    assert len(redoing.measuring.current.rows) == len(CROWD)


def test_every_cell_is_reviewed(redoing):
    redoing.review.start()
    redoing.settle()
    assert redoing.review.count.n_left == len(CROWD)
