"""The certificates that a client believes."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellsam.errors import OptionError

if TYPE_CHECKING:
    from napari_cellsam.service.address import Address

__all__ = ["believed"]

_logger = logging.getLogger(__name__)


def believed(address: Address, verify: bool | str | Path) -> ssl.SSLContext:
    """Return which certificates are believed for a service.

    Parameters
    ----------
    address
        Where it listens.
    verify
        True for what this machine believes anyway, a file for a certificate besides, False for any.

    Raises
    ------
    OptionError
        If the file holds no certificate, or the one that the environment names.
    """
    if not address.is_secure:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made at once, believes none, and nobody asks it
    import httpx

    if verify is False:
        _logger.warning("the certificate of %s is not checked: anybody on the way can pose as it", address.url)
        return httpx.create_ssl_context(verify=False)
    try:
        context = httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        file = os.environ.get("SSL_CERT_FILE") or "the package certifi"
        raise OptionError(
            f"no certificates can be read from {file}: {error}; correct or unset the environment variable "
            "SSL_CERT_FILE, or install certifi again"
        ) from error
    context.load_default_certs()  # what the lab's administrators have installed on this machine
    if verify is not True:
        try:
            context.load_verify_locations(cafile=verify)
        except OSError as error:
            raise OptionError(f"no certificate can be read from {verify}: {error}") from error
    return context
