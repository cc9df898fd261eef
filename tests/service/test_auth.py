"""Tokens: fixed ones, and a file that may change while the server runs."""

from __future__ import annotations

import errno
import os
import stat
import sys

import pytest

from napari_cellsam.errors import AuthenticationError
from napari_cellsam.service.auth import FixedTokens, TokenFile, make_token_file

ONE, TWO = "first-token-of-many", "second-token-of-many"


def write(path, text, time=[1]):  # noqa: B006 - counts the writes, so that each has a time of its own
    path.write_text(text)
    time[0] += 1
    os.utime(path, (time[0], time[0]))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tokens"
    write(path, f"# the lab\n\nanna:{ONE}\n{TWO}\n")
    return path


def test_accepted_tokens_have_names_and_others_have_none(file):
    tokens = TokenFile(file)
    assert [tokens.name_of(token) for token in (ONE, TWO, "x" * 20, "", "anna")] == ["anna", "line 4", None, None, None]
    assert FixedTokens([ONE]).name_of(ONE) == "token 1"
    assert FixedTokens([ONE]).name_of(ONE + " ") is None


def test_a_removed_token_is_shut_out_and_a_new_one_let_in_without_a_restart(file):
    tokens = TokenFile(file)
    write(file, f"ben:{TWO}\n")
    assert tokens.name_of(ONE) is None
    assert tokens.name_of(TWO) == "ben"


@pytest.mark.parametrize("text", [None, "", "short", "\x00\xff"])
def test_while_the_file_is_broken_nobody_is_let_in_and_then_all_again(file, text, caplog):
    tokens = TokenFile(file)
    if text is None:
        file.unlink()
    else:
        write(file, text)
    assert tokens.name_of(ONE) is None
    assert "no token is accepted" in caplog.text
    write(file, ONE)
    assert tokens.name_of(ONE) == "line 1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no token"),
        ("# nothing\n", "holds no token"),
        ("name:short\n", "5 characters"),
        ("name:t\u00f6kent\u00f6kent\u00f6kent\u00f6ken\n", "cannot be sent"),
        ("a token with blanks\n", "cannot be sent"),
    ],
)
def test_a_file_without_a_good_token_is_refused(tmp_path, text, why):
    write(tmp_path / "tokens", text)
    with pytest.raises(AuthenticationError, match=why) as told:
        TokenFile(tmp_path / "tokens")
    assert "short" not in str(told.value)


def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "tokens"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(AuthenticationError, match="no token can be read"):
        TokenFile(path)
    path.write_bytes(b"a" * (2**20 + 1))
    with pytest.raises(AuthenticationError, match="something else"):
        TokenFile(path)
    with pytest.raises(AuthenticationError, match="no token can be read"):
        TokenFile(tmp_path / "none")


def test_a_new_token_is_long_and_only_for_its_owner_and_made_once(tmp_path):
    path = tmp_path / "config" / "server.token"
    token = make_token_file(path)
    assert len(token) >= 32
    assert make_token_file(path) == token
    assert TokenFile(path).name_of(token)
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_token_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AuthenticationError, match="--token-file"):
        make_token_file(tmp_path / "file" / "server.token")


def test_a_token_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "server.token"

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(AuthenticationError, match="No space"):
            make_token_file(path)
    assert not list(tmp_path.iterdir())
    token = make_token_file(path)
    assert TokenFile(path).name_of(token)


def test_of_two_that_make_a_token_at_once_both_have_the_same(tmp_path, monkeypatch):
    path, real = tmp_path / "server.token", os.link

    def slower(source, target):
        path.write_text("t" * 40)
        real(source, target)

    monkeypatch.setattr(os, "link", slower)
    assert make_token_file(path) == "t" * 40
    assert [file.name for file in tmp_path.iterdir()] == ["server.token"]


def test_a_server_needs_a_token():
    with pytest.raises(AuthenticationError):
        FixedTokens([])
