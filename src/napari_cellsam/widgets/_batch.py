"""The batch: answers to many prompts, written into the labels as one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_cellsam.editing.actions import Action
from napari_cellsam.editing.edits import Plane, edit_between, place
from napari_cellsam.editing.records import CellRecord, Origin, RecordChange

if TYPE_CHECKING:
    from napari_cellsam.types import Mask, Prompt
    from napari_cellsam.widgets._session import Session

__all__ = ["place_batch"]

_FREE_SHARE = 0.5  # of a cell's pixels that must be on background


def place_batch(
    session: Session,
    plane: Plane,
    answers: Sequence[tuple[Prompt, Mask]],
    title: str,
    *,
    origin: Origin = "prompted",
    scores: Sequence[float] | None = None,
    group: object | None = None,
) -> list[CellRecord]:
    """Make a cell of each answer, where there is background.

    Parameters
    ----------
    session
        Whose labels.
    plane
        Where in the stack.
    answers
        What was asked, and the model's answer; empty masks and those that lie mostly on other cells make no cell.
    title
        Of the step.
    origin
        Of the cells; of ``"manual"`` ones no predicted IoU is noted, since no model spoke.
    scores
        The detector's, one per answer.
    group
        Steps of one group are one; a step of its own when None.

    Returns
    -------
    list of CellRecord
        Of the cells that were made, in the order of the answers.
    """
    target, group, made = session.target, group or object(), []
    for number, (prompt, mask) in enumerate(answers):
        if mask.area == 0:
            continue
        (y, x), (height, width) = mask.corner, mask.crop.shape
        under = target.read(plane, (slice(y, y + height), slice(x, x + width)))  # with the cells before this one
        if np.count_nonzero(mask.crop & (under == 0)) < max(_FREE_SHARE * mask.area, 1):
            continue
        label = target.take_number()
        edit = edit_between(plane, mask.corner, under, place(under, mask.crop, label))
        if edit is None:
            continue
        score = None if scores is None else float(scores[number])
        predicted_iou = None if origin == "manual" else float(mask.score)
        record = CellRecord(label, plane, origin, score, predicted_iou, (prompt,))
        session.apply(Action(title, (edit,), (RecordChange(None, record),), group))
        made.append(record)
    return made
