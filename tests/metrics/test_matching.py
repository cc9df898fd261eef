"""Cells are matched one to one by intersection over union."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.metrics import Counts, find_overlaps, match_labels

SMALL_LABELS = arrays(np.uint8, (6, 6), elements=st.integers(0, 4))


def brute_force_overlaps(truth, predicted):
    """IoU of every pair that shares a pixel, by its definition."""
    found = {}
    for t, p in itertools.product(np.unique(truth[truth > 0]), np.unique(predicted[predicted > 0])):
        both = ((truth == t) & (predicted == p)).sum()
        if both:
            found[int(t), int(p)] = both / ((truth == t) | (predicted == p)).sum()
    return found


def brute_force_matches(overlaps, iou):
    """Largest number of pairs, then largest sum of IoU, by trying every subset."""
    good = [(pair, value) for pair, value in overlaps.items() if value >= iou]
    best = (0, 0.0)
    for size in range(len(good), 0, -1):
        for chosen in itertools.combinations(good, size):
            if len({t for (t, _), _ in chosen}) == len({p for (_, p), _ in chosen}) == size:
                best = max(best, (size, sum(value for _, value in chosen)))
        if best[0]:
            return best
    return best


def test_a_shifted_cell_has_the_iou_of_its_shared_pixels():
    truth = np.array([[7, 7, 7, 7, 0]])
    predicted = np.array([[0, 9, 9, 9, 9]])
    matched = match_labels(truth, predicted, 0.6)
    assert (matched.truth_labels.tolist(), matched.predicted_labels.tolist(), matched.iou.tolist()) == ([7], [9], [0.6])
    assert matched.counts == Counts(1, 0, 0)


def test_a_pair_below_the_threshold_is_one_miss_and_one_invention():
    counts = match_labels(np.array([[7, 7, 7, 7, 0]]), np.array([[0, 9, 9, 9, 9]]), 0.61).counts
    assert counts == Counts(0, 1, 1)
    assert (counts.f1, counts.precision, counts.recall, counts.accuracy) == (0, 0, 0, 0)


def test_a_split_cell_is_matched_once():
    matched = match_labels(np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]]), 0.5)
    assert matched.counts == Counts(1, 1, 0)


def test_at_low_thresholds_the_most_pairs_win_over_the_best_pair():
    #  1 and b overlap best, but then neither 2 nor a has a partner
    truth = np.array([[1] * 6 + [2] * 4])
    predicted = np.array([[5] * 2 + [6] * 6 + [0] * 2])
    overlaps = brute_force_overlaps(truth, predicted)
    assert overlaps == {(1, 5): 2 / 6, (1, 6): 4 / 8, (2, 6): 2 / 8}
    matched = match_labels(truth, predicted, 0.2)
    assert matched.truth_labels.tolist() == [1, 2]
    assert matched.predicted_labels.tolist() == [5, 6]


def test_labels_keep_their_values_across_gaps_and_large_numbers():
    truth = np.zeros((3, 4), np.uint32)
    truth[0], truth[2] = 2**32 - 1, 12
    matched = match_labels(truth, truth, 1.0)
    assert matched.truth_labels.tolist() == [12, 2**32 - 1]
    assert matched.predicted_labels.tolist() == [12, 2**32 - 1]


def test_images_without_background_or_without_cells_are_counted():
    full, empty = np.ones((2, 2), int), np.zeros((2, 2), int)
    assert match_labels(full, full).counts == Counts(1, 0, 0)
    assert match_labels(full, empty).counts == Counts(0, 0, 1)
    assert match_labels(empty, full).counts == Counts(0, 1, 0)
    assert match_labels(empty, empty).counts == Counts(0, 0, 0)
    assert match_labels(np.zeros((0, 4), int), np.zeros((0, 4), int)).counts == Counts(0, 0, 0)


def test_nothing_found_where_nothing_is_counts_as_perfect():
    counts = Counts(0, 0, 0)
    assert (counts.f1, counts.precision, counts.recall, counts.accuracy) == (1, 1, 1, 1)


@pytest.mark.parametrize("bad", [np.array([[0.5]]), np.array([[-1]]), np.array([[2**32]]), np.array([["a"]])])
def test_labels_that_are_not_integers_of_32_bits_are_refused(bad):
    good = np.ones((1, 1), np.uint8)
    with pytest.raises(ImageShapeError, match="true labels"):
        find_overlaps(bad, good)
    with pytest.raises(ImageShapeError, match="predicted labels"):
        find_overlaps(good, bad)


def test_label_images_of_different_shape_are_refused():
    with pytest.raises(ImageShapeError, match=r"\(2, 3\).*\(3, 2\)"):
        find_overlaps(np.ones((2, 3), int), np.ones((3, 2), int))


@pytest.mark.parametrize("iou", [0, -0.1, 1.1, float("nan")])
def test_a_threshold_outside_zero_to_one_is_refused(iou):
    with pytest.raises(OptionError, match="iou"):
        match_labels(np.ones((2, 2), int), np.ones((2, 2), int), iou)


@given(SMALL_LABELS, SMALL_LABELS)
@settings(max_examples=60, deadline=None)
def test_overlaps_equal_the_definition(truth, predicted):
    overlaps = find_overlaps(truth, predicted)
    keys = zip(
        overlaps.truth_labels[overlaps.pairs[:, 0]], overlaps.predicted_labels[overlaps.pairs[:, 1]], strict=True
    )
    assert dict(zip(keys, overlaps.iou, strict=True)) == brute_force_overlaps(truth, predicted)


@given(
    arrays(np.uint8, (5, 5), elements=st.integers(0, 3)),
    arrays(np.uint8, (5, 5), elements=st.integers(0, 3)),
    st.sampled_from([0.05, 0.2, 0.5, 0.6, 0.9]),
)
@settings(max_examples=60, deadline=None)
def test_the_matching_is_the_best_of_all(truth, predicted, iou):
    matched = match_labels(truth, predicted, iou)
    size, total = brute_force_matches(brute_force_overlaps(truth, predicted), iou)
    assert matched.counts.true_positives == len(matched.iou) == size
    assert matched.iou.sum() == pytest.approx(total)
    assert len(set(matched.truth_labels)) == len(set(matched.predicted_labels)) == size


@given(SMALL_LABELS, SMALL_LABELS, st.permutations(range(1, 5)))
@settings(max_examples=40, deadline=None)
def test_renaming_labels_changes_no_count(truth, predicted, names):
    renamed = np.array([0, *names])[predicted]
    assert match_labels(truth, renamed, 0.3).counts == match_labels(truth, predicted, 0.3).counts


@given(SMALL_LABELS, SMALL_LABELS)
@settings(max_examples=40, deadline=None)
def test_swapping_truth_and_prediction_swaps_precision_and_recall(truth, predicted):
    one, two = match_labels(truth, predicted, 0.4).counts, match_labels(predicted, truth, 0.4).counts
    assert (one.precision, one.recall, one.f1) == (two.recall, two.precision, two.f1)
