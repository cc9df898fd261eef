"""The section of the model service: where it is, which model it uses, and the token of a server."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit

from napari_cellsam.errors import CellsamError, OptionError, OutputError
from napari_cellsam.service.address import Address
from napari_cellsam.widgets._choice import Choice
from napari_cellsam.widgets._section import Section, form_of, line, push, row_of

if TYPE_CHECKING:
    from napari_cellsam.service.messages import ModelInfo
    from napari_cellsam.widgets._session import Session

__all__ = ["ServiceSection"]


class ServiceSection(Section):
    """Edits the preferences of the service, here and wherever they are changed, and signs in.

    Parameters
    ----------
    session
        Whose connection and preferences.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.server = _field(
            "this machine", "URL of a model service, such as https://gpu.example.org; empty for this machine."
        )
        self.model = Choice("Which of the service's models finds the cells.")
        self.token = _field(
            "token of the server", "Whoever runs the server has it. It is kept in the system's keyring."
        )
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.sign_in = push("Sign in", "Keep the token, and connect to the server with it.")
        self.reconnect = push("Reconnect", "Connect to the model service anew; what is under way is cancelled.")
        self.about, self.note = line(), line()
        super().__init__("Model service", "Where the model runs, and which one it is.", is_open=False)
        self.content.addLayout(form_of(("Server", self.server), ("Model", self.model), ("Token", self.token)))
        self.content.addLayout(row_of(self.sign_in, self.reconnect))
        self.content.addWidget(self.about)
        self.content.addWidget(self.note)
        self.note.hide()
        self.server.editingFinished.connect(self._on_server)
        self.model.activated.connect(self._on_model)
        self.token.textChanged.connect(self._allow)
        self.token.returnPressed.connect(self.sign_in.click)
        self.sign_in.clicked.connect(self._on_sign_in)
        self.reconnect.clicked.connect(self._on_reconnect)
        session.connection.noted.connect(self._tell)
        session.store.changed.connect(self._on_preferences)
        self._on_preferences()

    def close_session(self) -> None:
        """Follow the session no more."""
        self._session.connection.noted.disconnect(self._tell)
        self._session.store.changed.disconnect(self._on_preferences)

    def refresh(self) -> None:
        """Show what the service is now."""
        info, chosen = self._session.connection.info, self._session.preferences.model
        models = () if info is None else info.models
        options = [("", f"{models[0].title} (the service's first)" if models else "the service's first")]
        options += [(model.name, model.title) for model in models]
        if chosen not in [name for name, _ in options]:
            options.append((chosen, chosen))
        self.model.offer(options)
        self.model.show_value(chosen)
        self.about.setText("" if info is None else _about(info.version, info.device, _model(models, chosen)))
        self.about.setVisible(info is not None)
        self._allow()

    def _on_preferences(self, preferences: object = None) -> None:  # noqa: ARG002 - the session has them
        self.server.setText(self._session.preferences.server)
        self.refresh()

    def _on_server(self) -> None:
        """Take the URL that was typed."""
        url = self.server.text().strip()
        if url == self._session.preferences.server:
            return
        try:
            if url:
                Address.parse(url)
        except OptionError as error:
            self._tell(str(error))
            self.server.setText(self._session.preferences.server)
            return
        self._update(server=url)

    def _on_model(self) -> None:
        self._update(model=self.model.value)

    def _update(self, **changes: str) -> None:
        """Keep a choice."""
        self._tell("")
        try:
            self._session.store.update(**changes)
        except (OptionError, OutputError) as error:
            self._tell(str(error))
        self.refresh()

    def _on_sign_in(self) -> None:
        self._tell("")
        try:
            self._session.connection.sign_in(self.token.text())
        except CellsamError as error:
            self._tell(str(error))
        self.token.clear()  # nobody reads it here again

    def _on_reconnect(self) -> None:
        self._session.connection.reconnect()

    def _allow(self) -> None:
        """Let the token be given where a server asks for one."""
        there = bool(self._session.preferences.server)
        self.token.setEnabled(there)
        self.sign_in.setEnabled(there and bool(self.token.text().strip()))

    def _tell(self, text: str) -> None:
        self.note.setText(escape(f"{text[:1].upper()}{text[1:]}", quote=False))
        self.note.setVisible(bool(text))


def _field(placeholder: str, tooltip: str) -> QLineEdit:
    field = QLineEdit()
    field.setPlaceholderText(placeholder)
    field.setToolTip(tooltip)
    field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return field


def _model(models: tuple[ModelInfo, ...], chosen: str) -> ModelInfo | None:
    return next((model for model in models if chosen in ("", model.name)), None)


def _about(version: str, device: str, model: ModelInfo | None) -> str:
    parts = [f"Service {version} on {device}"]
    if model is not None and model.licence:
        parts.append(f"licence of the model: {model.licence}")
    return "<br>".join(map(escape, parts))
