"""Folders follow the platform unless the environment moves them."""

import pytest

from napari_cellsam import settings


@pytest.mark.parametrize("name", ["cache", "config", "models"])
def test_the_environment_moves_a_folder(name, tmp_path, monkeypatch):
    find = getattr(settings, f"{name}_dir")
    monkeypatch.setenv(f"NAPARI_CELLSAM_{name.upper()}_DIR", str(tmp_path / "here"))
    assert find() == tmp_path / "here"
    monkeypatch.setenv(f"NAPARI_CELLSAM_{name.upper()}_DIR", "~/there")
    assert find().is_absolute()
    assert find().name == "there"
    monkeypatch.setenv(f"NAPARI_CELLSAM_{name.upper()}_DIR", " ")
    assert "napari-cellsam" in find().parts


def test_asking_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CELLSAM_MODELS_DIR", str(tmp_path / "models"))
    settings.models_dir()
    assert not (tmp_path / "models").exists()
