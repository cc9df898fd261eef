"""The state: the model and where it runs, what is under way, and what was said last."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_cellsam.widgets._section import line, push, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["StateSection"]

_DOTS = {"off": "#808080", "starting": "#e69f00", "ready": "#009e73", "failed": "#d55e00"}
_NO_IMAGE = "Open an image, or a sample: File → Open Sample → CellSAM. If one is open, click its layer."


class StateSection(QWidget):
    """Shows how things are, at the head of the dock; it cannot be closed.

    Parameters
    ----------
    session
        Whose state.
    buttons
        Of the actions.

    Attributes
    ----------
    told
        The line that the user was told last.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        super().__init__()
        self._session, self._cancel = session, buttons["cancel"]
        self.told = ""
        self.state = line()
        self.state.setToolTip("The model, what it runs on, and where.")
        self.message = line()
        self.message.setToolTip("What happened last.")
        self.message.setMinimumHeight(self.message.fontMetrics().height() * 2)
        self.message.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.progress = QProgressBar()
        self.progress.setToolTip("How far the work under way is.")
        self.retry = push("Retry", "Connect to the model service again.")
        self.retry.clicked.connect(self._on_retry)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        self._head = row_of(self.state)
        layout.addLayout(self._head)
        layout.addWidget(self.retry)
        layout.addLayout(row_of(self.progress, self._cancel))
        layout.addWidget(self.message)
        self._continue = buttons["continue_work"]
        self.offer = line()
        self.decline = push("Not now", "Begin anew; the journal of the earlier work stays.")
        self.decline.clicked.connect(self._on_decline)
        layout.addWidget(self.offer)
        layout.addLayout(row_of(self._continue, self.decline))

    def add_beside(self, button: QPushButton) -> None:
        """Put a button beside the state."""
        self._head.addWidget(button)

    def refresh(self) -> None:
        """Show what is so now."""
        session, connection = self._session, self._session.connection
        self.state.setText(f'<span style="color: {_DOTS[connection.state]}">●</span> {escape(connection.text)}')
        self.retry.setVisible(connection.state in ("failed", "off"))
        busy = session.automatic.running or session.jobs.n_running > 0 or session.writing
        self._show_progress(busy=busy)
        self._cancel.setEnabled(busy)
        self._show_offer()
        if session.source is None:
            self.tell(_NO_IMAGE)
        elif self.told == _NO_IMAGE:
            self.tell("")

    def tell(self, text: str) -> None:
        """Show a line for the user."""
        self.told = text
        self.message.setText(escape(f"{text[:1].upper()}{text[1:]}", quote=False))

    def _on_retry(self) -> None:
        self._session.connection.reconnect()

    def _show_offer(self) -> None:
        offer = self._session.journaling.offer
        for widget in (self.offer, self._continue, self.decline):
            widget.setVisible(offer is not None)
        if offer is not None:
            when = datetime.fromtimestamp(offer.summary.last).strftime("%d %b %Y, %H:%M")
            self.offer.setText(f"Earlier work on this image: {offer.summary.n_steps} steps, the last on {when}.")
            self.offer.setToolTip(str(offer.path))

    def _on_decline(self) -> None:
        self._session.journaling.decline()

    def _show_progress(self, *, busy: bool) -> None:
        session = self._session
        done, total = session.automatic.progress
        if not (busy or total) and session.training.running:
            done, total = round(100 * session.training.share), 100
        if total:
            self.progress.setRange(0, total)
            self.progress.setValue(done)
        else:  # a bar without an end would have no text
            self.progress.setRange(0, 1)
            self.progress.setValue(0)
        words = session.automatic.progress_text or ("working" if busy else session.training.words or "idle")
        self.progress.setFormat(words.replace("%", "%%"))
        self.progress.setToolTip(f"How far the work under way is: {words}.")
