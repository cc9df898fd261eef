"""The JSON file: what is none is told, however it is broken."""

from __future__ import annotations

import pytest

from napari_cellsam.errors import ImageReadError
from napari_cellsam.export.json_file import read_json, write_json


def test_what_was_written_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"type": "list"}, "items", [1, {"two": 2}])
    assert read_json(tmp_path / "a.json") == {"type": "list", "items": [1, {"two": 2}]}


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "\xff\xfe"}', b"\xff"])
def test_a_broken_file_is_told(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ImageReadError, match="no JSON document"):
        read_json(tmp_path / "a.json")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ImageReadError, match="cannot be read"):
        read_json(tmp_path / "none.json")
