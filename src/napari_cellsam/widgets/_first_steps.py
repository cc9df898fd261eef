"""The first steps: what a newcomer can do, until something is done, and whenever help is asked for."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cellsam.widgets._section import line, push, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["FirstSteps", "docs_url"]

_PACKAGE = "napari-cellsam"


class FirstSteps(QWidget):
    """Tells the three things that can be done.

    Parameters
    ----------
    session
        Where something is done or not.
    buttons
        Of the actions, whose keys it names.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        super().__init__()
        self._session, self._buttons = session, buttons
        self._begun = self._called = False
        self.text = line()
        self.docs = push("Read the docs", "Open the documentation in the browser.")
        self.docs.clicked.connect(_open_docs)
        self.docs.setVisible(docs_url() is not None)
        self.close_button = push("Got it", "Hide this; Help shows it again.")
        self.close_button.clicked.connect(self._on_closed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        layout.addWidget(self.text)
        layout.addLayout(row_of(self.close_button, self.docs))

    def refresh(self) -> None:
        """Go away once something is done."""
        session, buttons = self._session, self._buttons
        done = session.clicking or session.automatic.running or (session.has_target and len(session.history) > 0)
        self._begun = self._begun or done
        self.setVisible(self._called or not self._begun)
        image, click, delete, anew, undo = (
            f"<b>{buttons.key(action_id) or 'its button'}</b>"
            for action_id in ("segment_image", "toggle_click_mode", "delete_cell", "redo_cell", "undo")
        )
        self.text.setText(
            "<b>Three things to do</b><br>"
            f"1. {image} finds every cell of the image.<br>"
            f"2. {click}, then a click on a cell outlines it. Shift-click or right click takes a part away.<br>"
            f"3. {delete} deletes the cell under the cursor, {anew} outlines it anew, {undo} undoes."
        )

    def call(self, on: bool = True) -> None:
        """Show it again, whatever was done; or hide it."""
        self._called, self._begun = on, True
        self.refresh()

    def _on_closed(self) -> None:
        self.call(False)


def docs_url() -> str | None:
    """Return where the documentation is; None if the package does not say."""
    try:
        links = metadata(_PACKAGE).get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a copy of the files
        return None
    by_name = dict(link.split(", ", 1) for link in links)
    return by_name.get("Documentation") or by_name.get("Homepage")


def _open_docs() -> None:
    QDesktopServices.openUrl(QUrl(docs_url()))
