"""Figures of a model on labelled pictures, with a model that thresholds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import expit

from napari_cellsam.data.dataset import list_entries
from napari_cellsam.errors import DatasetError
from napari_cellsam.export.label_tiff import write_labels
from napari_cellsam.metrics.matching import Counts
from napari_cellsam.training.validation import (
    best_cut,
    calibration,
    click_centres,
    counts_by_source,
    one_click_ious,
    scored_cells,
)
from napari_cellsam.types import Mask


class Threshold:
    """Calls everything bright a cell, as long as the score cut is below 0.5."""

    def segment(self, image: Any, options: Any) -> Any:
        bright = image.pixels[..., 0] > 100
        labels, _ = ndimage.label(bright if (options.box_score or 0) < 0.5 else np.zeros_like(bright))
        n = labels.max()
        scores, predicted = np.full(n, 0.4, np.float32), np.full(n, 0.9, np.float32)
        return SimpleNamespace(labels=labels.astype(np.uint32), n_cells=n, scores=scores, predicted_iou=predicted)

    def segment_prompts(self, image: Any, prompts: list[Any]) -> list[Mask]:
        labels, _ = ndimage.label(image.pixels[..., 0] > 100)
        return [Mask(labels == labels[tuple(p.inside_yx[0].astype(int))], (0, 0), 1.0) for p in prompts]


@pytest.fixture
def two_squares(tmp_path: Path) -> Path:
    import imageio.v3 as iio

    labels = np.zeros((32, 40), np.uint16)
    labels[2:12, 2:12], labels[18:28, 20:34] = 1, 2
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    write_labels(tmp_path / "masks" / "a.tif", labels)
    iio.imwrite(tmp_path / "images" / "a.tif", (labels > 0).astype(np.uint8) * 200)
    return tmp_path


def test_cells_are_counted_by_source_and_cut(two_squares: Path) -> None:
    counts = counts_by_source(Threshold(), list_entries(two_squares), cuts=(0.3, 0.6))  # type: ignore[arg-type]
    assert counts[0.3] == {two_squares.name: Counts(2, 0, 0)}
    assert counts[0.6] == {two_squares.name: Counts(0, 0, 2)}


def test_the_best_cut_is_the_best_mean_over_sources_not_over_cells() -> None:
    large, small = Counts(900, 0, 100), Counts(1, 0, 9)
    worse, better = Counts(800, 0, 200), Counts(8, 0, 2)
    counts = {0.3: {"a": large, "b": small}, 0.4: {"a": worse, "b": better}, None: {"a": large, "b": better}}
    assert best_cut(counts) == 0.4  # type: ignore[arg-type]


def test_cells_are_scored_beside_the_best_true_one(two_squares: Path) -> None:
    labels = np.zeros((32, 40), np.uint16)
    labels[2:12, 2:7] = 3  # half of the first square; nothing of the second
    write_labels(two_squares / "masks" / "a.tif", labels, overwrite=True)
    scores, predicted, ious = scored_cells(Threshold(), list_entries(two_squares))  # type: ignore[arg-type]
    np.testing.assert_allclose(scores, [0.4, 0.4])
    np.testing.assert_allclose(predicted, [0.9, 0.9])
    np.testing.assert_allclose(ious, [0.5, 0.0])


def test_calibrated_scores_are_the_share_of_what_is_right() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (2, 20_000))
    right = rng.random(20_000) < expit(1.5 * logits[0] + 2.5 * logits[1] + 1)
    score = calibration(*expit(logits), right, 0.2)
    assert (score.detector, score.outline) == (pytest.approx(1.5, rel=0.1), pytest.approx(2.5, rel=0.1))
    assert (score.shift, score.floor) == (pytest.approx(1, rel=0.1), 0.2)


@pytest.mark.parametrize("right", [True, False])
def test_scores_that_are_all_right_or_all_wrong_cannot_be_calibrated(right: bool) -> None:
    with pytest.raises(DatasetError, match="some of both"):
        calibration(np.array([0.2, 0.7]), np.array([0.5, 0.9]), np.array([right, right]), 0.1)


def test_one_click_per_cell_gives_one_iou_per_cell(two_squares: Path) -> None:
    ious = one_click_ious(Threshold(), list_entries(two_squares))  # type: ignore[arg-type]
    np.testing.assert_allclose(ious[two_squares.name], [1.0, 1.0])


def test_cells_are_clicked_whatever_their_numbers() -> None:
    labels = np.zeros((20, 20), np.uint32)
    labels[3:8, 3:8], labels[12:17, 10:15] = 3_000_000_000, 1_500_000_000
    numbers, centres = click_centres(labels)
    assert numbers.tolist() == [1_500_000_000, 3_000_000_000]
    np.testing.assert_array_equal(centres, [[14, 12], [5, 5]])


def test_a_click_goes_to_the_innermost_point_even_where_the_centroid_is_outside() -> None:
    labels = np.zeros((20, 20), int)
    labels[2:18, 2:6] = labels[14:18, 2:18] = 4  # an L
    numbers, centres = click_centres(labels)
    assert numbers.tolist() == [4]
    y, x = centres[0].astype(int)
    assert labels[y, x] == 4
    assert min(y - 2, 17 - y, x - 2) >= 1
