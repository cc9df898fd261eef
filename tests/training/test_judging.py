"""Judges count verified cells only, and say nothing of what nobody knows."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.test_engine import DiscBackend
from tests.training.teaching import disc_picture

from napari_cellsam.engine import Model
from napari_cellsam.models.steps import Advance, Aside, Found, run_steps
from napari_cellsam.training import clicks, judging
from napari_cellsam.training.judging import evaluate_pair, figures_of, judge_steps
from napari_cellsam.training.lessons import known_labels
from napari_cellsam.types import Mask

LINE = np.zeros((4, 40), np.int32)


def line(**cells):
    """Return a strip with cells at spans of columns: ``a=(0, 10)`` is cell 1, and so on in order."""
    labels = LINE.copy()
    for number, (start, stop) in enumerate(cells.values(), start=1):
        labels[:, start:stop] = number
    return labels


def hide(labels, start, stop):
    labels = labels.copy()
    labels[:, start:stop] = -1
    return labels


def counts(figures):
    return figures.n_cells, figures.found, figures.invented, figures.missed


def test_cells_are_found_invented_or_missed():
    known = line(a=(0, 10), b=(15, 20))
    found = line(a=(1, 10), b=(30, 35))
    assert counts(figures_of("it", known, found)) == (2, 1, 1, 1)


def test_what_is_found_in_the_unknown_counts_neither_way():
    known = hide(line(a=(0, 10)), 20, 40)
    assert counts(figures_of("it", known, line(a=(0, 10), b=(25, 35)))) == (1, 1, 0, 0)
    assert counts(figures_of("it", known, line(a=(0, 10), b=(15, 25)))) == (1, 1, 0, 0), "half of it is unknown"
    assert counts(figures_of("it", known, line(a=(0, 10), b=(12, 22)))) == (1, 1, 1, 0), "most of it is known"


def test_what_a_found_cell_covers_of_the_unknown_does_not_count():
    known = hide(line(a=(0, 10)), 10, 40)
    assert counts(figures_of("it", known, line(a=(0, 19)))) == (1, 1, 0, 0)


def test_a_cell_that_is_lost_in_one_that_lies_in_the_unknown_is_missed():
    known = hide(line(a=(0, 10)), 10, 40)
    assert counts(figures_of("it", known, line(a=(0, 30)))) == (1, 0, 0, 1)


def test_without_an_automatic_run_nothing_is_found_and_f1_is_unknown():
    figures = figures_of("it", line(a=(0, 10)), None, (0.5, 0.75))
    assert counts(figures) == (1, 0, 0, 0) and math.isnan(figures.f1) and figures.click_iou == 0.625


def part_of(picture, rows):
    verified = np.zeros_like(picture.verified)
    verified[rows] = True
    return replace(picture, verified=verified)


@pytest.fixture
def model():
    return Model(DiscBackend(side=128), "discs")


def test_a_model_is_judged_on_the_verified_cells_of_each_picture(model):
    pictures = [disc_picture(1), part_of(disc_picture(2), slice(0, 64))]
    figures = run_steps(judge_steps(model, pictures))
    assert [p.name for p in figures.pictures] == ["discs 1", "discs 2"]
    assert figures.pictures[0].n_cells == 9
    assert figures.pictures[1].n_cells == known_labels(pictures[1]).max() < 9
    for picture in figures.pictures:
        assert len(picture.click_ious) == picture.n_cells == picture.found + picture.missed


def test_clicks_are_left_out_on_request(model):
    figures = run_steps(judge_steps(model, [disc_picture(1)], clicks=False))
    assert figures.pictures[0].click_ious == () and math.isnan(figures.click_iou) and not math.isnan(figures.f1)


def test_a_model_without_a_detector_is_judged_by_clicks(model):
    model.backend.can_detect = False
    figures = run_steps(judge_steps(model, [disc_picture(1)]))
    assert math.isnan(figures.f1) and 0 <= figures.click_iou <= 1 and figures.n_cells == 9


def test_a_picture_without_cells_is_judged_by_what_is_invented_in_it(model):
    blank = replace(disc_picture(1), labels=np.zeros((128, 128), np.uint32))
    figures = run_steps(judge_steps(model, [blank]))
    assert figures.n_cells == 0 and math.isnan(figures.click_iou)
    assert figures.f1 == (0.0 if figures.pictures[0].invented else 1.0)


def test_both_of_a_pair_are_judged_on_the_same(model):
    before, after = evaluate_pair(model, Model(DiscBackend(side=128), "same"), [disc_picture(1)])
    assert before == after and before.n_cells == 9


def test_the_cells_of_a_judged_model_are_for_nobody_else_and_others_may_go_first(model):
    seen = []
    run_steps(judge_steps(model, [disc_picture(1)]), seen.append)
    assert not any(isinstance(step, Found | Advance | Aside) for step in seen) and seen.count(None) > 5


def click(masks, known):
    """Return the IoUs of masks that a model answers to clicks."""

    class Answers:
        def ask(self, prompts, options):
            self.prompts = prompts
            return prompts

        def prompt_steps(self, image, asks):
            yield None
            return [masks[: len(self.prompts)]]

    return run_steps(judging._click_ious(Answers(), None, known))


def test_the_iou_of_a_click_leaves_out_what_nobody_knows():
    known = hide(line(a=(0, 10), b=(14, 18)), 20, 40)
    masks = [Mask(np.ones((4, 7), bool), (0, 5), 1.0), Mask(np.ones((4, 21), bool), (0, 14), 1.0)]
    assert click(masks, known) == pytest.approx((5 / 12, 4 / 6))


def test_a_click_that_finds_nothing_has_an_iou_of_zero():
    nothing = Mask(np.zeros((0, 0), bool), (0, 0), 0.0)
    assert click([nothing], line(a=(0, 10))) == (0.0,)


def test_of_very_many_cells_some_are_clicked(model, monkeypatch):
    monkeypatch.setattr(clicks, "_MOST_CLICKS", 4)
    one, other = (run_steps(judge_steps(model, [disc_picture(1)])) for _ in range(2))
    assert len(one.pictures[0].click_ious) == 4 and one == other
