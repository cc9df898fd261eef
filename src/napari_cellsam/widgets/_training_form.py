"""The form of a training: how long, what the new model is called, and whether it is used when it is better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from napari_cellsam.widgets._section import form_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._session import Session

__all__ = ["TrainingForm"]

_MINUTES = (1, 240)
_RUNS_ON = "You can go on working meanwhile. If the dock is closed, the training is cancelled; begun again, it goes on."


class TrainingForm(QWidget):
    """Edits what a training is given.

    Parameters
    ----------
    session
        Whose training.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session, self._training = session, session.training
        self.minutes = _Minutes()
        self.minutes.setRange(*_MINUTES)
        self.minutes.setSuffix(" min")
        self.name = QLineEdit()
        self.name.setToolTip("Name of the new model; the next free one if empty. The present model keeps its own.")
        self.name.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.use = QCheckBox("Use the new model when it is better")
        self.use.setToolTip("Better on the held-out cells, of which it has learned nothing. You can go back any time.")
        self.use.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        layout.addLayout(form_of(("Time", self.minutes), ("Name", self.name)))
        layout.addWidget(self.use)
        self.minutes.valueChanged.connect(self._on_minutes)
        self.name.textChanged.connect(self._on_name)
        self.use.toggled.connect(self._on_use)

    def refresh(self) -> None:
        """Show what would be given now."""
        training = self._training
        for field in (self.minutes, self.name, self.use):
            field.setEnabled(not training.running)
        with QSignalBlocker(self.minutes):
            self.minutes.setValue(round(training.minutes))
        if self.name.text().strip() != training.wanted_name:
            with QSignalBlocker(self.name):
                self.name.setText(training.wanted_name)
        self.name.setPlaceholderText(training.next_name)
        with QSignalBlocker(self.use):
            self.use.setChecked(training.uses_better)

    def _on_minutes(self, minutes: int) -> None:
        self._session.prefer(training_minutes=float(minutes))

    def _on_name(self, name: str) -> None:
        self._training.wanted_name = name.strip()

    def _on_use(self, on: bool) -> None:
        self._session.prefer(use_better=on)


class _Minutes(QSpinBox):
    """A number of minutes, which the mouse wheel leaves alone."""

    def __init__(self) -> None:
        super().__init__()
        tooltip = f"How long the model learns; more helps where there are more images. {_RUNS_ON}"
        self.setToolTip(tooltip)
        self.lineEdit().setToolTip(tooltip)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Leave the wheel to whatever scrolls."""
        event.ignore()
