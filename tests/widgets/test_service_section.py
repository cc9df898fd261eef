"""The service's section: where the model runs, which one it is, and the token of a server."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QLineEdit

from napari_cellsam.errors import OutputError
from napari_cellsam.service.messages import LimitsInfo, ModelInfo, ServiceInfo
from napari_cellsam.widgets._service_section import ServiceSection

URL = "https://gpu.example.org"


def model(name, licence):
    return ModelInfo(name=name, title=name.capitalize(), licence=licence, weights_id="", loaded=True, can_detect=True)


INFO = ServiceInfo(
    version="1.2",
    protocol=1,
    device="cuda:0 (A100)",
    memory_bytes=0,
    memory_used_bytes=0,
    models=(model("compact", "BSD-3-Clause"), model("published", "non-commercial")),
    limits=LimitsInfo(max_body_bytes=1, max_pixels=1, max_prompts=1, max_waiting=1),
    private=True,
)


@pytest.fixture
def section(session, qtbot):
    made = ServiceSection(session)
    qtbot.addWidget(made)
    made.set_open(True)
    yield made
    made.close_session()


def type_into(field, text):
    field.setText(text)
    field.editingFinished.emit()


def test_an_empty_server_is_this_machine(section):
    assert section.server.text() == ""
    assert section.server.placeholderText() == "this machine"
    assert not section.token.isEnabled()


def test_a_server_is_kept_when_it_was_typed(session, section):
    type_into(section.server, f"  {URL} ")
    assert session.preferences.server == URL
    assert section.token.isEnabled()


@pytest.mark.parametrize("wrong", ["gpu", "ftp://gpu.example.org", "https://me:secret@gpu.example.org"])
def test_what_is_no_server_is_refused_and_nothing_changes(session, section, wrong):
    type_into(section.server, wrong)
    assert session.preferences.server == ""
    assert section.server.text() == ""
    assert "server's URL" in section.note.text()
    assert "secret" not in section.note.text()


def test_the_same_server_again_changes_nothing(session, section):
    told = []
    session.store.changed.connect(told.append)
    type_into(section.server, "")
    assert told == []


def test_models_are_those_of_the_service(session, section):
    assert section.model.count() == 1
    session.connection.info = INFO
    section.refresh()
    assert section.model.values == ["", "compact", "published"]
    section.model.choose("published")
    assert session.preferences.model == "published"


def test_a_model_that_the_service_does_not_have_stays_chosen(session, section):
    session.connection.info = INFO
    session.store.update(model="mine")
    assert section.model.value == "mine"


def test_the_licence_of_the_chosen_model_is_shown(session, section):
    assert section.about.isHidden()
    session.connection.info = INFO
    section.refresh()
    assert section.about.text() == "Service 1.2 on cuda:0 (A100)<br>licence of the model: BSD-3-Clause"
    section.model.choose("published")
    assert "non-commercial" in section.about.text()


def test_the_token_is_given_once_and_is_not_shown(session, section):
    type_into(section.server, URL)
    assert section.token.echoMode() == QLineEdit.EchoMode.Password
    assert not section.sign_in.isEnabled()
    section.token.setText("top secret")
    assert section.sign_in.isEnabled()
    section.sign_in.click()
    assert session.connection.tokens == ["top secret"]
    assert section.token.text() == ""


def test_enter_in_the_token_signs_in(session, section):
    type_into(section.server, URL)
    section.token.setText("top secret")
    section.token.returnPressed.emit()
    assert session.connection.tokens == ["top secret"]


def test_notes_of_the_connection_are_shown(session, section):
    session.connection.noted.emit("the token is kept in a file")
    assert section.note.text() == "The token is kept in a file"
    assert not section.note.isHidden()


def test_it_connects_anew_on_request(session, section):
    section.reconnect.click()
    assert session.connection.n_reconnected == 1


def test_preferences_that_are_changed_elsewhere_are_followed(session, section):
    session.store.update(server=URL, model="published")
    assert section.server.text() == URL
    assert section.model.value == "published"


def test_a_choice_that_cannot_be_written_is_told(session, section, monkeypatch):
    def refuse(**changes):
        raise OutputError("the disk is full")

    monkeypatch.setattr(session.store, "update", refuse)
    type_into(section.server, URL)
    assert section.note.text() == "The disk is full"


def test_a_closed_section_hears_nothing_any_more(session, qtbot):
    made = ServiceSection(session)
    qtbot.addWidget(made)
    made.close_session()
    session.store.update(server=URL)
    session.connection.noted.emit("hello")
    assert made.server.text() == ""
    assert made.note.text() == ""
