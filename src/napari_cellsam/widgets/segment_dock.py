"""The dock with which cells are found: state, click mode, the image's and the view's buttons, and help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_cellsam.widgets._actions import ActionSpec, find_action, run_action
from napari_cellsam.widgets._keys import bind_labels, bind_viewer, key_of, unbind_viewer
from napari_cellsam.widgets._mouse import Click, Mouse
from napari_cellsam.widgets._sessions import session_of

if TYPE_CHECKING:
    import napari

    from napari_cellsam.widgets._session import Session

__all__ = ["SegmentDock"]

_RULES = {"fill": "Keep all cells", "replace": "Replace automatic cells"}
_COLOURS = {
    "label": "Each its own",
    "origin": "Origin",
    "detector_score": "Detector's score",
    "predicted_iou": "Predicted IoU",
}
_FIRST_STEPS = (
    "<b>Three things to do</b><br>"
    "1. <b>G</b> finds every cell of the image.<br>"
    "2. <b>H</b>, then a click on a cell outlines it. Shift-click or right click takes a part away.<br>"
    "3. <b>K</b> deletes the cell under the cursor, <b>U</b> outlines it anew, <b>Ctrl+Z</b> undoes.<br>"
)
_NO_IMAGE = "Open an image, or a sample: File → Open Sample → CellSAM."


class SegmentDock(QWidget):
    """Shows the session of a viewer, and asks it for what its buttons say.

    Parameters
    ----------
    napari_viewer
        Given by napari.
    session
        Another one than the viewer's, for tests.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__()
        self.session = session or session_of(napari_viewer)
        self._buttons: dict[str, QPushButton] = {}
        self._build()
        self._mouse = Mouse(self.session.viewer, lambda: self.session.clicking)
        self._mouse.clicked.connect(self._on_click)
        self.session.said.connect(self._on_said)
        self.session.changed.connect(self._later)
        self.session.labels_used.connect(self._on_labels)
        bind_viewer(self.session)
        self._refreshing = QTimer(self)
        self._refreshing.setSingleShot(True)
        self._refreshing.setInterval(30)
        self._refreshing.timeout.connect(self.refresh)
        self._colouring = QTimer(self)
        self._colouring.setSingleShot(True)
        self._colouring.setInterval(300)
        self._colouring.timeout.connect(self._show_features)
        self.destroyed.connect(lambda: None)
        self.session.start()
        self.refresh()

    # --- what is seen

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        self._state = _line()
        self._message = _line()
        self._message.setMinimumHeight(self._message.fontMetrics().height() * 2)
        self._progress = QProgressBar()
        self._progress.setTextVisible(True)
        layout.addWidget(self._state)
        layout.addLayout(_row(self._progress, self._button("cancel")))
        self._first_steps = _line(_FIRST_STEPS)
        layout.addWidget(self._first_steps)
        layout.addWidget(self._find_box())
        layout.addWidget(self._cell_box())
        layout.addLayout(_row(self._button("undo"), self._button("redo")))
        layout.addWidget(self._message)
        layout.addStretch(1)

    def _find_box(self) -> QGroupBox:
        box = QGroupBox("Find cells")
        layout = QVBoxLayout(box)
        self._button("toggle_click_mode").setCheckable(True)
        layout.addWidget(self._button("toggle_click_mode"))
        layout.addWidget(self._button("segment_image"))
        layout.addWidget(self._button("segment_view"))
        layout.addWidget(self._button("segment_stack"))
        self._rule = _choice(_RULES, "What happens to cells that are there when the model finds cells by itself.")
        self._rule.currentIndexChanged.connect(self._on_rule)
        form = QFormLayout()
        form.addRow("Existing cells", self._rule)
        layout.addLayout(form)
        return box

    def _cell_box(self) -> QGroupBox:
        box = QGroupBox("Cell under the cursor")
        layout = QVBoxLayout(box)
        self._cell = _line()
        layout.addWidget(self._cell)
        keys = ("take_up_cell", "redo_cell", "delete_cell", "accept_cell", "restore_cell")
        layout.addWidget(_line("<br>".join(self._help(find_action(name)) for name in keys)))
        self._colour = _choice(_COLOURS, "By what cells are coloured.")
        self._colour.currentIndexChanged.connect(self._show_features)
        self._into = QComboBox()
        self._into.setToolTip("The labels layer that cells are written into; yours is used only if you choose it.")
        self._into.activated.connect(self._on_into)
        form = QFormLayout()
        form.addRow("Colour", self._colour)
        form.addRow("Write into", self._into)
        layout.addLayout(form)
        return box

    def _button(self, action_id: str) -> QPushButton:
        if action_id not in self._buttons:
            action = find_action(action_id)
            key = key_of(self.session, action)
            button = QPushButton(f"{action.title}  [{key}]" if key else action.title)
            button.setToolTip(action.tooltip)
            button.setObjectName(action_id)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda: run_action(self.session, action))
            self._buttons[action_id] = button
        return self._buttons[action_id]

    def _help(self, action: ActionSpec) -> str:
        return f"<b>{key_of(self.session, action)}</b> {action.title}"

    def refresh(self) -> None:
        """Show the session as it is now."""
        session = self.session
        automatic, there = session.automatic, session.source is not None
        self._state.setText(session.connection.text)
        done, total = automatic.progress
        busy = automatic.running or session.jobs.n_running > 0
        self._progress.setRange(0, total if total else int(not busy))
        self._progress.setValue(done if total else int(not busy))
        self._progress.setFormat(f"{done} of {total} tiles" if total else "working" if busy else "idle")
        self._button("cancel").setEnabled(busy)
        for name in ("toggle_click_mode", "segment_image", "segment_view", "segment_stack"):
            self._button(name).setEnabled(there)
        self._button("segment_stack").setVisible(session.source is not None and len(session.source.shape) > 2)
        self._button("toggle_click_mode").setChecked(session.clicking)
        history = session.history if session.has_target else None
        for name, title in (("undo", history and history.undo_title), ("redo", history and history.redo_title)):
            self._button(name).setEnabled(bool(title))
            self._button(name).setToolTip(f"{find_action(name).tooltip} Now: {title or 'nothing'}.")
        self._first_steps.setVisible(history is None or not len(history))
        self._cell.setText(self._about_cell())
        if not there:
            self._message.setText(_NO_IMAGE)
        self._list_labels()
        self._colouring.start()

    def _about_cell(self) -> str:
        active = self.session.prompting.active
        if active is None:
            return "No cell is taken up."
        record = self.session.cells.get(active.plane, active.label)
        iou = "" if record is None or record.predicted_iou is None else f", predicted IoU {record.predicted_iou:.2f}"
        return f"Cell {active.label}: {len(active.inside)} clicks inside, {len(active.outside)} outside{iou}."

    def _list_labels(self) -> None:
        from napari.layers import Labels

        session = self.session
        layers = [layer for layer in session.viewer.layers if isinstance(layer, Labels)]
        names = [layer.name for layer in layers] + ["New layer"]
        if names != [self._into.itemText(i) for i in range(self._into.count())]:
            self._into.clear()
            self._into.addItems(names)
        used = session.target.layer.name if session.has_target else "New layer"
        self._into.setCurrentText(used)

    def _show_features(self) -> None:
        """Let the labels layer know what its cells know, and colour it."""
        from napari_cellsam.widgets._features import colour, table_of

        if not self.session.has_target:
            return
        layer, cells = self.session.target.layer, self.session.cells
        layer.features = table_of(cells)
        by = self._colour.currentData()
        if by != "label" or layer.metadata.get("napari-cellsam-colour", "label") != "label":
            colour(layer, cells, by)
            layer.metadata["napari-cellsam-colour"] = by

    # --- what is done

    def _later(self) -> None:
        self._refreshing.start()

    def _on_said(self, text: str, kind: str) -> None:
        self._message.setText(text)
        if kind != "info":
            from napari.utils.notifications import show_error, show_warning

            (show_error if kind == "error" else show_warning)(text)

    def _on_click(self, click: Click) -> None:
        def at_place(session: Session) -> None:
            y, x = session.to_yx(click.position)
            session.prompting.click(y, x, outside=click.outside)

        run_action(self.session, ActionSpec("click", "Click", "", "", at_place))

    def _on_labels(self, layer: object) -> None:
        bind_labels(self.session, layer)

    def _on_rule(self) -> None:
        self.session.rule = self._rule.currentData()

    def _on_into(self, index: int) -> None:
        from napari.layers import Labels

        layers = [layer for layer in self.session.viewer.layers if isinstance(layer, Labels)]

        def use(session: Session) -> None:
            session.use_labels(layers[index]) if index < len(layers) else session.use_new_labels()

        run_action(self.session, ActionSpec("write_into", "Write into", "", "", use))

    def closeEvent(self, event: object) -> None:  # noqa: N802 - Qt's name
        """End the session with the dock."""
        self._refreshing.stop()
        self._colouring.stop()
        self._mouse.close()
        unbind_viewer(self.session)
        self.session.close()
        super().closeEvent(event)


def _line(text: str = "") -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    return label


def _row(*widgets: QWidget) -> QHBoxLayout:
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def _choice(texts: dict[str, str], tooltip: str) -> QComboBox:
    box = QComboBox()
    for value, text in texts.items():
        box.addItem(text, value)
    box.setToolTip(tooltip)
    return box
