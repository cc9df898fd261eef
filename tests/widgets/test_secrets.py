"""Tokens: where they are kept, and that nobody else reads them."""

from __future__ import annotations

import json
import logging
import os
import stat

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.errors import KeyringLocked, PasswordDeleteError

from napari_cellsam.errors import AuthenticationError, OptionError, OutputError
from napari_cellsam.widgets import _secrets

SERVER = "https://gpu.example.org"
OTHER = "https://other.example.org"


class Memory(KeyringBackend):
    """A keyring that works."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.held = {}

    def get_password(self, service, username):
        return self.held.get((service, username))

    def set_password(self, service, username, password):
        self.held[service, username] = password

    def delete_password(self, service, username):
        if self.held.pop((service, username), None) is None:
            raise PasswordDeleteError("no such password")


class Broken(KeyringBackend):
    """A keyring whose system is not there."""

    priority = 1

    def get_password(self, service, username):
        raise KeyringLocked("locked")

    def set_password(self, service, username, password):
        raise OSError(f"the bus is gone, with {password}")

    def delete_password(self, service, username):
        raise RuntimeError("gone")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the file of tokens would be; no token in the environment."""
    monkeypatch.setenv("NAPARI_CELLSAM_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("NAPARI_CELLSAM_TOKEN", raising=False)
    return tmp_path / "config"


@pytest.fixture
def use(monkeypatch):
    """Make a keyring the system's."""

    def use(backend):
        for name in ("get_password", "set_password", "delete_password"):
            monkeypatch.setattr(keyring, name, getattr(backend, name))
        return backend

    return use


@pytest.fixture
def works(use):
    return use(Memory())


def without_keyring():
    return [Broken(), fail.Keyring(), null.Keyring()]


@pytest.fixture(params=without_keyring(), ids=lambda backend: type(backend).__module__.rpartition(".")[2])
def broken(request, use):
    return use(request.param)


def test_a_token_is_kept_in_the_keyring_and_in_no_file(works, folder):
    assert _secrets.remember(SERVER, "a-token") is None
    assert _secrets.token_for(SERVER) == "a-token"
    assert list(works.held.values()) == ["a-token"]
    assert not folder.exists()


def test_no_token_is_known_of_a_server_that_was_never_told(works):
    _secrets.remember(OTHER, "a-token")
    assert _secrets.token_for(SERVER) is None


def test_the_same_server_written_another_way_has_the_same_token(works):
    _secrets.remember("HTTPS://GPU.example.org/", "a-token")
    assert _secrets.token_for(SERVER) == "a-token"


def test_the_environment_wins(works, monkeypatch):
    _secrets.remember(SERVER, "a-token")
    monkeypatch.setenv("NAPARI_CELLSAM_TOKEN", " from-outside\n")
    assert _secrets.token_for(SERVER) == "from-outside"


def test_who_signs_in_is_told_that_the_environment_wins(works, monkeypatch):
    monkeypatch.setenv("NAPARI_CELLSAM_TOKEN", "from-outside")
    assert "NAPARI_CELLSAM_TOKEN" in _secrets.remember(SERVER, "a-token")
    assert _secrets.remember(SERVER, "from-outside") is None


def test_without_a_keyring_a_file_keeps_the_token_and_the_user_is_told(broken, folder):
    note = _secrets.remember(SERVER, "a-token")
    assert str(folder / "tokens.json") in note
    assert "a-token" not in note
    assert _secrets.token_for(SERVER) == "a-token"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_nobody_else_can_read_the_file(broken, folder):
    _secrets.remember(SERVER, "a-token")
    assert stat.S_IMODE((folder / "tokens.json").stat().st_mode) == 0o600
    (folder / "tokens.json").chmod(0o644)
    _secrets.remember(OTHER, "another")
    assert stat.S_IMODE((folder / "tokens.json").stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_file_that_others_can_read_is_warned_of(broken, folder, caplog):
    _secrets.remember(SERVER, "a-token")
    (folder / "tokens.json").chmod(0o644)
    assert _secrets.token_for(SERVER) == "a-token"
    assert "change its mode to 600" in caplog.text


def test_no_token_is_logged(broken, caplog):
    caplog.set_level(logging.DEBUG)
    _secrets.remember(SERVER, "a-token")
    _secrets.token_for(SERVER)
    _secrets.forget(SERVER)
    assert "a-token" not in caplog.text


def test_the_file_keeps_the_tokens_of_other_servers(broken):
    _secrets.remember(SERVER, "a-token")
    _secrets.remember(OTHER, "another")
    _secrets.remember(SERVER, "a newer one")
    assert (_secrets.token_for(SERVER), _secrets.token_for(OTHER)) == ("a newer one", "another")


def test_once_a_keyring_works_the_file_forgets_the_token(use, folder):
    use(Broken())
    _secrets.remember(SERVER, "a-token")
    use(Memory())
    assert _secrets.token_for(SERVER) == "a-token"
    assert _secrets.remember(SERVER, "a newer one") is None
    assert _secrets.token_for(SERVER) == "a newer one"
    assert not (folder / "tokens.json").exists()


def test_a_token_can_be_forgotten_wherever_it_is(use):
    use(Broken())
    _secrets.remember(SERVER, "in the file")
    memory = use(Memory())
    memory.set_password("napari-cellsam", SERVER, "in the keyring")
    _secrets.forget(SERVER)
    assert _secrets.token_for(SERVER) is None
    _secrets.forget(SERVER)  # once more is no error


def test_forgetting_one_server_leaves_the_others(broken):
    _secrets.remember(SERVER, "a-token")
    _secrets.remember(OTHER, "another")
    _secrets.forget(SERVER)
    assert (_secrets.token_for(SERVER), _secrets.token_for(OTHER)) == (None, "another")


@pytest.mark.parametrize("content", ["{", "[]", '{"https://gpu.example.org": 1}', b"\xff\xfe"])
def test_a_broken_file_is_refused_by_name(broken, folder, content):
    folder.mkdir()
    (folder / "tokens.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AuthenticationError, match=r"tokens\.json"):
        _secrets.token_for(SERVER)


def test_a_folder_that_cannot_be_made_is_told(broken, folder):
    folder.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be made"):
        _secrets.remember(SERVER, "a-token")


def test_an_empty_token_is_refused(works):
    with pytest.raises(AuthenticationError, match="empty"):
        _secrets.remember(SERVER, "  ")


@pytest.mark.parametrize("ask", [_secrets.token_for, _secrets.forget, lambda url: _secrets.remember(url, "a-token")])
def test_what_is_no_url_is_refused_without_repeating_a_password(works, ask):
    with pytest.raises(OptionError) as refused:
        ask("https://me:geheim@gpu.example.org")
    assert "geheim" not in str(refused.value)
    with pytest.raises(OptionError, match="expected one such as"):
        ask("gpu")


def test_the_file_holds_tokens_by_server_and_nothing_else(broken, folder):
    _secrets.remember(SERVER + "/", "a-token ")
    assert json.loads((folder / "tokens.json").read_text("utf-8")) == {SERVER: "a-token"}
    assert [path.name for path in folder.iterdir()] == ["tokens.json"]
