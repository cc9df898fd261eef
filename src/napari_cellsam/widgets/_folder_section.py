"""The section of the folder: its images with their states, and the way from one to the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QFileDialog, QListWidget, QPushButton

from napari_cellsam.errors import CellsamError
from napari_cellsam.widgets._section import Section, line, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["FolderSection"]

_MARKS = {"new": "○", "segmented": "◔", "in review": "◑", "done": "●"}
_ROWS_SHOWN = 6


class FolderSection(Section):
    """Lists the images of a folder, and opens one after the other.

    Parameters
    ----------
    session
        Which shows the images.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        self._session, self._buttons = session, buttons
        self.images, self.about = QListWidget(), line()
        self._current: Path | None = None  # as it was shown last
        self.images.setAccessibleName("Images of the folder")
        self.images.setToolTip("A double click saves the image that is open, and opens this one.")
        self.choose = QPushButton("Open a folder …")
        self.choose.setToolTip("Work through the images of a folder, one after the other.")
        self.choose.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.automatic = QCheckBox("Find cells in new images")
        self.automatic.setToolTip("Let the model find the cells of an image as soon as it is opened first.")
        super().__init__("Folder of images", "Go through the images of a folder.", is_open=False)
        self.content.addWidget(self.choose)
        self.content.addWidget(self.images)
        self.content.addWidget(self.about)
        self.content.addLayout(row_of(buttons["previous_image"], buttons["next_image"]))
        self.content.addWidget(buttons["image_done"])
        self.content.addWidget(self.automatic)
        self.choose.clicked.connect(self._choose)
        self.images.itemActivated.connect(lambda item: self._go(self.images.row(item)))
        self.automatic.toggled.connect(self._on_automatic)
        self.refresh()

    def open(self, folder: Path) -> None:
        """Open a folder; what is wrong with it is told."""
        try:
            self._session.folder.open(folder)
        except CellsamError as error:
            self._session.say(str(error), "warning")

    def refresh(self) -> None:
        """Show the images as they are now."""
        folder = self._session.folder
        states = [folder.state_of(path) for path in folder.paths]
        texts = [f"{_MARKS[state]}  {path.name}" for state, path in zip(states, folder.paths, strict=True)]
        row = self.images.currentRow()  # the user may have chosen another one than is open
        if texts != [self.images.item(row).text() for row in range(self.images.count())]:
            self.images.clear()
            self.images.addItems(texts)
            for item, state in enumerate(states):
                self.images.item(item).setToolTip(state)
            if texts:
                self.images.setFixedHeight(_ROWS_SHOWN * (self.images.sizeHintForRow(0) + 2))
        current = folder.current
        if current is not None and current != self._current:
            row = list(folder.paths).index(current)
        self._current = current
        self.images.setCurrentRow(row)
        self.images.setVisible(bool(texts))
        n_done = states.count("done")
        self.about.setText(f"{n_done} of {len(states)} done." if states else "")
        self.about.setVisible(bool(texts))
        for action_id in ("next_image", "previous_image", "image_done"):
            self._buttons[action_id].setEnabled(bool(texts))
        with QSignalBlocker(self.automatic):
            self.automatic.setChecked(folder.segment_new)

    def _choose(self) -> None:
        current = self._session.folder.current
        start = str(Path.home() if current is None else current.parent)
        chosen = QFileDialog.getExistingDirectory(self, "Folder of images", start)
        if chosen:
            self.open(Path(chosen))

    def _go(self, row: int) -> None:
        try:
            self._session.folder.go(row)
        except CellsamError as error:
            self._session.say(str(error), "warning")

    def _on_automatic(self, on: bool) -> None:
        self._session.folder.segment_new = on
