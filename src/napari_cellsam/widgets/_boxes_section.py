"""The section of the detector's boxes: whether they are shown, and the score from which one counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QSlider

from napari_cellsam.errors import CellsamError
from napari_cellsam.widgets._box_threshold import FLOOR
from napari_cellsam.widgets._section import Section, form_of, line, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._detections import DetectorBoxes
    from napari_cellsam.widgets._session import Session

__all__ = ["BoxesSection"]

_STEPS = 100


class BoxesSection(Section):
    """Shows and hides the boxes, and moves their threshold.

    Parameters
    ----------
    session
        What is looked at.
    boxes
        The detector's.
    """

    def __init__(self, session: Session, boxes: DetectorBoxes) -> None:
        self._session, self._boxes = session, boxes
        self.shown = QCheckBox("Show the detector's boxes")
        self.shown.setToolTip("Find the boxes of this plane, and show them in a layer in which they can be edited.")
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(round(FLOOR * _STEPS), _STEPS)
        self.threshold.setPageStep(5)
        self.threshold.setToolTip("Score from which a box counts, 0 to 1; cells that nobody touched follow at once.")
        self.threshold.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.number = QLabel()
        self.number.setToolTip(self.threshold.toolTip())
        self.count, self.help = line(), line()
        super().__init__("Detector's boxes", "What the model proposes, and how sure it is.", is_open=False)
        self.content.addWidget(self.shown)
        self.content.addLayout(form_of(("Threshold", row_of(self.threshold, self.number))))
        self.content.addWidget(self.count)
        self.content.addWidget(self.help)
        self.shown.clicked.connect(self._on_shown)
        self.threshold.valueChanged.connect(self._on_threshold)
        self.threshold.sliderPressed.connect(boxes.press)
        self.threshold.sliderReleased.connect(boxes.release)
        boxes.changed.connect(self.refresh)
        self.refresh()

    def close_session(self) -> None:
        """Follow the boxes no more."""
        self._boxes.changed.disconnect(self.refresh)

    def refresh(self) -> None:
        """Show how the boxes are now."""
        if not self.is_open:
            return
        boxes = self._boxes
        self.shown.setEnabled(self._session.source is not None)
        self.threshold.setEnabled(boxes.on)
        with QSignalBlocker(self.shown), QSignalBlocker(self.threshold):
            self.shown.setChecked(boxes.on)
            self.threshold.setValue(round(boxes.threshold * _STEPS))
        self.number.setText(f"{boxes.threshold:.2f}")
        self.count.setText(f"{boxes.n_shown} of {boxes.n_all} cells")
        self.count.setVisible(boxes.on)
        self.help.setText(boxes.help)

    def _on_shown(self, on: bool) -> None:
        try:
            self._boxes.show() if on else self._boxes.hide()
        except CellsamError as error:
            self._session.say(str(error), "warning")
        self.refresh()

    def _on_threshold(self, value: int) -> None:
        self._boxes.threshold = value / _STEPS
        self.refresh()
