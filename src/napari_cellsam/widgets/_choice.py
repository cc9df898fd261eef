"""A choice among values, in a dock that scrolls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy

__all__ = ["Choice"]


class Choice(QComboBox):
    """A combo box of values and their texts. The mouse wheel scrolls the dock, and leaves the choice alone.

    Parameters
    ----------
    tooltip
        What is chosen, in a sentence.
    options
        Values and texts.
    """

    def __init__(self, tooltip: str, options: Iterable[tuple[Any, str]] = ()) -> None:
        super().__init__()
        self.setToolTip(tooltip)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(8)  # long names of layers do not widen the dock
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._values: list[Any] = []
        self.offer(options)

    @property
    def value(self) -> Any:
        """What is chosen; None if there is nothing to choose."""
        index = self.currentIndex()
        return self._values[index] if 0 <= index < len(self._values) else None

    @property
    def values(self) -> list[Any]:
        """All that can be chosen."""
        return list(self._values)

    def offer(self, options: Iterable[tuple[Any, str]]) -> None:
        """Let other values be chosen; nothing is emitted."""
        options = list(options)
        texts = [text for _, text in options]
        if texts != [self.itemText(i) for i in range(self.count())]:
            with QSignalBlocker(self):
                self.clear()
                self.addItems(texts)
        self._values = [value for value, _ in options]

    def show_value(self, value: Any) -> None:
        """Show a value as the one that is chosen; nothing is emitted."""
        with QSignalBlocker(self):
            self.setCurrentIndex(self._values.index(value) if value in self._values else -1)

    def choose(self, value: Any) -> None:
        """Choose a value as the user does."""
        index = self._values.index(value)
        self.setCurrentIndex(index)
        self.activated.emit(index)

    def showPopup(self) -> None:  # noqa: N802 - Qt's name
        """Show all values, each as wide as it is."""
        view = self.view()
        view.setMinimumWidth(view.sizeHintForColumn(0) + view.verticalScrollBar().sizeHint().width())
        super().showPopup()

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Leave the wheel to whatever scrolls."""
        event.ignore()
