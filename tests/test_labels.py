"""Label images, on arrays small enough to be read."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.errors import ImageShapeError, OptionError
from napari_cellsam.labels import assemble, boxes_of, fill_holes, largest_piece, relabel_sequential, survivors_of
from napari_cellsam.types import Mask


def _mask(rows: list[str], corner: tuple[int, int] = (0, 0), probability: int | list[list[int]] | None = None) -> Mask:
    """Draw a mask: ``#`` is inside."""
    crop = np.array([[c == "#" for c in row] for row in rows])
    level = None if probability is None else np.broadcast_to(np.uint8(probability), crop.shape)
    return Mask(crop, corner, 0.9, probability=level)


def _rows(labels: np.ndarray) -> list[str]:
    return ["".join(".123456789"[v] for v in row) for row in labels]


def test_masks_apart_are_numbered_in_the_order_given() -> None:
    labels, kept = assemble([_mask(["##"], (2, 3)), _mask(["#", "#"], (0, 0))], [0.2, 0.9], (3, 5))
    assert _rows(labels) == ["2....", "2....", "...11"]
    assert labels.dtype == np.uint32
    assert kept == [0, 1]


def test_no_masks_give_an_empty_label_image() -> None:
    labels, kept = assemble([], [], (2, 3))
    assert _rows(labels) == ["...", "..."]
    assert kept == []


def test_overlap_goes_to_the_higher_probability_pixel_by_pixel() -> None:
    one = _mask(["####"], (0, 0), [[200, 200, 200, 100]])
    two = _mask(["####"], (0, 2), [[150, 150, 200, 200]])
    labels, _ = assemble([one, two], [0.1, 0.9], (1, 6))
    assert _rows(labels) == ["111222"]


def test_without_probabilities_overlap_goes_to_the_higher_score() -> None:
    masks = [_mask(["####"], (0, 0)), _mask(["####"], (0, 2))]
    assert _rows(assemble(masks, [0.9, 0.4], (1, 6))[0]) == ["111122"]
    assert _rows(assemble(masks, [0.4, 0.9], (1, 6))[0]) == ["112222"]
    assert _rows(assemble(masks, [0.4, 0.4], (1, 6))[0]) == ["111122"]  # the earlier one


def test_a_duplicate_is_dropped_and_leaves_no_hole() -> None:
    better = _mask(["######"], (0, 0), [[200, 100, 200, 100, 200, 200]])
    double = _mask(["#####"], (0, 0), [[100, 200, 100, 200, 100]])
    labels, kept = assemble([double, better], [0.8, 0.7], (1, 7))
    assert _rows(labels) == ["111111."]
    assert kept == survivors_of([double, better], [0.8, 0.7], (1, 7)) == [1]


def test_one_of_many_equal_duplicates_remains() -> None:
    rng = np.random.default_rng(0)
    masks = [Mask(np.ones((6, 6), bool), (1, 1), 0.9, rng.integers(1, 255, (6, 6)).astype(np.uint8)) for _ in range(9)]
    labels, kept = assemble(masks, [0.5] * 9, (8, 8))
    assert len(kept) == 1
    assert (labels[1:7, 1:7] == 1).all()
    assert np.count_nonzero(labels) == 36


def test_only_the_largest_piece_of_a_cell_stays() -> None:
    wide = _mask(["#######"], (1, 0), 100)
    across = _mask(["#", "#", "#"], (0, 2), 200)
    labels, kept = assemble([wide, across], [0.9, 0.9], (3, 7))
    assert _rows(labels) == ["..2....", "..21111", "..2...."]
    assert kept == [0, 1]


def test_holes_are_filled_but_not_a_cell_in_a_hole() -> None:
    ring = _mask(["#######", "#.....#", "#.###.#", "#######"])
    hole = _mask(["#######", "#.#...#", "#######"], (5, 0))
    inner = _mask(["###"], (1, 2))
    labels, kept = assemble([ring, inner, hole], [0.9, 0.5, 0.4], (8, 7))
    assert _rows(labels) == ["1111111", "1122211", "1111111", "1111111", ".......", "3333333", "3333333", "3333333"]
    assert kept == [0, 1, 2]


def test_cells_below_the_smallest_area_are_dropped_and_fill_no_number() -> None:
    masks = [_mask(["##"], (0, 0)), _mask(["###"], (1, 0)), _mask(["##", "##"], (2, 0))]
    labels, kept = assemble(masks, [0.9, 0.9, 0.9], (4, 3), min_area=3)
    assert _rows(labels) == ["...", "111", "22.", "22."]
    assert kept == [1, 2]


def test_a_small_cell_dropped_from_a_hole_leaves_it_filled() -> None:
    labels, kept = assemble([_mask(["#"], (1, 1)), _mask(["###", "#.#", "###"])], [0.9, 0.8], (3, 3), min_area=2)
    assert _rows(labels) == ["111", "111", "111"]
    assert kept == [1]


def test_what_lies_beyond_the_image_is_cut_off() -> None:
    masks = [_mask(["##", "##"], (-1, -1)), _mask(["##", "##"], (2, 3)), _mask(["##"], (9, 9)), _mask(["#"], (-5, 0))]
    labels, kept = assemble(masks, [0.9] * 4, (3, 4))
    assert _rows(labels) == ["1...", "....", "...2"]
    assert kept == [0, 1]


def test_empty_masks_are_dropped() -> None:
    labels, kept = assemble([Mask(np.zeros((0, 0), bool), (0, 0), 0.0), _mask(["..", ".."])], [1.0, 1.0], (2, 2))
    assert not labels.any()
    assert kept == []


def test_a_score_too_few_is_refused() -> None:
    with pytest.raises(OptionError, match="2 masks and 1 scores"):
        assemble([_mask(["#"]), _mask(["#"])], [0.5], (2, 2))
    with pytest.raises(OptionError, match="2 masks and 1 scores"):
        survivors_of([_mask(["#"]), _mask(["#"])], [0.5], (2, 2))


def test_the_order_of_masks_changes_only_the_numbers() -> None:
    rng = np.random.default_rng(1)
    masks = [
        Mask(rng.random((9, 9)) < 0.9, (int(y), int(x)), 0.9, rng.integers(1, 255, (9, 9)).astype(np.uint8))
        for y, x in rng.integers(0, 50, (30, 2))
    ]
    scores = rng.permutation(30) / 30
    labels, kept = assemble(masks, scores, (60, 60))
    turned, turned_kept = assemble(masks[::-1], scores[::-1], (60, 60))
    assert sorted(29 - i for i in turned_kept) == kept
    np.testing.assert_array_equal(turned, np.where(labels > 0, len(kept) + 1 - labels.astype(int), 0))


@pytest.mark.slow
def test_ten_thousand_cells_are_assembled() -> None:
    y, x = np.mgrid[:45, :45] - 22
    disc = y**2 + x**2 <= 22**2
    level = (255 - 5 * np.hypot(y, x)).astype(np.uint8)
    masks = [Mask(disc, (int(r) * 40, int(c) * 40), 0.9, level) for r in range(100) for c in range(100)]
    labels, kept = assemble(masks, [0.5] * len(masks), (4096, 4096), min_area=20)
    assert len(kept) == 10_000
    assert labels.max() == 10_000


def test_the_largest_piece_is_connected_over_corners() -> None:
    mask = np.array([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]], bool)
    expected = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(largest_piece(mask), expected)
    assert not largest_piece(np.zeros((2, 2), bool)).any()


def test_a_bay_is_no_hole_and_a_gap_at_a_corner_is() -> None:
    bay = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 1]], bool)
    np.testing.assert_array_equal(fill_holes(bay), bay)
    closed_over_corners = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    assert fill_holes(closed_over_corners)[1, 1]
    assert not fill_holes(closed_over_corners)[0, 0]
    assert fill_holes(np.zeros((0, 0), bool)).shape == (0, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32, np.int64])
def test_gaps_between_numbers_are_closed(dtype: type) -> None:
    labels = np.array([[0, 7, 7], [3, 0, 120]], dtype)
    np.testing.assert_array_equal(relabel_sequential(labels), [[0, 2, 2], [1, 0, 3]])
    assert relabel_sequential(labels).dtype == np.uint32


def test_huge_numbers_need_no_huge_table() -> None:
    labels = np.array([[0, 4_000_000_000], [5, 4_000_000_000]], np.uint32)
    np.testing.assert_array_equal(relabel_sequential(labels), [[0, 2], [1, 2]])
    np.testing.assert_array_equal(relabel_sequential(np.array([[9**9, 5]])), [[2, 1]])  # no background


def test_negative_and_real_labels_are_refused() -> None:
    for labels in (np.array([[-1, 2]]), np.array([[0.0, 1.0]])):
        with pytest.raises(ImageShapeError, match="expected integers"):
            relabel_sequential(labels)


def test_boxes_end_at_the_centres_of_the_outermost_pixels() -> None:
    labels = np.array([[0, 1, 1, 0], [0, 1, 0, 2]], np.uint32)
    np.testing.assert_array_equal(boxes_of(labels), [[0, 1, 1, 2], [1, 3, 1, 3]])
    assert boxes_of(labels).dtype == np.float32
    assert boxes_of(np.zeros((3, 3), np.uint32)).shape == (0, 4)


def test_boxes_of_labels_with_gaps_are_refused() -> None:
    with pytest.raises(OptionError, match="cell 1 is missing"):
        boxes_of(np.array([[0, 2]], np.uint32))
