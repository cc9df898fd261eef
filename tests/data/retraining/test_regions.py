"""What is certain in a corrected picture, and which crops of it are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellsam.data.retraining.pictures import Corrected
from napari_cellsam.data.retraining.regions import certain_region, plan_crops
from napari_cellsam.editing.records import CellRecord
from napari_cellsam.errors import DatasetError, ImageShapeError
from napari_cellsam.types import Image

IMAGE = Image.from_array(np.eye(40))


def corrected(labels, records=(), verified=None):
    return Corrected(IMAGE, labels, verified, tuple(records))


def two_cells():
    labels = np.zeros((40, 40), np.uint32)
    labels[10:20, 5:15], labels[10:20, 16:26] = 1, 2
    return labels


def test_what_a_person_verified_counts_as_it_is():
    region = np.zeros((40, 40), np.uint8)
    region[3:30] = 7
    assert np.array_equal(certain_region(corrected(two_cells(), verified=region)), region > 0)


def test_without_a_verified_region_cells_of_a_person_are_certain_with_a_narrow_rim():
    region = certain_region(corrected(two_cells(), [CellRecord(1, origin="automatic"), CellRecord(2, origin="edited")]))
    assert region[10:20, 16:26].all()
    assert region[8, 20] and not region[7, 20]  # 15 % of the diameter of 11 pixels
    assert region[15, 27] and not region[15, 28]


def test_a_cell_that_only_the_model_spoke_for_is_never_certain():
    region = certain_region(corrected(two_cells(), [CellRecord(1, origin="automatic"), CellRecord(2, origin="edited")]))
    assert not region[10:20, 5:15].any()
    assert region[15, 15]  # the gap is in the rim


@pytest.mark.parametrize("record", [CellRecord(1, origin="automatic", reviewed=True), CellRecord(1, origin="manual")])
def test_a_cell_that_was_reviewed_or_drawn_is_certain(record):
    assert certain_region(corrected(two_cells(), [record, CellRecord(2, origin="automatic")]))[10:20, 5:15].all()


def test_a_cell_without_a_record_counts_as_drawn():
    assert certain_region(corrected(two_cells()))[10:20, 5:26].all()


def test_a_verified_region_that_is_empty_counts_as_none():
    nothing = corrected(two_cells(), verified=np.zeros((40, 40), bool))
    assert np.array_equal(certain_region(nothing), certain_region(corrected(two_cells())))


def test_a_picture_in_which_nothing_is_certain_is_refused():
    with pytest.raises(DatasetError, match="Review some of its 2 cells"):
        certain_region(corrected(two_cells(), [CellRecord(n, origin="automatic") for n in (1, 2)]))


def test_a_verified_picture_without_cells_teaches_what_background_is():
    empty = corrected(np.zeros((40, 40), int), verified=np.ones((40, 40)))
    assert certain_region(empty).all()


@pytest.mark.parametrize("what", ["labels", "verified"])
def test_arrays_of_another_shape_are_refused(what):
    arrays = {"labels": two_cells(), "verified": np.ones((40, 40))} | {what: np.ones((3, 3), int)}
    with pytest.raises(ImageShapeError, match=r"\(3, 3\), but the image \(40, 40\)"):
        Corrected(IMAGE, **arrays)


def test_two_records_of_one_cell_are_refused():
    with pytest.raises(DatasetError, match="several records"):
        corrected(two_cells(), [CellRecord(1, (0,)), CellRecord(1, (1,))])


@pytest.mark.parametrize("name", ["", "  ", "two\nlines"])
def test_a_name_that_cannot_be_shown_is_refused(name):
    with pytest.raises(DatasetError, match="expected some text"):
        Corrected(IMAGE, two_cells(), name=name)


def test_a_small_picture_is_kept_whole():
    verified = np.zeros((2048, 2048), bool)
    verified[0, 0] = True
    assert plan_crops(verified) == [(0, 0, 2048, 2048)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2999), st.integers(0, 2199)), min_size=1, max_size=12))
def test_crops_of_a_large_picture_hold_all_that_is_known_with_context_and_do_not_overlap(points):
    verified = np.zeros((3000, 2200), bool)
    verified[tuple(np.transpose(points))] = True
    times = np.zeros(verified.shape, np.uint8)
    for y0, x0, y1, x1 in plan_crops(verified):
        assert 0 <= y0 < y1 <= 3000 and 0 <= x0 < x1 <= 2200
        times[y0:y1, x0:x1] += 1
    assert times.max() == 1
    for y, x in points:
        assert times[max(y - 64, 0) : y + 65, max(x - 64, 0) : x + 65].all()


def test_regions_far_apart_are_crops_of_their_own():
    verified = np.zeros((4000, 4000), bool)
    verified[100:150, 100:150] = verified[3900:, 3900:] = True
    (top, left, bottom, right), last = plan_crops(verified)
    assert (top, left) == (0, 0) and bottom < 400 and right < 400
    assert last[2:] == (4000, 4000)
