"""The remembered channels."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cellsam.widgets._channel_memory import ChannelMemory, pattern_of
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef
from napari_cellsam.widgets._settings_places import JsonFile


@pytest.fixture
def memory(tmp_path):
    return ChannelMemory(JsonFile(tmp_path / "channels.json"))


def layers_called(*names):
    viewer = ViewerModel()
    return [viewer.add_image(np.zeros((2, 8, 9), np.uint8), name=name) for name in names]


@pytest.mark.parametrize(
    "channels",
    [
        ChannelMap(nuclear=ChannelRef("a", 1), cell=ChannelRef("a", 0), axis=0),
        ChannelMap(cell=ChannelRef("a")),
        ChannelMap(rgb=True),
    ],
)
def test_what_was_chosen_is_found_again_by_another_program(tmp_path, channels):
    [layer] = layers_called("a")
    ChannelMemory(JsonFile(tmp_path / "channels.json")).remember(layer, channels)
    assert ChannelMemory(JsonFile(tmp_path / "channels.json")).recall(layer, [layer]) == channels


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (("C0-img7", "C1-img7"), ("C0-img12", "C1-img12")),
        (("DAPI 07", "GFP 07"), ("DAPI 08", "GFP 08")),
        (("plate1", "plate1 [1]"), ("plate2", "plate2 [1]")),
        (("nuclei", "actin"), ("nuclei", "actin")),
    ],
)
def test_files_that_differ_in_numbers_share_a_choice_with_their_own_layers(memory, then, now):
    first, second = layers_called(*then), layers_called(*now, *then)
    memory.remember(first[0], ChannelMap(ChannelRef(then[0]), ChannelRef(then[1])))
    assert memory.recall(second[0], second) == ChannelMap(ChannelRef(now[0]), ChannelRef(now[1]))


def test_a_choice_whose_layer_is_missing_counts_for_nothing(memory):
    [nuclei, actin] = layers_called("nuclei", "actin")
    memory.remember(nuclei, ChannelMap(ChannelRef("nuclei"), ChannelRef("actin")))
    assert memory.recall(nuclei, [nuclei]) is None
    assert memory.recall(actin, [nuclei, actin]) is None


def test_the_newest_choice_counts(memory):
    [layer] = layers_called("a")
    memory.remember(layer, ChannelMap(cell=ChannelRef("a")))
    memory.remember(layer, ChannelMap(nuclear=ChannelRef("a")))
    assert memory.recall(layer, [layer]) == ChannelMap(nuclear=ChannelRef("a"))


def test_of_hundreds_of_patterns_the_oldest_are_forgotten(memory, tmp_path):
    names = [f"{letter}{other}" for letter in "abcdefghijklmnopqrst" for other in "abcdefghijklmnopqrst"]
    entry = {"nuclear": None, "rgb": False, "axis": None}
    kept = {f" / {name}": entry | {"name": name, "cell": [name, None]} for name in names}
    (tmp_path / "channels.json").write_text(json.dumps(kept), "utf-8")
    first, last, new = layers_called(names[0], names[-1], "new")
    memory.remember(new, ChannelMap(cell=ChannelRef("new")))
    assert memory.recall(first, [first]) is None
    assert memory.recall(last, [last]) == ChannelMap(cell=ChannelRef(names[-1]))
    assert memory.recall(new, [new]) == ChannelMap(cell=ChannelRef("new"))


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"name": "a", "nuclear": 3, "cell": None, "rgb": False, "axis": None},
        {"name": "a", "nuclear": ["a"], "cell": None, "rgb": False, "axis": None},
        {"name": "a", "nuclear": ["a", "first"], "cell": None, "rgb": False, "axis": None},
        {"name": "a", "nuclear": ["a", -2], "cell": None, "rgb": False, "axis": None},
        {"name": "a", "nuclear": None, "cell": None, "rgb": False, "axis": None},
    ],
)
def test_an_entry_that_is_no_choice_counts_for_nothing(memory, tmp_path, entry):
    (tmp_path / "channels.json").write_text(json.dumps({" / a": entry}), "utf-8")
    [layer] = layers_called("a")
    assert memory.recall(layer, [layer]) is None


def test_the_file_is_among_the_choices_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_CELLSAM_CONFIG_DIR", str(tmp_path))
    [layer] = layers_called("a")
    ChannelMemory().remember(layer, ChannelMap(cell=ChannelRef("a")))
    assert [path.name for path in tmp_path.iterdir()] == ["channels.json"]


def test_a_pattern_is_of_the_file_and_the_layer_without_their_folder():
    layer = SimpleNamespace(name="day12 [1]", source=SimpleNamespace(path="/data/week 3/day12.tif"))
    assert pattern_of(layer) == "day#.tif / day# [#]"


@pytest.mark.parametrize("shape", [(30, 8, 9), (30, 2, 8, 9), (8, 9)])
def test_an_axis_of_channels_counts_only_for_as_many_axes_and_channels(memory, shape):
    [two] = layers_called("picture 1")
    memory.remember(two, ChannelMap(ChannelRef("picture 1", 0), ChannelRef("picture 1", 1), axis=0))
    other = ViewerModel().add_image(np.zeros(shape, np.uint8), name="picture 2")
    assert memory.recall(other, [other]) is None
