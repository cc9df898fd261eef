"""The values of fine-tuning refuse nonsense, and say how good a model is."""

import math

import pytest

from napari_cellsam.errors import OptionError
from napari_cellsam.types.finetuning import Figures, FinetuneOptions, PictureFigures, TrainingRecord


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"minutes": 0}, "minutes is 0; expected 0.001 to 100000"),
        ({"minutes": math.nan}, "minutes is nan"),
        ({"steps": 0}, "steps is 0; expected at least 1, or None"),
        ({"batch": 0}, "batch is 0; expected 1 to 1024"),
        ({"batch": 2.5}, "batch is 2.5; expected a whole number"),
        ({"side": 100}, "side is 100; expected a multiple of 32 pixels"),
        ({"side": 0}, "side is 0; expected 32 to 2048"),
        ({"rate": 0}, "rate is 0"),
        ({"masks_from": 1.5}, "masks_from is 1.5"),
        ({"first_stage": "both"}, "first_stage is 'both'; expected 'joint' or 'detector'"),
        ({"replay": 1.0}, "replay is 1.0; expected 0 to 0.95"),
        ({"average": 1.0}, "average is 1.0"),
        ({"n_checks": 0}, "n_checks is 0; expected 1 to 1000"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(OptionError) as caught:
        FinetuneOptions(**wrong)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("steps", [None, 1, 10**6])
def test_a_budget_is_of_time_or_of_steps(steps):
    assert FinetuneOptions(steps=steps).steps == steps


def test_figures_of_a_picture():
    picture = PictureFigures("it", 4, 3, 2, 1, (0.5, 1.0))
    assert picture.f1 == pytest.approx(6 / 9) and picture.click_iou == 0.75


def test_cells_of_all_pictures_count_alike():
    figures = Figures((PictureFigures("a", 1, 1, 0, 0, (1.0,)), PictureFigures("b", 3, 0, 1, 3, (0.0, 0.0, 0.2))))
    assert figures.n_cells == 4 and figures.f1 == pytest.approx(2 / 6) and figures.click_iou == pytest.approx(0.3)


def test_nothing_where_nothing_is_is_right_and_something_is_wrong():
    assert PictureFigures("it", 0, 0, 0, 0).f1 == 1 and PictureFigures("it", 0, 0, 2, 0).f1 == 0
    assert Figures().f1 == 1 and Figures().n_cells == 0


def test_without_cells_there_is_no_iou():
    assert math.isnan(Figures().click_iou) and math.isnan(PictureFigures("it", 0).click_iou)


def test_without_an_automatic_run_there_is_no_f1():
    assert math.isnan(PictureFigures("it", 3, click_ious=(0.5,) * 3).f1)


def record(before, after):
    return TrainingRecord("compact", "00", (), (), "", before, after, FinetuneOptions(), "", 1, 1.0)


def found(n, iou):
    return Figures((PictureFigures("it", 10, n, 0, 10 - n, (iou,)),))


def clicked(*ious):
    return Figures((PictureFigures("it", 10, click_ious=ious),))


@pytest.mark.parametrize(
    ("before", "after", "better"),
    [
        (found(5, 0.9), found(6, 0.1), True),
        (found(6, 0.1), found(5, 0.9), False),
        (found(6, 0.5), found(6, 0.6), True),
        (found(6, 0.6), found(6, 0.5), False),
        (found(6, 0.5), found(6, 0.5), True),
        (clicked(0.5), clicked(0.6), True),
        (clicked(0.6), clicked(0.5), False),
        (Figures(), Figures(), True),
    ],
)
def test_better_is_what_finds_more_or_else_answers_clicks_better(before, after, better):
    assert record(before, after).is_better is better
