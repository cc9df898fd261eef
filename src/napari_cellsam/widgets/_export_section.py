"""The section of the export: which formats, where to, and where the journal is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem, QPushButton

from napari_cellsam.errors import CellsamError
from napari_cellsam.export.formats import FORMATS
from napari_cellsam.widgets._exporting import DEFAULT_FORMATS
from napari_cellsam.widgets._section import Section, line, row_of

if TYPE_CHECKING:
    from napari_cellsam.widgets._action_buttons import ActionButtons
    from napari_cellsam.widgets._session import Session

__all__ = ["ExportSection"]

_ROWS_SHOWN = 6


class ExportSection(Section):
    """Writes all cells with one click, in the formats that are ticked.

    Parameters
    ----------
    session
        What is worked on.
    buttons
        Of the actions.
    """

    def __init__(self, session: Session, buttons: ActionButtons) -> None:
        self._session, self._buttons = session, buttons
        self.formats = _list_of_formats()
        self.where, self.journal = line(), line()
        self.here, self.elsewhere, self.look = QPushButton("Export"), QPushButton("Export to …"), QPushButton("Open")
        self.here.setToolTip("Write all cells into a new folder beside the image.")
        self.elsewhere.setToolTip("Choose the folder.")
        self.look.setToolTip("Open the folder of the last export.")
        self.save = QPushButton("Save the table …")
        self.save.setToolTip("Save what was measured as CSV, with what else is known of the cells.")
        super().__init__("Export cells", "Files for other programs, and the journal of your work.", is_open=False)
        self.content.addWidget(self.formats)
        self.content.addLayout(row_of(self.here, self.elsewhere, self.look))
        self.content.addLayout(row_of(buttons["measure_cells"], self.save))
        self.content.addWidget(self.where)
        self.content.addWidget(self.journal)
        self.here.clicked.connect(lambda: self._export(None))
        self.elsewhere.clicked.connect(self._choose)
        self.look.clicked.connect(self._open)
        self.save.clicked.connect(self._save)
        self.refresh()

    @property
    def chosen(self) -> list[str]:
        """The names of the formats that are ticked."""
        items = [self.formats.item(row) for row in range(self.formats.count())]
        return [i.data(Qt.ItemDataRole.UserRole) for i in items if i.checkState() == Qt.CheckState.Checked]

    def refresh(self) -> None:
        """Show what can be exported, and where things are."""
        exporting, journaling, measuring = self._session.exporting, self._session.journaling, self._session.measuring
        for button in (self.here, self.elsewhere):
            button.setEnabled(self._session.has_target and not exporting.running)
        self._buttons["measure_cells"].setEnabled(self._session.has_target and not measuring.running)
        self.save.setEnabled(measuring.current is not None and not measuring.saving)
        self.look.setEnabled(exporting.folder is not None)
        done, total = exporting.progress
        last = "" if exporting.folder is None else f"Last export: {exporting.folder}"
        self.where.setText(f"Writing: {done} of {total} files." if exporting.running else last)
        self.where.setVisible(bool(self.where.text()))
        trouble = journaling.trouble
        kept = "Your work is kept in a journal from the first step on."
        if journaling.path is not None:
            kept = f"Every step is kept in {journaling.path}"
        self.journal.setText(str(trouble) if trouble is not None else kept)

    def _export(self, folder: Path | None) -> None:
        try:
            self._session.exporting.run(folder, self.chosen)
        except CellsamError as error:
            self._session.say(str(error), "warning")

    def _choose(self) -> None:
        try:
            start = self._session.exporting.suggestion
        except CellsamError as error:
            self._session.say(str(error), "warning")
            return
        folder = QFileDialog.getExistingDirectory(self, "Folder for the cells", str(start.parent))
        if folder:
            self._export(Path(folder))

    def _save(self) -> None:
        try:
            folder = self._session.exporting.suggestion
            start = folder.with_name(f"{folder.name}.csv")
            name, _ = QFileDialog.getSaveFileName(self, "Table of the measurements", str(start), "CSV (*.csv)")
            if name:
                self._session.measuring.save(Path(name), overwrite=True)  # the dialog has asked
        except CellsamError as error:
            self._session.say(str(error), "warning")

    def _open(self) -> None:
        folder = self._session.exporting.folder
        if folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))


def _list_of_formats() -> QListWidget:
    """Return all formats to be ticked."""
    formats = QListWidget()
    formats.setAccessibleName("Formats")
    formats.setToolTip("Formats that are written.")
    for entry in FORMATS.values():
        item = QListWidgetItem(entry.title)
        item.setData(Qt.ItemDataRole.UserRole, entry.name)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if entry.name in DEFAULT_FORMATS else Qt.CheckState.Unchecked)
        formats.addItem(item)
    formats.setFixedHeight(_ROWS_SHOWN * (formats.sizeHintForRow(0) + 2))
    return formats
