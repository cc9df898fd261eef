"""Average precision follows COCO's definition."""

import numpy as np
import pytest

from napari_cellsam.errors import OptionError
from napari_cellsam.metrics import average_precision, find_overlaps
from napari_cellsam.metrics.precision import judge


def test_perfect_detections_have_an_average_precision_of_one():
    assert average_precision([0.9, 0.8], [True, True], 2) == 1


def test_half_of_the_cells_found_without_error_fills_the_recalls_up_to_one_half():
    assert average_precision([0.9], [True], 2) == pytest.approx(51 / 101)


def test_a_false_detection_first_lowers_precision_and_one_last_does_not():
    assert average_precision([0.9, 0.1], [False, True], 1) == pytest.approx(0.5)
    assert average_precision([0.1, 0.9], [False, True], 1) == 1


def test_precision_is_made_to_fall_with_recall():
    # precisions 1, 1/2, 2/3 at recalls 1/2, 1/2, 1: the dip is filled by the later 2/3
    expected = (51 * 1 + 50 * 2 / 3) / 101
    assert average_precision([0.9, 0.8, 0.7], [True, False, True], 2) == pytest.approx(expected)


def test_a_recall_of_exactly_29_hundredths_reaches_it():
    # 0.29 * 100 is 28.999999999999996 in floating point
    assert average_precision(np.ones(29), np.ones(29), 100) == pytest.approx(30 / 101)


def test_no_detections_score_zero_and_no_cells_have_no_precision():
    assert average_precision([], [], 3) == 0
    assert average_precision([0.9], [False], 0) is None


def test_of_two_detections_of_one_cell_the_better_score_counts():
    overlaps = find_overlaps(np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]]))
    assert judge(overlaps, [0.2, 0.7]).correct[0].tolist() == [False, True]
    assert judge(overlaps, {1: 0.7, 2: 0.2}).correct[0].tolist() == [True, False]


def test_scores_may_name_labels_with_gaps():
    overlaps = find_overlaps(np.array([[3, 3, 8, 8]]), np.array([[4, 4, 9, 9]]))
    assert judge(overlaps, {9: 0.25, 4: 0.5, 77: 1.0}).scores.tolist() == [0.5, 0.25]


@pytest.mark.parametrize("scores", [{1: 0.5}, [0.5], [[0.5, 0.5]], [0.5, float("nan")]])
def test_missing_or_unusable_scores_are_refused(scores):
    overlaps = find_overlaps(np.array([[1, 2]]), np.array([[1, 2]]))
    with pytest.raises(OptionError, match="score"):
        judge(overlaps, scores)
