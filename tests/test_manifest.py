from __future__ import annotations

from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest
from npe2 import PluginManifest

from napari_cellsam.data.sample_layers import open_sample
from napari_cellsam.data.samples import sample_names

LINK = Path(__file__).parents[1] / "napari.yaml"


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(str(files("napari_cellsam") / "napari.yaml"))


def test_the_manifest_is_valid_and_its_functions_exist(manifest):
    manifest.validate_imports()


def test_the_installed_package_declares_the_manifest_to_napari():
    [entry] = entry_points(group="napari.manifest", name="napari-cellsam")
    assert entry.value == "napari_cellsam:napari.yaml"


def test_the_manifest_at_the_top_is_the_one_in_the_package(manifest):
    assert LINK.is_symlink()
    assert PluginManifest.from_file(LINK).contributions == manifest.contributions


def test_every_sample_is_in_the_manifest(manifest):
    assert tuple(sample.key for sample in manifest.contributions.sample_data) == sample_names()


def test_each_sample_opens_the_picture_of_its_name(manifest):
    functions = {command.id: command.python_name for command in manifest.contributions.commands}
    for sample in manifest.contributions.sample_data:
        assert functions[sample.command] == f"{open_sample.__module__}:open_{sample.key}"


def test_napari_opens_a_sample_with_a_layer_per_channel(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()

    viewer.open_sample("napari-cellsam", "fluorescent_cells")

    assert [layer.name for layer in viewer.layers] == ["fluorescent_cells nuclear", "fluorescent_cells cell"]


def test_napari_opens_a_colour_sample_as_one_layer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()

    viewer.open_sample("napari-cellsam", "colon_histology")

    assert [(layer.name, layer.rgb) for layer in viewer.layers] == [("colon_histology", True)]
