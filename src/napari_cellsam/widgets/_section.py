"""A section of a dock: a heading by which it is opened and closed, and what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from qtpy.QtWidgets import QLayout

__all__ = ["Section", "form_of", "line", "push", "row_of"]

_OPEN, _CLOSED = "▾", "▸"
_LOOK = (
    "#section_heading { text-align: left; font-weight: bold; padding: 3px; border: 1px solid transparent; }"
    "#section_heading:focus { border-color: #56b4e9; }"
)


class Section(QWidget):
    """What belongs together in a dock. What is closed cannot be reached by Tab either.

    Parameters
    ----------
    title
        Its heading.
    tooltip
        What it is for, in a sentence.
    is_open
        Whether it begins open.
    """

    def __init__(self, title: str, tooltip: str, *, is_open: bool = True) -> None:
        super().__init__()
        self._title = title
        self.heading = QPushButton()
        self.heading.setToolTip(tooltip)
        self.heading.setAccessibleName(title)
        self.heading.setObjectName("section_heading")
        self.heading.setStyleSheet(_LOOK)
        self.heading.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._content = QWidget()
        self.content = QVBoxLayout(self._content)
        self.content.setContentsMargins(8, 2, 2, 6)
        self.content.setSpacing(5)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.heading)
        layout.addWidget(self._content)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.heading.clicked.connect(self._on_clicked)
        self._show_content(is_open)

    @property
    def is_open(self) -> bool:
        """Whether it shows what it has."""
        return self._is_open

    @property
    def needed_width(self) -> int:
        """Width in pixels that it needs when it is open."""
        return int(self.content.minimumSize().width())

    def set_open(self, is_open: bool) -> None:
        """Open or close it."""
        self._show_content(is_open)
        if is_open:
            self.refresh()

    def refresh(self) -> None:
        """Show what is so now; called whenever it may have changed, and when the section is opened."""

    def _show_content(self, is_open: bool) -> None:
        self._is_open = is_open
        self.heading.setText(f"{_OPEN if is_open else _CLOSED}  {self._title}")
        self._content.setVisible(is_open)

    def _on_clicked(self) -> None:
        self.set_open(not self._is_open)


def line(text: str = "") -> QLabel:
    """Return a text that takes as many lines as it needs, and can be copied."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def push(text: str, tooltip: str) -> QPushButton:
    """Return a button that Tab reaches on every machine."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return button


def row_of(*widgets: QWidget) -> QHBoxLayout:
    """Return a layout of widgets side by side."""
    layout = QHBoxLayout()
    layout.setSpacing(5)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def form_of(*rows: tuple[str, QWidget | QLayout]) -> QFormLayout:
    """Return a layout of names and what they stand for."""
    layout = QFormLayout()
    layout.setSpacing(5)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for name, field in rows:
        layout.addRow(name, field)
        label = layout.labelForField(field)
        named = field if isinstance(field, QWidget) else field.itemAt(0).widget()
        if label is not None and named is not None:
            label.setToolTip(named.toolTip())
            named.setAccessibleName(name)
    return layout
