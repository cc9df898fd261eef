"""Preferences: what they refuse, where they are kept, and who hears when they change."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from napari_cellsam.errors import OptionError, OutputError
from napari_cellsam.types import SegmentOptions
from napari_cellsam.widgets._actions import ACTIONS
from napari_cellsam.widgets._preferences import Preferences, PreferenceStore
from napari_cellsam.widgets._settings_places import JsonFile, NapariSettings, find_place

CHOSEN = Preferences(
    server="https://gpu.example.org",
    model="mine",
    decode_at_home="home",
    hover=False,
    box_score=0.35,
    diameter=31.5,
    min_area=1_500_000,
    looks=1,
    mask_threshold=0.7,
    rule="replace",
    training_minutes=12.5,
    use_better=False,
    keys={"undo": "Control-U", "delete_cell": ""},
)


@pytest.fixture
def plugin_manifest():
    from npe2 import PluginManifest

    return PluginManifest.from_file(str(files("napari_cellsam") / "napari.yaml"))


@pytest.fixture
def napari_settings(plugin_manifest, request):
    """napari's settings of this plugin, kept for this test alone."""
    settings = pytest.importorskip("napari.settings")
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("this napari keeps no settings for plugins")
    request.getfixturevalue("plugin_settings")
    request.getfixturevalue("npe2pm").register(plugin_manifest)
    return settings.get_plugin_settings("napari-cellsam")


@pytest.fixture(params=["file", "napari"])
def open_store(request, tmp_path):
    """Open a store, again and again, on what it has kept."""
    stores = []
    settings = request.getfixturevalue("napari_settings") if request.param == "napari" else None

    def open_store():
        place = JsonFile(tmp_path / "kept" / "preferences.json") if settings is None else NapariSettings(settings)
        stores.append(PreferenceStore(place))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "preferences.json"


def test_nothing_chosen_is_the_default(open_store):
    assert open_store().value == Preferences()


def test_what_is_saved_is_there_the_next_time(open_store):
    open_store().save(CHOSEN)
    assert open_store().value == CHOSEN


@pytest.mark.parametrize(
    "chosen",
    [Preferences(diameter=None), Preferences(diameter="native"), Preferences(min_area=0), Preferences(box_score=0.0)],
    ids=str,
)
def test_every_form_of_an_option_is_kept(open_store, chosen):
    open_store().save(chosen)
    assert open_store().value == chosen


def test_what_is_not_chosen_any_more_is_the_default_again(open_store):
    open_store().save(CHOSEN)
    open_store().save(Preferences())
    assert open_store().value == Preferences()


def test_one_preference_can_be_changed(open_store):
    store = open_store()
    store.save(CHOSEN)
    assert store.update(hover=True).hover
    assert open_store().value.server == CHOSEN.server


def test_all_hear_once_of_a_change_and_never_of_none(open_store):
    store, heard = open_store(), []
    store.changed.connect(heard.append)
    store.save(CHOSEN)
    store.save(CHOSEN)
    store.load()
    assert heard == [CHOSEN]


def test_a_change_in_naparis_dialog_is_heard(napari_settings):
    store, heard = PreferenceStore(NapariSettings(napari_settings)), []
    store.changed.connect(heard.append)
    napari_settings.service.server = "https://gpu.example.org"
    napari_settings.keys.undo = "Control-U"
    assert [(value.server, dict(value.keys)) for value in heard] == [
        ("https://gpu.example.org", {}),
        ("https://gpu.example.org", {"undo": "Control-U"}),
    ]
    store.close()
    napari_settings.service.server = ""
    assert len(heard) == 2


def test_two_stores_on_naparis_settings_agree(napari_settings):
    one, other = (PreferenceStore(NapariSettings(napari_settings)) for _ in range(2))
    one.save(CHOSEN)
    assert other.value == CHOSEN
    one.close()
    other.close()


def test_naparis_settings_are_written_to_its_own_file(napari_settings):
    store = PreferenceStore(NapariSettings(napari_settings))
    store.save(CHOSEN)
    store.close()
    assert "https://gpu.example.org" in napari_settings.config_path.read_text("utf-8")


@pytest.mark.parametrize("text", ["twelve", "-3", "nan?", "1e99"])
def test_what_is_typed_into_naparis_dialog_and_makes_no_sense_is_left_out(napari_settings, text):
    store = PreferenceStore(NapariSettings(napari_settings))
    napari_settings.segmentation.diameter = text
    napari_settings.segmentation.min_area = "25"
    assert store.value == Preferences(min_area=25)
    store.close()


def test_a_key_that_is_half_typed_is_left_out(napari_settings):
    store = PreferenceStore(NapariSettings(napari_settings))
    for typed in ("C", "Ctrl+", "Ctrl+U"):
        napari_settings.keys.undo = typed
    napari_settings.keys.redo = "nonsense"
    assert dict(store.value.keys) == {"undo": "Ctrl+U"}
    store.close()


def test_napari_offers_what_there_is_to_choose(plugin_manifest):
    declared = plugin_manifest.contributions.configurations
    names = {name for category in declared.values() for name in category.properties}
    assert names - {action.id for action in ACTIONS} == set(Preferences.__dataclass_fields__) - {"keys"}


def test_the_key_of_every_action_can_be_set(plugin_manifest):
    declared = plugin_manifest.contributions.configurations["keys"].properties
    assert {name: (shown.title, shown.default) for name, shown in declared.items()} == {
        action.id: (action.title, action.key) for action in ACTIONS
    }


def test_no_token_is_among_the_preferences():
    assert "token" not in str(Preferences.__dataclass_fields__)


def test_a_plugin_that_napari_does_not_know_keeps_a_file(monkeypatch, tmp_path, npe2pm, request):
    pytest.importorskip("napari.settings")
    request.getfixturevalue("plugin_settings")
    monkeypatch.setenv("NAPARI_CELLSAM_CONFIG_DIR", str(tmp_path))
    PreferenceStore().save(CHOSEN)
    assert isinstance(find_place(), JsonFile)
    assert PreferenceStore().value == CHOSEN
    assert (tmp_path / "preferences.json").is_file()


def test_a_napari_without_settings_for_plugins_keeps_a_file(monkeypatch):
    import napari.settings

    monkeypatch.delattr(napari.settings, "get_plugin_settings", raising=False)
    assert isinstance(find_place(), JsonFile)


def test_where_napari_has_settings_they_are_used(napari_settings):
    assert isinstance(find_place(), NapariSettings)


@pytest.mark.parametrize("content", ["{", "[]", '"text"', '{"service": 1}'])
def test_a_broken_file_counts_as_nothing_chosen(file, content):
    file.write_text(content)
    assert PreferenceStore(JsonFile(file)).value == Preferences()


def test_of_a_file_with_some_nonsense_the_rest_counts(file):
    nonsense = {"service": {"decode_at_home": "moon", "model": "mine"}, "segmentation": {"rule": None, "other": 1}}
    file.write_text(json.dumps({**nonsense, "keys": {"undo": "Control-U", "redo": "gibberish"}}))
    assert PreferenceStore(JsonFile(file)).value == Preferences(model="mine", keys={"undo": "Control-U"})


def test_where_nothing_can_be_written_preferences_count_for_this_run(tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    store = PreferenceStore(JsonFile(tmp_path / "taken" / "preferences.json"))
    with pytest.raises(OutputError, match="cannot be made"):
        store.save(CHOSEN)
    assert store.value == CHOSEN


@pytest.mark.parametrize(
    "wrong",
    [
        {"decode_at_home": "moon"},
        {"rule": "erase"},
        {"box_score": 1.5},
        {"diameter": "small"},
        {"diameter": -1.0},
        {"min_area": -1},
        {"looks": 3},
        {"mask_threshold": 1.0},
        {"keys": {"undo": "gibberish"}},
    ],
    ids=str,
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(OptionError, match="expected"):
        Preferences(**wrong)


def test_preferences_say_how_images_are_segmented():
    assert CHOSEN.options == SegmentOptions(
        box_score=0.35, diameter=31.5, min_area=1_500_000, looks=1, mask_threshold=0.7
    )
    assert Preferences().options == SegmentOptions(diameter="auto")


def test_the_keys_cannot_be_changed_behind_the_preferences_back():
    given = {"undo": "U"}
    preferences = Preferences(keys=given)
    given["undo"] = "V"
    assert preferences.keys["undo"] == "U"
    with pytest.raises(TypeError):
        preferences.keys["undo"] = "W"
