"""Collecting corrected images into a training set."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import discs

from napari_cellsam.data.retraining.changes import LOCK_NAME
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.editing.actions import Action
from napari_cellsam.errors import OptionError
from napari_cellsam.types import Cell, Mask
from napari_cellsam.widgets._cell_writer import CellWriter
from napari_cellsam.widgets._collecting import Collecting
from napari_cellsam.widgets._looking import NoImageError


@pytest.fixture
def collecting(session, tmp_path):
    made = Collecting(session)
    made.use(tmp_path / "set")
    return made


def test_a_verified_image_is_added_with_its_cells_and_their_records(session, collecting, tmp_path):
    session.prompting.click(20, 20)
    session.settle()
    session.automatic.run()
    session.settle()
    session.verifying.verify_image()
    collecting.add()
    session.settle()
    kept = RetrainingSet.open(tmp_path / "set")
    [picture] = kept.pictures()
    assert np.array_equal(picture.labels > 0, np.asarray(session.target.layer.data) > 0)
    assert picture.verified.all()
    assert {record.origin for record in kept.cells(kept.entries[0])} == {"prompted", "automatic"}
    assert collecting.n_added == 1
    assert "1 added" in session.heard[-1]


def test_adding_twice_at_once_is_refused(session, collecting):
    session.prompting.click(20, 20)
    session.settle()
    heard = []
    collecting.add(then=lambda: heard.append("then"))
    with pytest.raises(OptionError, match="already"):
        collecting.add()
    session.settle()
    assert heard == ["then"]


def test_without_a_verified_region_only_what_a_person_touched_is_certain(session, collecting, tmp_path):
    session.automatic.run()
    session.settle()
    session.correcting.grow(20, 20)
    collecting.add()
    session.settle()
    [picture] = RetrainingSet.open(tmp_path / "set").pictures()
    assert picture.verified.any()
    assert picture.verified.mean() < 0.2


def test_what_is_done_after_the_click_is_not_added(session, collecting, tmp_path):
    session.automatic.run()
    session.settle()
    session.verifying.verify_image()
    before = np.array(session.target.layer.data)
    collecting.add()
    session.correcting.delete(20, 20)
    session.settle()
    [picture] = RetrainingSet.open(tmp_path / "set").pictures()
    assert not np.array_equal(session.target.layer.data, before)
    assert np.array_equal(picture.labels, before)


def test_cells_that_a_model_wrote_into_a_verified_region_are_not_certain(session, collecting, tmp_path):
    writer = CellWriter(session, "as an earlier version did")
    writer.add((), [Cell(Mask(np.ones((9, 9), bool), (10, 10), 0.7), 0.9)])
    writer.write()
    plane = np.ones(session.target.shape, bool)
    mark = session.verified.changed((), np.s_[0 : plane.shape[0], 0 : plane.shape[1]], plane, verified=True)
    session.apply(Action("verified, but not reviewed", (), (), None, (mark,)))
    collecting.add()
    session.settle()
    [picture] = RetrainingSet.open(tmp_path / "set").pictures()
    assert not picture.verified[10:19, 10:19].any()
    assert picture.verified.sum() == plane.size - 81


def test_a_data_set_of_which_only_the_lock_was_written_is_begun_anew(session, collecting, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / LOCK_NAME).touch()
    session.prompting.click(20, 20)
    session.settle()
    collecting.look()
    session.settle()
    assert collecting.n_added == 0
    collecting.add()
    session.settle()
    assert collecting.n_added == 1


def test_the_same_image_again_is_a_new_version_or_unchanged(session, collecting, tmp_path):
    session.automatic.run()
    session.settle()
    session.verifying.verify_image()
    for expected in ("1 added", "1 unchanged"):
        collecting.add()
        session.settle()
        assert expected in session.heard[-1]
    session.prompting.delete(20, 20)
    collecting.add()
    session.settle()
    assert "1 replaced" in session.heard[-1]
    [picture] = RetrainingSet.open(tmp_path / "set").pictures()
    assert picture.labels[20, 20] == 0


def test_only_planes_with_cells_are_added_and_are_of_one_group(viewer, make_session, tmp_path):
    viewer.add_image(np.stack([discs(), discs() * 0, discs(centres=((50, 50),))]), name="stack")
    session = make_session(viewer)
    session.start()
    session.settle()
    session.automatic.run(planes=session.planes())
    session.settle()
    for plane in (0, 2):
        viewer.dims.set_point(0, plane)
        session.verifying.verify_image()
    collecting = Collecting(session)
    collecting.use(tmp_path / "set")
    collecting.add()
    session.settle()
    pictures = RetrainingSet.open(tmp_path / "set").pictures()
    assert len(pictures) == 2
    assert {picture.group for picture in pictures} == {"stack"}


def test_without_cells_there_is_nothing_to_learn_from(session, collecting):
    with pytest.raises(NoImageError, match="no cells to learn from"):
        collecting.add()


def test_what_nobody_looked_at_is_not_learnt_from(session, collecting, tmp_path):
    session.automatic.run()
    session.settle()
    with pytest.raises(NoImageError, match="Nothing here is certain"):
        collecting.add()
    assert not (tmp_path / "set").exists()


def test_a_folder_of_something_else_is_refused_and_left_alone(session, collecting, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "precious.txt").write_text("mine")
    session.automatic.run()
    session.settle()
    session.verifying.verify_image()
    collecting.add()
    session.settle()
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["precious.txt"]
    assert str(tmp_path / "set") in session.heard[-1]


def test_what_follows_the_adding_follows_also_when_all_is_cancelled(session, collecting):
    session.prompting.click(20, 20)
    session.settle()
    heard = []
    collecting.add(then=lambda: heard.append("then"))
    session.cancel()
    session.settle()
    assert heard == ["then"]
    assert collecting.n_added == 1
