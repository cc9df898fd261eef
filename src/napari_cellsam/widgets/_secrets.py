"""The tokens of servers: in the system's keyring, or in a file that only its owner can read."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from napari_cellsam.errors import AuthenticationError, OutputError
from napari_cellsam.service.address import Address
from napari_cellsam.service.connect import TOKEN_VARIABLE
from napari_cellsam.settings import config_dir

__all__ = ["forget", "remember", "token_for"]

_logger = logging.getLogger(__name__)
_SERVICE = "napari-cellsam"
Result = TypeVar("Result")


def token_for(server: str) -> str | None:
    """Return the token of a server, or None if none is known.

    That of the environment variable ``NAPARI_CELLSAM_TOKEN`` wins. The keyring may ask the user to unlock it, so this
    may wait.

    Parameters
    ----------
    server
        Its URL.

    Raises
    ------
    OptionError
        If it is not a URL.
    AuthenticationError
        If the file of tokens is there but cannot be read.
    """
    url = Address.parse(server).url
    return _from_outside() or _from_keyring(url) or _read().get(url)


def remember(server: str, token: str) -> str | None:
    """Keep the token of a server for the next time. May wait, as `token_for`.

    Parameters
    ----------
    server
        Its URL.
    token
        What it asks for.

    Returns
    -------
    str or None
        Notes for the user: if no keyring works here, so that a file holds the token, and if the environment variable
        holds another one, which wins.

    Raises
    ------
    OptionError
        If it is not a URL.
    AuthenticationError
        If the token is empty.
    OutputError
        If no keyring works, and the file cannot be written.
    """
    url, token = Address.parse(server).url, token.strip()
    if not token:
        raise AuthenticationError("the token is empty; whoever runs the server has one")
    notes = []
    if _into_keyring(url, token):
        _drop(url)
    else:
        _write({**_read(), url: token})
        notes.append(f"No system keyring works here, so the token is kept in {_file()}, which only you can read.")
    if _from_outside() not in ("", token):
        notes.append(
            f"The environment variable {TOKEN_VARIABLE} is set, and its token is used instead of this one: unset it, "
            "and start napari again."
        )
    return " ".join(notes) or None


def forget(server: str) -> None:
    """Forget the token of a server, wherever it is kept. May wait, as `token_for`.

    Parameters
    ----------
    server
        Its URL.
    """
    import keyring

    url = Address.parse(server).url
    if _from_keyring(url) is not None:
        _tried(lambda: keyring.delete_password(_SERVICE, url))
    _drop(url)


def _from_outside() -> str:
    return os.environ.get(TOKEN_VARIABLE, "").strip()


def _from_keyring(url: str) -> str | None:
    import keyring

    return _tried(lambda: keyring.get_password(_SERVICE, url)) or None


def _into_keyring(url: str, token: str) -> bool:
    """Put a token into the keyring; return whether it is there: a disabled one takes everything and keeps nothing."""
    import keyring

    _tried(lambda: keyring.set_password(_SERVICE, url, token))
    return _from_keyring(url) == token


def _tried(use: Callable[[], Result]) -> Result | None:
    """Return what the keyring answers, or None where none works."""
    try:
        return use()
    except Exception as error:  # noqa: BLE001 - back ends are other people's, and raise what their systems do
        _logger.info("the system keyring cannot be used: %s", type(error).__name__)  # the message may hold anything
        return None


def _file() -> Path:
    return config_dir() / "tokens.json"


def _drop(url: str) -> None:
    """Take a token out of the file."""
    tokens = _read()
    if tokens.pop(url, None) is not None:
        _write(tokens)


def _read() -> dict[str, str]:
    """Return tokens by URL, from the file."""
    path = _file()
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise AuthenticationError(f"the tokens in {path} cannot be read: {error}") from error
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _logger.warning("others can read the tokens in %s: change its mode to 600", path)
    try:
        tokens = json.loads(text)
    except ValueError as error:
        raise AuthenticationError(f"{path} is broken: {error}; remove it, and enter the token again") from None
    if not isinstance(tokens, dict) or not all(isinstance(token, str) for token in tokens.values()):
        raise AuthenticationError(f"{path} does not hold tokens by server; remove it, and enter the token again")
    return tokens


def _write(tokens: dict[str, str]) -> None:
    """Write the file, or remove it when nothing is left; nobody else can read it at any time."""
    from napari_cellsam.export.output import make_folder, whole_file

    path = _file()
    if not tokens:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be removed: {error.strerror or error}") from error
        return
    make_folder(path.parent)
    with whole_file(path, overwrite=True) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(tokens, file, indent=1)
