"""The address of a service, as a user types it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from napari_cellsam.errors import OptionError

__all__ = ["Address"]


@dataclass(frozen=True)
class Address:
    """Where a service listens.

    Attributes
    ----------
    url
        Scheme, host, port and path, without a slash at the end.
    is_secure
        Whether what is sent there is encrypted.
    is_loopback
        Whether it is this machine, so that nothing goes over a network.
    """

    url: str
    is_secure: bool
    is_loopback: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL.

        Parameters
        ----------
        url
            Such as ``https://gpu.example.org`` or ``http://127.0.0.1:8765``.

        Raises
        ------
        OptionError
            If it is not one, or holds a password or a token. The message does not repeat those.
        """
        try:
            parts = urlsplit(url.strip())
            _check(parts, url)
            host = parts.hostname or ""
        except ValueError as error:
            raise OptionError(f"the server's URL cannot be read: {error}") from error
        netloc = parts.netloc.lower()
        return cls(f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}", parts.scheme == "https", _is_loopback(host))


def _check(parts: SplitResult, url: str) -> None:
    """Refuse what is not the URL of a service; reading the port raises ValueError where it is none."""
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise OptionError(
            "the server's URL holds a user, a password or a query, which would end up in logs; give the URL alone, and "
            "the token in a file or in NAPARI_CELLSAM_TOKEN"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise OptionError(f"the server's URL is {url!r}; expected one such as https://host or http://127.0.0.1:8765")


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
