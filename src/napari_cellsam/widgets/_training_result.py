"""The result of a training: figures before and after, the verdict, and the choice of a model."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cellsam.widgets._section import line, push, row_of
from napari_cellsam.widgets._verdict import figures_table, pictures_table, verdict_text

if TYPE_CHECKING:
    from napari_cellsam.types.finetuning import TrainingRecord
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["TrainingResult"]


class TrainingResult(QWidget):
    """Shows how good a new model is on the held-out cells, and lets the user choose.

    Parameters
    ----------
    session
        Whose training.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        super().__init__()
        self._training = session.training
        self._use, self._back = buttons["use_trained"], buttons["go_back_model"]
        self.verdict, self.table = line(), line()
        self.keep = push("Keep the present one", "Let the present model find the cells; the new one stays, too.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        layout.addWidget(self.verdict)
        layout.addWidget(self.table)
        layout.addLayout(row_of(self._use, self.keep))
        layout.addWidget(self._back)
        self.keep.clicked.connect(self._training.keep_present)
        self._shown: TrainingRecord | None = None

    def refresh(self) -> None:
        """Show the result as it is now."""
        training, parent = self._training, self._training.lineage.parent
        record = training.record or training.lineage.record
        for widget in (self.verdict, self.table):
            widget.setVisible(record is not None)
        self._use.setVisible(training.record is not None and not training.is_used)
        self.keep.setVisible(training.record is not None and not training.is_used)
        self._back.setVisible(parent is not None)
        self._back.setEnabled(not training.running)
        if parent is not None:
            self._back.setText(f"Go back to {parent}")
        if record is not None and record is not self._shown:
            self._write(record)

    def _write(self, record: TrainingRecord) -> None:
        self._shown = record
        self.verdict.setText(f"<b>{escape(verdict_text(record))}</b>")
        self.table.setText(figures_table(record))
        self.table.setToolTip(pictures_table(record))
