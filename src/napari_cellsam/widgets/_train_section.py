"""The section of training: the training set, and the model that learns from it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QProgressBar

from napari_cellsam.widgets._curve_plot import CurvePlot, load_library
from napari_cellsam.widgets._section import Section, line, push, row_of
from napari_cellsam.widgets._training_form import TrainingForm
from napari_cellsam.widgets._training_result import TrainingResult

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["TrainSection"]

_CERTAIN = "What you corrected, approved or marked as complete is kept as an example; the rest of an image is unknown."


class TrainSection(Section):
    """Adds the image to the training set, trains on it, and shows what comes of it.

    Parameters
    ----------
    session
        What is worked on.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        self._session, self._buttons = session, buttons
        self._looked = False
        self.about, self.progress, self.curve = line(), QProgressBar(), CurvePlot()
        self.form, self.result = TrainingForm(session), TrainingResult(session, buttons)
        self.choose = push("Another set …", "Choose the folder of the training set.")
        super().__init__("Training", "Let the model learn from corrected images.", is_open=False)
        self.content.addWidget(self.about)
        self.content.addLayout(row_of(buttons["add_to_training"], self.choose))
        self.content.addWidget(self.form)
        self.content.addWidget(buttons["train_model"])
        self.content.addWidget(self.progress)
        self.content.addLayout(row_of(buttons["stop_training"], buttons["cancel_training"]))
        self.content.addWidget(self.curve)
        self.content.addWidget(self.result)
        self.choose.clicked.connect(self._choose)
        session.training.progressed.connect(self._show_curve)
        self.refresh()

    def refresh(self) -> None:
        """Show training set and training as they are now."""
        if self.is_open and not self._looked:
            self._look()
        self._show_set()
        self.form.refresh()
        self._show_training()
        self.result.refresh()

    def close_session(self) -> None:
        """Follow the session no more."""
        self._session.training.progressed.disconnect(self._show_curve)

    def _look(self) -> None:
        """Count the pictures and load what draws, once, in other threads."""
        self._looked = True
        self._session.collecting.look()
        self._session.jobs.submit(
            lambda call, report: load_library(),  # noqa: ARG005
            on_done=lambda found: self.curve.prepare(found=found),
            on_error=self._session.failed,
            topic="plot library",
        )

    def _show_set(self) -> None:
        collecting = self._session.collecting
        n, n_held_out = collecting.n_added, collecting.n_held_out
        pictures = f"{n} picture" + "s" * (n != 1)
        counts = f"{pictures}, {n_held_out} held out to judge" if n_held_out else pictures
        self.about.setText(f"{escape(collecting.folder.name)}: {counts if n else 'no pictures yet'}.")
        self.about.setToolTip(f"{_CERTAIN} {collecting.folder}")
        self._buttons["add_to_training"].setEnabled(self._session.has_target and not collecting.running)
        self.choose.setEnabled(not self._session.training.running)

    def _show_training(self) -> None:
        training = self._session.training
        self._buttons["train_model"].setEnabled(not (training.running or self._session.collecting.running))
        for action_id in ("stop_training", "cancel_training"):
            self._buttons[action_id].setVisible(training.running)
        self._buttons["stop_training"].setEnabled(training.state == "learning" and not training.stopping)
        self.progress.setVisible(training.running)
        self.progress.setRange(0, 100)
        self.progress.setValue(round(100 * training.share))
        self.progress.setFormat(training.words.replace("%", "%%"))
        self.progress.setToolTip(f"How far the training is: {training.words}.")
        self.curve.setVisible(len(training.curve) > 0)
        self._show_curve()

    def _show_curve(self) -> None:
        curve = self._session.training.curve
        if self.is_open and len(curve):
            from napari.utils.theme import get_theme

            self.curve.show_curve(curve, get_theme(self._session.viewer.theme).text.as_hex())

    def _choose(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Training set", str(self._session.collecting.folder.parent))
        if folder:
            self._session.collecting.use(Path(folder))
