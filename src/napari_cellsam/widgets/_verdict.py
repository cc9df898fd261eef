"""The verdict on a fine-tuned model: better than its parent, no better, or too little to tell."""

from __future__ import annotations

import math
from html import escape
from typing import Literal

from napari_cellsam.types.finetuning import Figures, PictureFigures, TrainingRecord

__all__ = ["FEW_CELLS", "Verdict", "figures_table", "pictures_table", "verdict_on", "verdict_text"]

Verdict = Literal["better", "no better", "too few", "known"]

FEW_CELLS = 10
"""With fewer held-out cells, the figures say nothing."""

_NOTHING = "n/a"
_ROUNDING = 1e-9
_HEAD = '<td style="white-space: nowrap">{}</td>'
_CELL = '<td align="right" style="white-space: nowrap">&nbsp;&nbsp;{}</td>'


def verdict_on(record: TrainingRecord) -> Verdict:
    """Return whether a model finds the held-out cells better, or as well and outlines them better.

    Nobody can tell with few cells, or where a model that it comes from has learned from what judges.
    """
    before, after = record.before, record.after
    if record.n_judges_known:
        return "known"
    if after.n_cells < FEW_CELLS:
        return "too few"
    if abs(after.f1 - before.f1) > _ROUNDING:
        return "better" if after.f1 > before.f1 else "no better"
    return "better" if after.click_iou > before.click_iou + _ROUNDING else "no better"


def verdict_text(record: TrainingRecord) -> str:
    """Return the verdict as a sentence for the user."""
    n = record.after.n_cells
    cells = f"{n} held-out cell" + "s" * (n != 1)
    verdict = verdict_on(record)
    if verdict == "known":
        return (
            f"Nobody can tell which model is better: earlier ones have learned from {record.n_judges_known} of the "
            "pictures that judge. Correct an image that none has seen, or begin from an older model."
        )
    if verdict == "too few":
        return f"Too few held-out cells ({n}) to tell which model is better: correct another image or two."
    if verdict == "better":
        return f"The new model is better on {cells}."
    return f"The new model is no better on {cells}."


def figures_table(record: TrainingRecord) -> str:
    """Return the figures of parent and model on the held-out cells, as a table in HTML."""
    before, after = record.before, record.after
    rows = (
        ("F1 at IoU 0.6", _number(before.f1), _number(after.f1), _change(before.f1, after.f1)),
        (
            "IoU after a click",
            *(_number(figures.click_iou) for figures in (before, after)),
            _change(before.click_iou, after.click_iou),
        ),
        ("Cells found", *(_found(figures) for figures in (before, after)), ""),
        ("Wrongly found", *(_invented(figures) for figures in (before, after)), ""),
        *([("Outlines", "", record.outlines, "")] if record.outline_shift else ()),
    )
    return _table(("Held-out cells", "before", "after", ""), rows)


def pictures_table(record: TrainingRecord) -> str:
    """Return the figures of each held-out picture, as a table in HTML."""
    before = {picture.name: picture for picture in record.before.pictures}
    rows = [_picture_row(before.get(after.name), after) for after in record.after.pictures]
    return _table(("Picture", "cells", "F1", "IoU after a click"), rows)


def _picture_row(before: PictureFigures | None, after: PictureFigures) -> tuple[str, ...]:
    earlier = (_NOTHING, _NOTHING) if before is None else (_number(before.f1), _number(before.click_iou))
    f1, iou = (f"{old} → {_number(new)}" for old, new in zip(earlier, (after.f1, after.click_iou), strict=True))
    return escape(after.name), str(after.n_cells), f1, iou


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]] | tuple[tuple[str, ...], ...]) -> str:
    lines = [_row(tuple(f"<b>{text}</b>" for text in head)), *(_row(row) for row in rows)]
    return f'<table cellspacing="2">{"".join(lines)}</table>'


def _row(texts: tuple[str, ...]) -> str:
    return f"<tr>{_HEAD.format(texts[0])}{''.join(map(_CELL.format, texts[1:]))}</tr>"


def _found(figures: Figures) -> str:
    found, missed = _sum(figures, "found"), _sum(figures, "missed")
    return _NOTHING if math.isnan(figures.f1) else f"{found} of {found + missed}"


def _invented(figures: Figures) -> str:
    return _NOTHING if math.isnan(figures.f1) else str(_sum(figures, "invented"))


def _sum(figures: Figures, name: str) -> int:
    return sum(getattr(picture, name) for picture in figures.pictures)


def _number(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.3f}"


def _change(before: float, after: float) -> str:
    if math.isnan(before) or math.isnan(after):
        return ""
    return f"{after - before:+.3f}"
