"""The tokens that a server accepts."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from napari_cellsam.errors import AuthenticationError

__all__ = ["FixedTokens", "TokenFile", "Tokens", "can_be_sent", "check_token", "make_token_file"]

_logger = logging.getLogger(__name__)
_MIN_LENGTH = 16
_TOKEN_BYTES = 32
_LARGEST_FILE = 2**20


class Tokens(Protocol):
    """Says whose token it is that a client shows."""

    def name_of(self, token: str) -> str | None:
        """Return the name under which a token is accepted, or None; a wrong one takes as long as a right one."""


class FixedTokens:
    """Tokens that stay as they are.

    Parameters
    ----------
    tokens
        Accepted ones.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = {_digest(token): f"token {number}" for number, token in enumerate(tokens, start=1)}
        if not self._digests:
            raise AuthenticationError("a server needs at least one token")

    def name_of(self, token: str) -> str | None:
        """Return the name under which a token is accepted, or None."""
        return _find(self._digests, token)


class TokenFile:
    """Tokens in a file, which is read again when it changes: adding a line lets someone in, removing it shuts them out.

    Parameters
    ----------
    path
        A token a line, alone or as ``name:token``; empty lines and lines with ``#`` in front are skipped.

    Raises
    ------
    AuthenticationError
        If the file cannot be read, or holds no token or one that is too short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state = _state_of(path)
        self._digests = _read(path)

    def name_of(self, token: str) -> str | None:
        """Return the name under which a token is accepted now, or None; with a broken file nobody is let in."""
        with self._lock:
            state = _state_of(self._path)
            if state != self._state:
                self._state = state
                try:
                    self._digests = _read(self._path)
                    _logger.info("the token file was read again: %d tokens", len(self._digests))
                except AuthenticationError as error:
                    self._digests = {}
                    _logger.error("no token is accepted: %s", error)
            digests = self._digests
        return _find(digests, token)


def can_be_sent(token: str) -> bool:
    """Return whether a token has only characters that a request's header can carry."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def check_token(token: str, where: str) -> str:
    """Return a token that is long enough not to be guessed, and can be sent.

    Parameters
    ----------
    token
        The token.
    where
        It was found, for the error.

    Raises
    ------
    AuthenticationError
        If it is too short, or has characters that cannot be sent.
    """
    if len(token) < _MIN_LENGTH:
        raise AuthenticationError(
            f"{where} holds a token of {len(token)} characters; expected {_MIN_LENGTH} or more, such as "
            'python -c "import secrets; print(secrets.token_urlsafe(32))" gives'
        )
    if not can_be_sent(token):
        raise AuthenticationError(
            f"{where} holds a token with characters that cannot be sent; letters, digits and punctuation of ASCII can"
        )
    return token


def make_token_file(path: Path) -> str:
    """Write a new token into a file that only its owner can read; return the token, or the one that was there.

    Raises
    ------
    AuthenticationError
        If the file cannot be written, or the one that is there cannot be used.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    if path.is_file():
        return next(iter(_lines(path).values()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:20]}.", dir=path.parent)  # its owner's only
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(f"{token}\n")
                file.flush()
                os.fsync(file.fileno())
            return token if _named(Path(temporary), path) else next(iter(_lines(path).values()))
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise AuthenticationError(f"no token can be written to {path}: {error}; give --token-file") from error


def _named(temporary: Path, path: Path) -> bool:
    """Give a file its name, unless another program was faster; return whether it has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # there are no links here
        temporary.replace(path)
    return True


def _find(digests: Mapping[bytes, str], token: str) -> str | None:
    shown = _digest(token)
    found = None
    for digest, name in digests.items():  # all of them, so that time tells nothing
        if hmac.compare_digest(digest, shown):
            found = name
    return found


def _digest(token: str) -> bytes:
    """Return what is compared instead of the token: always of one length."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _state_of(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file does."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> dict[bytes, str]:
    return {_digest(token): name for name, token in _lines(path).items()}


def _lines(path: Path) -> dict[str, str]:
    """Return tokens by name."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise AuthenticationError(f"token file {path} is larger than {_LARGEST_FILE} bytes; it is something else")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AuthenticationError(f"no token can be read from {path}: {error}") from error
    tokens: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        name, _, token = line.strip().rpartition(":")
        tokens[name.strip() or f"line {number}"] = check_token(token.strip(), f"line {number} of {path}")
    if not tokens:
        raise AuthenticationError(f"{path} holds no token; expected one a line, alone or as name:token")
    return tokens
