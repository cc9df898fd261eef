"""The dock with which cells are found, in sections, and the session's end with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_cellsam.widgets._action_buttons import ActionButtons
from napari_cellsam.widgets._actions import ActionSpec, run_action
from napari_cellsam.widgets._boxes_section import BoxesSection
from napari_cellsam.widgets._cell_section import CellSection
from napari_cellsam.widgets._channels_section import ChannelsSection
from napari_cellsam.widgets._correct_section import CorrectSection
from napari_cellsam.widgets._dock_area import DockArea
from napari_cellsam.widgets._draw_section import DrawSection
from napari_cellsam.widgets._export_section import ExportSection
from napari_cellsam.widgets._features import Features
from napari_cellsam.widgets._find_section import FindSection
from napari_cellsam.widgets._first_steps import FirstSteps
from napari_cellsam.widgets._folder_section import FolderSection
from napari_cellsam.widgets._keys import Keys
from napari_cellsam.widgets._more_section import MoreSection
from napari_cellsam.widgets._mouse import Click, Mouse
from napari_cellsam.widgets._review_section import ReviewSection
from napari_cellsam.widgets._section import push
from napari_cellsam.widgets._service_section import ServiceSection
from napari_cellsam.widgets._sessions import session_of
from napari_cellsam.widgets._state_section import StateSection
from napari_cellsam.widgets._train_section import TrainSection

if TYPE_CHECKING:
    import napari

    from napari_cellsam.widgets._section import Section
    from napari_cellsam.widgets._session import Session

__all__ = ["SegmentDock"]

_REFRESH_MS = 30


class SegmentDock(QWidget):
    """Shows the session of a viewer, and asks it for what its buttons say. The session ends with it.

    Parameters
    ----------
    napari_viewer
        Given by napari.
    session
        Another one than the viewer's, for tests.

    Attributes
    ----------
    session
        What is shown.
    state, first_steps, sections, help
        What it consists of.
    is_open
        Whether it follows the session; once it is closed, it never does again.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__()
        self.session = session or session_of(napari_viewer)
        self.is_open = True
        self._refreshing = QTimer(self, interval=_REFRESH_MS, singleShot=True)
        self._refreshing.timeout.connect(self.refresh)
        self._keys, self._features = Keys(self.session), Features(self.session, lambda: self.session.measuring.current)
        self._mouse = Mouse(self.session.viewer, self._wants_clicks, self._wants_strokes)
        self._build(ActionButtons(self.session, self._keys))
        self._mouse.clicked.connect(self._on_click)
        self._mouse.stroked.connect(self._on_stroke)
        self._mouse.moved.connect(self._on_moved)
        self._layers_heard = [
            getattr(self.session.viewer.layers.events, name) for name in ("inserted", "removed", "reordered")
        ]
        for event in self._layers_heard:
            event.connect(self._later)
        self.session.said.connect(self._on_said)
        for signal in (self.session.changed, self._keys.changed):
            signal.connect(self._later)
        self.session.start()
        self.refresh()

    def refresh(self) -> None:
        """Show the session as it is now."""
        self.state.refresh()
        self.first_steps.refresh()
        for section in self.sections.values():
            if section.is_open:
                section.refresh()

    def _build(self, buttons: ActionButtons) -> None:
        session = self.session
        self.state = StateSection(session, buttons)
        self.first_steps = FirstSteps(session, buttons)
        self.sections: dict[str, Section] = {
            "find": FindSection(session, buttons),
            "cell": CellSection(session, buttons, self._features),
            "draw": DrawSection(session, buttons),
            "correct": CorrectSection(session, buttons),
            "review": ReviewSection(session, buttons),
            "boxes": BoxesSection(session, session.boxes),
            "channels": ChannelsSection(session),
            "train": TrainSection(session, buttons),
            "folder": FolderSection(session, buttons),
            "export": ExportSection(session, buttons),
            "service": ServiceSection(session),
            "more": MoreSection(buttons),
        }
        self.help = push("Help", "Show what can be done, and where the documentation is.")
        self.help.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.help.clicked.connect(self._on_help)
        self.state.add_beside(self.help)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        for widget in (self.state, self.first_steps, *self.sections.values()):
            layout.addWidget(widget)
        layout.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        self._area = DockArea(content, self.sections.values())
        outer.addWidget(self._area)

    def _later(self, event: object = None) -> None:  # noqa: ARG002 - napari's signature
        if not self._refreshing.isActive():
            self._refreshing.start()

    def _on_help(self) -> None:
        self.first_steps.call(True)
        self._area.ensureWidgetVisible(self.first_steps)

    def _on_said(self, text: str, kind: str) -> None:
        self.state.tell(text)
        if kind != "info":
            from napari.utils.notifications import show_error, show_warning

            (show_error if kind == "error" else show_warning)(text)

    def _on_click(self, click: Click) -> None:
        def at_place(session: Session) -> None:
            y, x = session.to_yx(click.position)
            if session.correcting.begun is not None:
                session.correcting.go_on(y, x)
            else:
                session.prompting.click(y, x, outside=click.outside, more=click.more)

        run_action(self.session, ActionSpec("click", "Click", "", "", at_place))

    def _on_stroke(self, positions: list[tuple[float, ...]]) -> None:
        def cut(session: Session) -> None:
            session.correcting.cut([session.to_yx(position) for position in positions])

        run_action(self.session, ActionSpec("stroke", "Cut", "", "", cut))

    def _on_moved(self, position: tuple[float, ...]) -> None:
        if self.session.clicking:
            self.session.hover.moved(position)

    def _wants_clicks(self) -> bool:
        return self.session.clicking or self.session.correcting.begun is not None

    def _wants_strokes(self) -> bool:
        begun = self.session.correcting.begun
        return begun is not None and begun.kind == "split"

    # --- the end

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """End the session when napari takes the widget out of its dock, which neither closes nor deletes it."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self.is_open:
            self._end()
            self.deleteLater()

    def closeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """End the session with the dock."""
        self._end()
        super().closeEvent(event)

    def _end(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self._refreshing.stop()
        for signal in (self.session.changed, self._keys.changed):
            signal.disconnect(self._later)
        for event in self._layers_heard:
            event.disconnect(self._later)
        self.session.said.disconnect(self._on_said)
        self.sections["service"].close_session()
        self.sections["boxes"].close_session()
        self.sections["train"].close_session()
        for part in (self._mouse, self._keys, self._features, self.session):
            part.close()
