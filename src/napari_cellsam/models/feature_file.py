"""The file of one entry of the feature store: a checksum, then safetensors."""

from __future__ import annotations

import hashlib

import numpy as np

from napari_cellsam.models.feature_store import Arrays

__all__ = ["decode", "encode"]

_DIGEST_BYTES = 32


def encode(key: str, arrays: Arrays) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    key
        What the arrays are kept under. The checksum covers it, so that a file under another's name is no answer.
    arrays
        Of any type that numpy and safetensors know.
    """
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return _digest(key, content) + content


def decode(key: str, data: bytes) -> Arrays | None:
    """Return the arrays of a key, or None if a single bit of the file is not as it was written."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    view = memoryview(data)
    if _digest(key, view[_DIGEST_BYTES:]) != view[:_DIGEST_BYTES]:
        return None
    try:
        arrays: Arrays = load(data[_DIGEST_BYTES:])
    except SafetensorError:  # of another version of the format
        return None
    return arrays


def _digest(key: str, content: bytes | memoryview) -> bytes:
    name = key.encode()
    digest = hashlib.blake2b(len(name).to_bytes(8, "big") + name, digest_size=_DIGEST_BYTES)
    digest.update(content)
    return digest.digest()
