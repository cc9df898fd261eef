"""Corrections of cells: small pictures whose answer can be seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from napari_cellsam import corrections
from napari_cellsam.errors import OptionError


def picture(*rows):
    """Return the label image that is written as rows of digits, with ``.`` for background."""
    return np.array([[0 if c == "." else int(c) for c in row] for row in rows], np.uint32)


def same(got, *rows):
    return np.array_equal(got, picture(*rows)) and got.dtype == np.uint32


def test_merged_cells_have_the_number_of_the_first():
    assert same(corrections.merge(picture("112.", "1122"), [2, 1]), "222.", "2222")


def test_a_gap_of_two_pixels_between_merged_cells_is_closed():
    before = picture(".......", "11..22.", "11..22.", "11..22.", ".......")
    assert same(corrections.merge(before, [1, 2]), ".......", "111111.", "111111.", "111111.", ".......")


def test_a_third_cell_between_merged_ones_keeps_its_pixels():
    before = picture("11322", "11322", "11322")
    assert same(corrections.merge(before, [1, 2]), "11311", "11311", "11311")


@pytest.mark.parametrize("labels", [[1], [1, 1], []])
def test_a_single_cell_cannot_be_merged(labels):
    with pytest.raises(OptionError, match="two different"):
        corrections.merge(picture("12"), labels)


def test_a_cell_that_is_not_there_is_named():
    with pytest.raises(OptionError, match="no cell 3 here"):
        corrections.merge(picture("12"), [1, 3])


def test_a_line_across_a_cell_parts_it_and_the_larger_piece_keeps_the_number():
    before = picture("11111", "11111")
    after = corrections.split_at_line(before, 1, [(-1, 1), (2, 1)], [5])
    assert set(np.unique(after)) == {1, 5}
    assert (after > 0).all()
    assert (after[:, 2:] == 1).all()
    assert (after[:, 0] == 5).all()


def test_a_slanted_line_leaves_no_bridge():
    before = np.ones((9, 9), np.uint32)
    after = corrections.split_at_line(before, 1, [(-1, -1), (9, 9)], [2])
    assert after[8, 0] != after[0, 8]
    assert set(np.unique(after)) == {1, 2}


def test_pixels_at_a_corner_of_a_cell_that_is_cut_become_no_cells():
    crop = np.zeros((30, 40), np.uint16)
    crop[5:25, 5:25] = 1
    crop[4, 25] = 1  # at a corner, beside the right half
    crop[28:30, 36:40] = 1  # a piece that was apart before
    cut = corrections.split_at_line(crop, 1, [(0, 13), (29, 13)], [2, 3, 4])
    assert np.unique(cut).tolist() == [0, 1, 2]
    assert (cut[5:25, 15:25] == cut[4, 25]).all()
    assert (cut[28:30, 36:40] == 1).all()
    assert (cut[5:25, 5:12] == 2).all()
    covered = corrections.split_at_line(crop, 1, [(29, 5), (4, 25)], [2, 3, 4])
    assert np.unique(covered).tolist() == [0, 1, 2], "also where the line covers the pixel at the corner"


def test_a_line_that_bends_may_make_several_pieces():
    before = np.ones((3, 20), np.uint32)
    after = corrections.split_at_line(before, 1, [(-1, 5), (3, 5), (3, 12), (-1, 12)], [2, 3])
    assert len({after[1, 0], after[1, 8], after[1, 19]}) == 3


def test_pieces_beyond_the_given_numbers_stay_with_a_neighbour():
    before = np.ones((3, 20), np.uint32)
    after = corrections.split_at_line(before, 1, [(-1, 5), (3, 5), (3, 12), (-1, 12)], [2])
    assert set(np.unique(after)) == {1, 2}


@pytest.mark.parametrize("line", [[(0, 0), (0, 2)], [(5, 5), (9, 9)], [(1, 0), (1, 2)]])
def test_a_line_that_does_not_part_the_cell_is_refused(line):
    with pytest.raises(OptionError, match="does not part"):
        corrections.split_at_line(np.ones((4, 6), np.uint32), 1, line, [2])


@pytest.mark.parametrize("line", [[(0, 0)], [], [(0, 0), (np.nan, 1)], [(1, 2, 3), (1, 2, 3)]])
def test_what_is_no_line_is_refused(line):
    with pytest.raises(OptionError, match="two or more points"):
        corrections.split_at_line(np.ones((4, 6), np.uint32), 1, line, [2])


def test_two_points_part_two_discs_that_touch():
    y, x = np.indices((21, 41))
    touching = ((y - 10) ** 2 + (x - 11) ** 2 <= 81) | ((y - 10) ** 2 + (x - 28) ** 2 <= 81)
    after = corrections.split_at_points(touching.astype(np.uint32), 1, [(10, 11), (10, 28)], [7])
    assert ((after > 0) == touching).all()
    assert (after[:, :19][touching[:, :19]] == 1).all()
    assert (after[:, 21:][touching[:, 21:]] == 7).all()


def test_a_landscape_says_where_the_parts_meet():
    landscape = np.array([[3, 3, 3, 3, 3, 1, 3]], float)
    after = corrections.split_at_points(picture("1111111"), 1, [(0, 0), (0, 6)], [2], landscape)
    assert same(after[:, :5], "11111")
    assert same(after[:, 6:], "2")


@pytest.mark.parametrize(
    ("points", "numbers"), [([(0, 0)], []), ([(0, 0), (0, 1)], []), ([(0, 0), (0, 0)], [2]), ([(0, 0), (5, 5)], [2])]
)
def test_points_that_part_nothing_are_refused(points, numbers):
    with pytest.raises(OptionError, match="point"):
        corrections.split_at_points(picture("111"), 1, points, numbers)


def test_a_cell_grows_into_background_only():
    assert same(corrections.grow(picture("....", ".12.", "...."), 1), ".1..", "112.", ".1..")


def test_a_cell_shrinks_all_around():
    assert same(
        corrections.shrink(picture(".....", ".111.", ".111.", ".111.", "....."), 1),
        *[".....", "....."],
        "..1..",
        *[".....", "....."],
    )


def test_a_cell_does_not_shrink_to_nothing():
    with pytest.raises(OptionError, match="nothing would be left"):
        corrections.shrink(picture("11", "11"), 1)


@pytest.mark.parametrize("verb", [corrections.grow, corrections.shrink, corrections.smooth])
def test_no_pixels_are_refused(verb):
    with pytest.raises(OptionError, match="1 or more"):
        verb(picture("111", "111", "111"), 1, 0)


def test_holes_are_filled_but_not_other_cells():
    assert same(corrections.fill(picture("11111", "1.121", "11111"), 1), "11111", "11121", "11111")


def test_a_bay_is_no_hole():
    bay = picture("111", "1..", "111")
    assert np.array_equal(corrections.fill(bay, 1), bay)


def test_smoothing_takes_a_spike_away_and_keeps_the_disc():
    y, x = np.indices((31, 31))
    disc = (y - 15) ** 2 + (x - 15) ** 2 <= 64
    spiky = disc.copy()
    spiky[15, 24:30] = True
    after = corrections.smooth(spiky.astype(np.uint32), 1) > 0
    assert not after[15, 26:].any()
    assert np.count_nonzero(after ^ disc) <= 16


def test_a_cell_thinner_than_the_radius_is_not_smoothed_away():
    with pytest.raises(OptionError, match="thinner than 5 pixels"):
        corrections.smooth(picture(".......", "1111111", "......."), 1)


def test_only_the_largest_piece_is_kept():
    assert same(corrections.keep_largest(picture("11..1", "11.2."), 1), "11...", "11.2.")


def test_a_cell_gets_another_number():
    assert same(corrections.renumber(picture("112"), 1, 9), "992")


def test_a_number_that_is_taken_is_refused():
    with pytest.raises(OptionError, match="cell 2 already"):
        corrections.renumber(picture("112"), 1, 2)


def test_two_cells_exchange_their_numbers():
    assert same(corrections.swap(picture("112.3"), 1, 2), "221.3")


def test_a_region_is_cleared():
    region = np.array([[0, 1, 1, 0]], bool)
    assert same(corrections.clear_region(picture("1123"), region), "1..3")


def test_cells_that_a_region_touches_go_as_a_whole_if_wanted():
    region = np.array([[0, 1, 0, 0]], bool)
    assert same(corrections.clear_region(picture("1123"), region, whole_cells=True), "..23")


VERBS = (corrections.grow, corrections.shrink, corrections.fill, corrections.smooth, corrections.keep_largest)


@pytest.mark.parametrize("verb", VERBS)
@given(crop=nps.arrays(np.uint32, (9, 8), elements=st.integers(0, 3)))
def test_a_correction_of_one_cell_takes_no_pixel_of_another(verb, crop):
    before = crop.copy()
    try:
        after = verb(crop, 1)
    except OptionError:
        return
    assert np.array_equal(crop, before)
    assert np.array_equal(after == 2, before == 2)
    assert np.array_equal(after == 3, before == 3)
    assert (after == 1).any()
