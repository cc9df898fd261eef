"""The section of the training set: corrected images that a model will learn from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_cellsam.widgets._section import Section, line, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["TrainSection"]


class TrainSection(Section):
    """Adds the image to the training set, and says which one that is.

    Parameters
    ----------
    session
        What is worked on.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        self._session, self._buttons = session, buttons
        self.about = line()
        self.choose = QPushButton("Another set …")
        self.choose.setToolTip("Choose the folder of the training set.")
        self.choose.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        super().__init__("Training set", "Corrected images, kept to retrain the model on.", is_open=False)
        self.content.addWidget(self.about)
        self.content.addLayout(row_of(buttons["add_to_training"], self.choose))
        self.choose.clicked.connect(self._choose)
        self.refresh()

    def refresh(self) -> None:
        """Show the training set as it is now."""
        collecting = self._session.collecting
        count = f" {collecting.n_added} pictures." if collecting.n_added else ""
        self.about.setText(
            "What you corrected, approved or marked as complete is kept as an example; the rest of the image counts as "
            f"unknown.<br>{collecting.folder}{count}"
        )
        self._buttons["add_to_training"].setEnabled(self._session.has_target and not collecting.running)

    def _choose(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Training set", str(self._session.collecting.folder.parent))
        if folder:
            self._session.collecting.use(Path(folder))
