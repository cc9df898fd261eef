"""The verdict on a new model, and the figures that it rests on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.widgets.conftest import record_of

from napari_cellsam.types.finetuning import Figures, PictureFigures
from napari_cellsam.widgets._verdict import figures_table, pictures_table, verdict_on, verdict_text


def with_clicks(before, after, *, detector=True):
    """Return a record whose models find the same cells, and outline them so well."""
    record = record_of()
    found = {"found": 10, "missed": 2} if detector else {}
    figures = [Figures((PictureFigures("a", 12, click_ious=(iou,), **found),)) for iou in (before, after)]
    return type(record)(**{**vars(record), "before": figures[0], "after": figures[1]})


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (record_of((6, 0, 6), (7, 0, 5)), "better"),
        (record_of((6, 0, 6), (6, 1, 6)), "no better"),
        (record_of((1, 0, 8), (9, 0, 0)), "too few"),
        (with_clicks(0.7, 0.8), "better"),
        (with_clicks(0.8, 0.8), "no better"),
        (with_clicks(0.7, 0.8, detector=False), "better"),
        (with_clicks(math.nan, math.nan), "no better"),
        (replace(record_of(), n_judges_known=1), "known"),
    ],
)
def test_f1_decides_then_the_click_and_nothing_where_there_are_few_cells(record, verdict):
    assert verdict_on(record) == verdict


def test_the_verdict_is_a_sentence():
    assert "learned from 2 of the pictures that judge" in verdict_text(replace(record_of(), n_judges_known=2))
    assert verdict_text(record_of()) == "The new model is better on 12 held-out cells."
    assert verdict_text(record_of((1, 0, 0), (1, 0, 0))).startswith("Too few held-out cells (1) to tell")


def test_the_table_has_the_figures_of_both_models_and_what_has_changed():
    table = figures_table(record_of())
    for text in ("0.667", "0.909", "+0.242", "0.650", "0.850", "+0.200", "6 of 12", "10 of 12"):
        assert text in table


def test_what_a_model_does_not_have_is_not_made_up():
    table = figures_table(with_clicks(0.7, math.nan, detector=False))
    assert table.count("n/a") == 7
    assert "nan" not in table


def test_each_held_out_picture_has_its_own_figures_and_no_name_is_taken_for_html():
    record = record_of()
    assert "0.667 → 0.909" in pictures_table(record)
    named = PictureFigures("<b>", 12, 6, 0, 6)
    odd = type(record)(**{**vars(record), "after": Figures((named,))})
    assert "&lt;b&gt;" in pictures_table(odd) and "n/a → 0.667" in pictures_table(odd)


@pytest.mark.parametrize(("shift", "words"), [(0.75, "tighter"), (-0.5, "wider")])
def test_how_outlines_have_changed_is_told(shift, words):
    record = record_of()
    assert "Outlines" not in figures_table(record)
    assert words in figures_table(replace(record, outline_shift=shift))
