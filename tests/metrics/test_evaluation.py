"""Label images are evaluated one by one and pooled."""

import json

import numpy as np
import pytest

from napari_cellsam.errors import OptionError
from napari_cellsam.metrics import Counts, LabelPair, evaluate

TRUTH = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2, 0]])
SHIFTED = np.array([[1, 1, 1, 1, 0, 0, 2, 2, 2, 2]])  # IoU 1 and 3 / 5


def test_one_perfect_and_one_shifted_cell_give_the_figures_worked_out_by_hand():
    figures = evaluate([LabelPair(TRUTH, SHIFTED, name="a")]).images[0]
    assert figures.counts == Counts(2, 0, 0)
    # both count at 0.50, 0.55, 0.60; one of two at the other seven
    assert figures.mean_f1 == pytest.approx((3 * 1 + 7 * 0.5) / 10)
    assert figures.mean_accuracy == pytest.approx((3 * 1 + 7 / 3) / 10)
    assert (figures.ap50, figures.mean_ap) == (None, None)


def test_scores_give_average_precision():
    figures = evaluate([(TRUTH, SHIFTED, [0.9, 0.8])]).pooled
    assert figures.ap50 == 1
    assert figures.mean_ap == pytest.approx((3 * 1 + 7 * 51 / 101) / 10)


def test_pooled_figures_count_cells_not_images():
    many = np.arange(1, 9).reshape(1, 8)
    result = evaluate([(many, many), (np.array([[1]]), np.array([[0]]))])
    assert result.pooled.counts == Counts(8, 0, 1)
    assert result.pooled.counts.recall == pytest.approx(8 / 9)
    assert [figures.counts.recall for figures in result.images] == [1, 0]


def test_pooled_average_precision_ranks_detections_of_all_images_together():
    one = np.array([[1]])
    wrong = (np.array([[1, 0]]), np.array([[0, 1]]), [0.9])
    right = (one, one, [0.1])
    # the wrong one ranks first: precision 1/2 up to recall 1/2
    assert evaluate([right, wrong]).pooled.ap50 == pytest.approx(51 * 0.5 / 101)


def test_without_scores_for_every_image_nothing_is_pooled_from_them():
    one = np.array([[1]])
    result = evaluate([(one, one, [0.9]), (one, one)])
    assert result.images[0].ap50 == 1
    assert result.pooled.ap50 is None


def test_figures_of_empty_images_are_plain_json():
    empty = np.zeros((2, 2), int)
    result = json.loads(json.dumps(evaluate([LabelPair(empty, empty, (), "empty")]).as_dict(), allow_nan=False))
    assert result["pooled"]["f1"] == 1
    assert result["images"][0]["ap50"] is None
    assert result["images"][0]["name"] == "empty"


def test_pairs_may_come_from_a_generator():
    labels = np.ones((4, 4), int)
    assert len(evaluate((labels, labels) for _ in range(3)).images) == 3


def test_nothing_to_compare_is_refused():
    with pytest.raises(OptionError, match="no pair"):
        evaluate([])


def test_ten_thousand_cells_of_a_large_image_are_evaluated():
    side, n = 20, 100
    grid = np.kron(np.arange(1, n * n + 1, dtype=np.uint32).reshape(n, n), np.ones((side, side), np.uint32))
    figures = evaluate([(grid, np.roll(grid, 2, axis=1), np.linspace(0, 1, n * n))]).pooled
    assert figures.counts.true_positives == n * n
