"""The section of the review: the queue of doubtful cells, its filter and its count, and what is complete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from qtpy.QtWidgets import QCheckBox, QProgressBar

from napari_cellsam.editing.records import Origin
from napari_cellsam.errors import CellsamError
from napari_cellsam.widgets._choice import Choice
from napari_cellsam.widgets._review_filter import ReviewFilter
from napari_cellsam.widgets._section import Section, form_of, line, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["ReviewSection"]

_ORIGINS: dict[Any, str] = {get_args(Origin): "All", **{(o,): f"Only {o}" for o in get_args(Origin)}}
_BORDER: dict[bool | None, str] = {None: "All", True: "Only at the border", False: "None at the border"}


class ReviewSection(Section):
    """Leads from cell to cell, and says how far the review is.

    Parameters
    ----------
    session
        What is worked on.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        self._session, self._buttons = session, buttons
        self.about, self.pace, self.complete = line(), line(), line()
        self.progress = QProgressBar()
        self.progress.setToolTip("Cells that were found right, of all cells.")
        self.origin = Choice("Which cells are looked at, by where they come from.", _ORIGINS.items())
        self.border = Choice("Whether cells at the border of the image are looked at.", _BORDER.items())
        self.again = QCheckBox("Reviewed ones again")
        self.again.setToolTip("Look also at cells that were found right before.")
        super().__init__("Review cells", "Look at the doubtful cells first, and say what is complete.", is_open=False)
        self._build()
        self.refresh()

    def refresh(self) -> None:
        """Show how far the review is."""
        if not self.is_open:
            return  # counting thousands of cells for nobody
        review, buttons = self._session.review, self._buttons
        count, looking = review.count, review.current is not None
        self.progress.setRange(0, max(count.n_cells, 1))
        self.progress.setValue(count.n_reviewed)
        self.progress.setFormat(f"{count.n_reviewed} of {count.n_cells} reviewed")
        pace = "" if count.per_minute is None else f", {count.per_minute:.0f} cells a minute"
        self.pace.setText(f"{count.n_left} left{pace}." if review.on else "Not started.")
        self.about.setText("" if review.doubt is None else f"Doubt: {review.doubt:.2f}.")
        self.about.setVisible(looking)
        for action_id in ("approve_cell", "reject_cell", "redo_reviewed", "previous_cell"):
            buttons[action_id].setEnabled(looking)
        for action_id in ("approve_rest", "stop_review"):
            buttons[action_id].setEnabled(review.on)
        for action_id in ("next_cell", "verify_image", "verify_view", "verify_region", "unverify_image"):
            buttons[action_id].setEnabled(self._session.has_target)
        self._tell_complete()

    def _build(self) -> None:
        buttons = self._buttons
        self.content.addWidget(self.progress)
        self.content.addWidget(self.pace)
        self.content.addWidget(self.about)
        self.content.addLayout(row_of(buttons["approve_cell"], buttons["reject_cell"]))
        self.content.addLayout(row_of(buttons["previous_cell"], buttons["next_cell"]))
        self.content.addLayout(row_of(buttons["redo_reviewed"], buttons["stop_review"]))
        self.content.addWidget(buttons["approve_rest"])
        self.content.addLayout(form_of(("Origin", self.origin), ("Border", self.border), ("", self.again)))
        self.content.addWidget(self.complete)
        self.content.addLayout(row_of(buttons["verify_image"], buttons["verify_view"]))
        self.content.addLayout(row_of(buttons["verify_region"], buttons["unverify_image"]))
        buttons["toggle_verified"].setCheckable(True)
        self.content.addWidget(buttons["toggle_verified"])
        self.origin.activated.connect(self._on_filter)
        self.border.activated.connect(self._on_filter)
        self.again.toggled.connect(self._on_filter)

    def _tell_complete(self) -> None:
        session = self._session
        try:
            percent = session.verifying.percent
        except CellsamError:
            percent = 0  # the window shows no plane at the moment
        self.complete.setText(f"Complete, for training: {percent}% of the image.")
        self._buttons["toggle_verified"].setChecked(session.verifying.on)

    def _on_filter(self) -> None:
        chosen = replace(
            ReviewFilter(), origins=self.origin.value, border=self.border.value, reviewed=self.again.isChecked()
        )
        self._session.review.set_filter(chosen)
        self.refresh()
