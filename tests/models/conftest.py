"""Folders of a machine on which nothing was added yet."""

import pytest


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Move every folder, the one of the packaged models included, below a temporary one."""
    for name in ("cache", "config", "models"):
        monkeypatch.setenv(f"NAPARI_CELLSAM_{name.upper()}_DIR", str(tmp_path / name))
    (tmp_path / "packaged").mkdir()
    monkeypatch.setattr("napari_cellsam.models.fetch.PACKAGED_DIR", tmp_path / "packaged")
    return tmp_path
