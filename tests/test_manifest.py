from __future__ import annotations

import importlib
import re
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from npe2 import PluginManifest

from napari_cellsam.data.fetched_samples import FETCHED
from napari_cellsam.data.sample_layers import open_sample
from napari_cellsam.data.samples import sample_names
from napari_cellsam.widgets._actions import ACTIONS
from napari_cellsam.widgets._fetching import open_here

CONTRIBUTABLE = {
    f"napari/{menu}"
    for menu in (
        *("file/io_utilities", "file/acquire", "file/new_layer"),
        *(f"layers/{kind}" for kind in ("visualize", "annotate", "data", "layer_type", "transform", "measure")),
        *(f"layers/{kind}" for kind in ("filter", "register", "project", "segment", "track", "classify")),
    )
}
"""The menus that napari 0.6 and later open to plugins."""

LINK = Path(__file__).parents[1] / "napari.yaml"


@pytest.fixture(scope="module")
def settings():
    """Return the settings by group; read as they stand there, since npe2 < 0.10 passes over them."""
    text = (files("napari_cellsam") / "napari.yaml").read_text(encoding="utf-8")
    groups = yaml.safe_load(text)["contributions"]["configurations"]
    return {key: group["properties"] for key, group in groups.items()}


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(str(files("napari_cellsam") / "napari.yaml"))


def test_the_manifest_is_valid_and_its_functions_exist(manifest):
    manifest.validate_imports()


def test_the_installed_package_declares_the_manifest_to_napari():
    [entry] = entry_points(group="napari.manifest", name="napari-cellsam")
    assert entry.value == "napari_cellsam:napari.yaml"


def test_the_manifest_at_the_top_is_the_one_in_the_package(manifest):
    if not LINK.exists():
        pytest.skip("a source distribution does not carry the link")
    assert LINK.is_symlink()
    assert PluginManifest.from_file(LINK).contributions == manifest.contributions


def test_all_that_finds_cells_by_itself_is_in_the_menu_of_layers(manifest):
    menu = {item.command for item in manifest.contributions.menus["napari/layers/segment"]}
    found = {command.id for command in manifest.contributions.commands if ".segment_" in command.id}
    assert found
    assert found <= menu


def test_every_sample_is_in_the_manifest(manifest):
    assert tuple(sample.key for sample in manifest.contributions.sample_data) == sample_names(fetched=True)


def test_each_sample_opens_the_picture_of_its_name(manifest):
    functions = {command.id: command.python_name for command in manifest.contributions.commands}
    for sample in manifest.contributions.sample_data:
        module = open_here.__module__ if sample.key in FETCHED else open_sample.__module__
        assert functions[sample.command] == f"{module}:open_{sample.key}"


def test_every_action_is_a_command_of_its_title(manifest):
    titles = {command.id: command.title for command in manifest.contributions.commands}
    for action in ACTIONS:
        assert titles[f"napari-cellsam.{action.id}"] == f"CellSAM: {action.title}"


def test_every_command_is_an_action_a_sample_or_the_dock(manifest):
    known = {f"napari-cellsam.{action.id}" for action in ACTIONS}
    known |= {sample.command for sample in manifest.contributions.sample_data}
    known |= {widget.command for widget in manifest.contributions.widgets}
    assert {command.id for command in manifest.contributions.commands} == known


def test_no_command_is_declared_twice(manifest):
    ids = [command.id for command in manifest.contributions.commands]
    assert len(set(ids)) == len(ids)


def test_every_command_is_found_where_the_manifest_says(manifest):
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_keys_of_the_settings_are_those_of_the_actions(settings):
    declared = {name: (field["title"], field["default"]) for name, field in settings["keys"].items()}
    assert declared == {action.id: (action.title, action.key) for action in ACTIONS}


def test_no_two_actions_have_one_key_by_default():
    keys = [action.key for action in ACTIONS if action.key]
    assert len(set(keys)) == len(keys)


def test_menus_hold_actions_in_places_that_napari_lets_plugins_use(manifest):
    menus = manifest.contributions.menus
    assert set(menus) <= CONTRIBUTABLE
    commands = [item.command for items in menus.values() for item in items]
    assert set(commands) <= {f"napari-cellsam.{action.id}" for action in ACTIONS}


def test_menus_name_each_action_once(manifest):
    commands = [item.command for items in manifest.contributions.menus.values() for item in items]
    assert len(set(commands)) == len(commands)


def test_every_preference_has_a_setting_of_its_default(settings):
    fields = {name: field for key, group in settings.items() if key != "keys" for name, field in group.items()}
    defaults = {"server": "", "rule": "fill", "hover": True, "journal_folder": ""}
    assert {name: fields[name]["default"] for name in defaults} == defaults


def test_no_setting_has_a_place_for_the_token(settings):
    names = [name for group in settings.values() for name in group]
    assert not [name for name in names if "token" in name or "password" in name]


def test_no_module_imports_a_qt_binding_by_name():
    """Test what napari's plugin checks look for."""
    package = Path(str(files("napari_cellsam")))
    pattern = re.compile(r"^\s*(from|import)\s+(PyQt[56]|PySide[26])\b", re.MULTILINE)
    assert [path.name for path in package.rglob("*.py") if pattern.search(path.read_text(encoding="utf-8"))] == []


def test_the_package_needs_no_qt_binding_and_says_that_it_is_a_plugin():
    metadata = distribution("napari-cellsam").metadata
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert not [line for line in needed if re.match(r"(pyqt|pyside|napari\b)", line, re.IGNORECASE)]
    assert "Framework :: napari" in metadata.get_all("Classifier")


def test_napari_opens_a_sample_with_a_layer_per_channel(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()

    viewer.open_sample("napari-cellsam", "fluorescent_cells")

    assert [layer.name for layer in viewer.layers] == ["fluorescent_cells nuclear", "fluorescent_cells cell"]


def test_napari_opens_a_colour_sample_as_one_layer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()

    viewer.open_sample("napari-cellsam", "colon_histology")

    assert [(layer.name, layer.rgb) for layer in viewer.layers] == [("colon_histology", True)]
