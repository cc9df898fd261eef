"""The area of a dock: it scrolls up and down, and is always wide enough for what it shows."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QWidget

from napari_cellsam.widgets._section import Section

__all__ = ["DockArea"]

_MARGIN = 6


class DockArea(QScrollArea):
    """Shows a widget that may be higher than the window.

    Parameters
    ----------
    content
        What is shown.
    sections
        Those of it that can be closed; the width is enough for each when it is open.
    """

    def __init__(self, content: QWidget, sections: Iterable[Section]) -> None:
        super().__init__()
        self._sections = tuple(sections)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(content)
        content.installEventFilter(self)
        self._fit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Follow what is shown when it comes to need another width."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._fit()
        return bool(super().eventFilter(watched, event))

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a size at which nothing is cut off on the right."""
        return QSize(self.minimumWidth(), self.widget().sizeHint().height())

    def _fit(self) -> None:
        needed = (self.widget().minimumSizeHint().width(), *(section.needed_width for section in self._sections))
        self.setMinimumWidth(max(needed) + 2 * _MARGIN + self.verticalScrollBar().sizeHint().width())
