"""Correcting cells under the cursor: one step each, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import DISCS

from napari_cellsam.errors import OptionError
from napari_cellsam.widgets._correcting import Correcting
from napari_cellsam.widgets._search_region import Region


@pytest.fixture
def correcting(session):
    return Correcting(session)


@pytest.fixture
def cells(session):
    """Let the labels have a square with a hole, a bar, and two squares that touch; return them."""
    session.set_clicking(True)
    layer = session.target.layer
    labels = np.zeros((100, 110), np.uint32)
    labels[10:20, 10:20] = 1
    labels[14:16, 14:16] = 0
    labels[40:46, 10:60] = 2
    labels[60:70, 60:70] = 3
    labels[60:70, 70:80] = 4
    layer.data = labels.copy()
    session.settle()
    return labels


def labels_of(session):
    return np.asarray(session.target.layer.data)


def area(session, label):
    return int(np.count_nonzero(labels_of(session) == label))


@pytest.mark.parametrize(
    ("verb", "expected"),
    [("grow", 96 + 40 + 4), ("shrink", 96 - 36 - 8), ("fill_holes", 100), ("smooth", None), ("keep_largest", 96)],
)
def test_a_verb_changes_the_cell_under_the_cursor_alone_and_is_undone_in_one_step(
    session, correcting, cells, verb, expected
):
    getattr(correcting, verb)(11, 11)
    now = labels_of(session).copy()
    if expected is not None:
        assert area(session, 1) == expected
    assert np.array_equal(np.where(now == 1, 0, now)[25:], cells[25:])
    if (now != cells).any():
        assert len(session.history) == 1
        session.undo()
        assert np.array_equal(labels_of(session), cells)
        session.redo()
        assert np.array_equal(labels_of(session), now)
    else:
        assert "nothing to correct" in session.heard[-1]


@pytest.mark.parametrize(
    "verb", ["grow", "shrink", "fill_holes", "smooth", "keep_largest", "renumber", "merge", "swap", "split"]
)
def test_without_a_cell_under_the_cursor_a_verb_says_so(correcting, cells, verb):
    with pytest.raises(OptionError, match="no cell under the cursor"):
        getattr(correcting, verb)(90, 90)


def test_two_presses_merge_two_cells(session, correcting, cells):
    correcting.merge(65, 65)
    assert correcting.begun.label == 3
    assert np.array_equal(labels_of(session), cells)
    correcting.merge(65, 75)
    assert correcting.begun is None
    assert (area(session, 3), area(session, 4)) == (200, 0)
    session.undo()
    assert np.array_equal(labels_of(session), cells)


def test_a_click_at_the_second_place_does_the_same(session, correcting, cells):
    correcting.merge(65, 65)
    correcting.go_on(65, 75)
    assert (area(session, 3), area(session, 4)) == (200, 0)
    correcting.go_on(65, 75)
    assert correcting.begun is None


def test_a_merged_cells_record_is_that_of_the_first(session, correcting):
    session.automatic.run()
    session.settle()
    one, other = (int(labels_of(session)[place]) for place in ((20, 20), (60, 30)))
    correcting.merge(20, 20)
    correcting.merge(60, 30)
    assert session.cells.get((), other) is None
    assert session.cells.get((), one).origin == "edited"
    session.undo()
    assert session.cells.get((), other).origin == "automatic"
    assert session.cells.get((), one).origin == "automatic"


def test_a_cell_is_not_merged_with_itself(session, correcting, cells):
    correcting.merge(65, 65)
    with pytest.raises(OptionError, match="itself"):
        correcting.merge(66, 66)
    assert correcting.begun is not None
    assert correcting.let_be()
    assert not correcting.let_be()
    assert np.array_equal(labels_of(session), cells)


def test_what_was_begun_on_a_cell_that_is_gone_begins_anew(session, correcting, cells):
    correcting.merge(65, 65)
    session.prompting.delete(65, 65)
    correcting.merge(65, 75)
    assert correcting.begun.label == 4
    assert area(session, 4) == 100


def test_numbers_are_swapped_with_their_records(session, correcting):
    session.prompting.click(20, 20)
    session.settle()
    session.automatic.run()
    session.settle()
    here, there = (20, 20), (60, 30)
    one, other = (int(labels_of(session)[place]) for place in (here, there))
    prompts = session.cells.get((), one).prompts
    correcting.swap(*here)
    correcting.swap(*there)
    assert [int(labels_of(session)[place]) for place in (here, there)] == [other, one]
    assert session.cells.get((), other).prompts == prompts


def test_a_renumbered_cell_takes_its_record_along(session, correcting):
    session.prompting.click(20, 20)
    session.settle()
    score = session.cells.get((), 1).predicted_iou
    correcting.renumber(20, 20)
    assert int(labels_of(session)[20, 20]) == 2
    assert session.cells.get((), 1) is None
    assert session.cells.get((), 2).predicted_iou == score


def test_two_presses_split_a_cell_between_them(session, correcting, cells):
    correcting.split(42, 12)
    correcting.split(42, 57)
    session.settle()
    parts = labels_of(session)[40:46, 10:60]
    assert (parts[:, 0] == 2).all()
    assert len(set(np.unique(parts))) == 2
    assert abs(np.count_nonzero(parts == 2) - 150) <= 12
    session.undo()
    assert np.array_equal(labels_of(session), cells)


def test_a_second_place_in_another_cell_splits_nothing(session, correcting, cells):
    correcting.split(42, 12)
    with pytest.raises(OptionError, match="another cell"):
        correcting.split(65, 65)
    assert np.array_equal(labels_of(session), cells)


def test_a_line_cuts_the_cell_that_most_of_it_covers(session, correcting, cells):
    correcting.cut([(35.0, 30.0), (50.0, 30.0)])
    parts = labels_of(session)[40:46, 10:60]
    assert len(set(np.unique(parts))) == 2
    assert (parts[:, 25:] == 2).all()
    assert np.array_equal(labels_of(session)[50:], cells[50:])


def test_both_parts_of_a_cut_cell_are_edited(session, correcting):
    session.automatic.run()
    session.settle()
    label = int(labels_of(session)[20, 20])
    correcting.cut([(10.0, 20.0), (30.0, 20.0)])
    new = int(labels_of(session)[20, 16])
    records = [session.cells.get((), n) for n in {label, new} | {int(labels_of(session)[20, 24])}]
    assert [record.origin for record in records] == ["edited", "edited"]


def test_a_line_over_no_cell_is_refused(correcting, cells):
    with pytest.raises(OptionError, match="no cell"):
        correcting.cut([(90.0, 1.0), (95.0, 9.0)])


def test_a_line_that_ends_within_the_cell_is_refused(correcting, cells):
    with pytest.raises(OptionError, match="does not part"):
        correcting.cut([(42.0, 20.0), (42.0, 30.0)])


def test_a_region_is_cleared_and_cells_that_reach_out_keep_the_rest(session, correcting, cells):
    polygon = np.array([(55.0, 65.0), (55.0, 85.0), (75.0, 85.0), (75.0, 65.0)])
    correcting.clear(Region.around([polygon], (100, 110)))
    assert area(session, 4) == 0
    assert 40 <= area(session, 3) <= 60
    session.undo()
    assert np.array_equal(labels_of(session), cells)


def test_a_cell_that_is_cut_by_a_region_stays_what_it_was(session, correcting):
    session.automatic.run()
    session.settle()
    y, x = DISCS[2]
    number = session.target.at((), y, x)
    score = session.cells.get((), number).detector_score
    polygon = np.array([(y - 10.0, x - 20.0), (y - 10.0, x + 20.0), (y, x + 20.0), (y, x - 20.0)])
    correcting.clear(Region.around([polygon], (100, 110)))
    assert area(session, number) > 0
    assert session.cells.get((), number).detector_score == score
    everything = np.array([(0.0, 0.0), (0.0, 110.0), (100.0, 110.0), (100.0, 0.0)])
    correcting.clear(Region.around([everything], (100, 110)))
    assert len(list(session.cells)) == 0


def test_a_layer_of_small_numbers_that_is_full_is_told(session, correcting):
    labels = np.zeros((100, 110), np.uint8)
    labels[10:20, 10:20] = 255
    layer = session.viewer.add_labels(labels)
    session.use_labels(layer)
    session.settle()
    with pytest.raises(Exception, match="holds numbers up to 255"):
        correcting.renumber(15, 15)
    assert (np.asarray(layer.data)[10:20, 10:20] == 255).all()


def test_a_corrected_cell_is_no_longer_the_active_one(session, correcting):
    session.prompting.click(20, 20)
    session.settle()
    correcting.grow(20, 20)
    assert session.prompting.active is None


def test_only_the_crop_is_touched(session, correcting, cells, monkeypatch):
    read = []
    target = session.target
    monkeypatch.setattr(
        target, "read", lambda plane, window, _read=target.read: (read.append(window), _read(plane, window))[1]
    )
    correcting.grow(11, 11)
    assert all((w[0].stop - w[0].start) * (w[1].stop - w[1].start) < 9000 for w in read)
