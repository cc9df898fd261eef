"""The JSON file that holds one long list, written and read without a copy of it all in memory."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.output import whole_file

__all__ = ["read_json", "write_json"]


def write_json(path: Path, head: Mapping[str, Any], key: str, items: Iterable[Any], overwrite: bool = False) -> None:
    """Write an object whose last entry is a list, one line per item.

    Parameters
    ----------
    path
        Where to write to.
    head
        The entries before the list; not empty.
    key, items
        The list.
    overwrite
        Whether a file that is there already is replaced.

    Raises
    ------
    OutputError
        If the file exists already or cannot be written.
    """
    from msgspec import json

    encode = json.Encoder().encode
    with whole_file(path, overwrite) as temporary, temporary.open("wb") as file:
        file.write(encode(head)[:-1] + b"," + encode(key) + b":[")
        separator = b"\n"
        for item in items:
            file.write(separator + encode(item))
            separator = b",\n"
        file.write(b"\n]}\n")


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises
    ------
    ImageReadError
        If the file is missing, or no JSON.
    """
    from msgspec import DecodeError, json

    try:
        return json.decode(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise ImageReadError(f"{path} cannot be read: {error.strerror or error}") from error
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ImageReadError(f"{path} is no JSON document; it may be broken or cut off: {error}") from error
