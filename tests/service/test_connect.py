"""A server's token comes from a file or the environment, never from the URL."""

import pytest

from napari_cellsam import connect
from napari_cellsam.errors import AuthenticationError, OptionError
from napari_cellsam.service import local
from napari_cellsam.service.connect import read_token


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("NAPARI_CELLSAM_TOKEN", raising=False)


@pytest.mark.parametrize(
    "text", ["secret", "secret\n", "# mine\n\n  secret  \nother\n", "anna: secret\n", "\ufeffsecret"]
)
def test_a_token_is_the_first_line_of_its_file(tmp_path, text):
    (tmp_path / "token").write_text(text, "utf-8")
    assert read_token(tmp_path / "token") == "secret"


@pytest.mark.parametrize("content", [b"", b"\n# nothing\n", b"\xff\xfe\x00"])
def test_a_file_without_a_token_is_an_error(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(AuthenticationError, match="token"):
        read_token(tmp_path / "token")


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(AuthenticationError, match=r"no token can be read from .*missing"):
        read_token(tmp_path / "missing")


def test_the_environment_gives_a_token(monkeypatch):
    monkeypatch.setenv("NAPARI_CELLSAM_TOKEN", " secret ")
    assert read_token() == "secret"


def test_a_file_goes_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_CELLSAM_TOKEN", "old")
    (tmp_path / "token").write_text("new")
    assert read_token(tmp_path / "token") == "new"


def test_a_server_without_a_token_is_an_error_that_says_how_to_give_one():
    with pytest.raises(AuthenticationError, match="NAPARI_CELLSAM_TOKEN"):
        connect("http://127.0.0.1:1")


def test_a_url_is_read_before_a_token_is_looked_for():
    with pytest.raises(OptionError, match="server's URL"):
        connect("127.0.0.1:1")


def test_a_token_file_without_a_server_is_an_error(tmp_path):
    with pytest.raises(OptionError, match="give the server's URL"):
        connect(token_file=tmp_path / "token")


def test_connecting_sends_nothing(tmp_path):
    (tmp_path / "token").write_text("secret")
    with connect("http://127.0.0.1:1", tmp_path / "token", "mine") as client:
        assert client.model == "mine"


def test_without_a_server_a_lease_on_the_local_service_is_taken_and_given_back(monkeypatch):
    events = []

    class Lease:
        def close(self):
            events.append("given back")

    class Local:
        def acquire(self):
            events.append("taken")
            return Lease()

    monkeypatch.setattr(local, "local_service", Local)
    with connect(model="mine") as client:
        assert (client.model, events) == ("mine", ["taken"])
    assert events == ["taken", "given back"]
