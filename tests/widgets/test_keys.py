"""The keys: whose they are, which the user may choose, and that they are given back."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.key_bindings import coerce_keybinding
from tests.widgets.conftest import discs

from napari_cellsam.widgets._actions import ACTIONS, find_action
from napari_cellsam.widgets._keys import Keys, resolve_keys


def press(viewer, key):
    """Press a key as napari finds what it does: the active layer's own, its kind's, then the viewer's."""
    layer = viewer.layers.selection.active
    owners = ([] if layer is None else [layer]) + [viewer]
    code = coerce_keybinding(key)
    for owner in owners:
        if code in owner.keymap:
            owner.keymap[code](owner)
            return "ours"
        if code in owner.class_keymap:
            owner.class_keymap[code](owner)
            return "napari's"
    return "nobody's"


def bound(owner, key):
    return coerce_keybinding(key) in owner.keymap


@pytest.fixture
def keys(session):
    made = Keys(session)
    yield made
    made.close()


def test_every_default_key_belongs_to_one_action():
    keys, told = resolve_keys(ACTIONS, {}, {})
    assert told == []
    assert keys == {action.id: action.key for action in ACTIONS}


def test_a_chosen_key_takes_the_place_of_the_default_one():
    keys, told = resolve_keys(ACTIONS, {"segment_image": "Y"}, {})
    assert (keys["segment_image"], told) == ("Y", [])


def test_an_action_can_have_no_key():
    keys, told = resolve_keys(ACTIONS, {"segment_image": ""}, {})
    assert (keys["segment_image"], told) == ("", [])


def test_a_key_of_another_action_is_refused_and_told():
    keys, told = resolve_keys(ACTIONS, {"segment_image": "H"}, {})
    assert (keys["toggle_click_mode"], keys["segment_image"]) == ("H", "G")
    assert told == ["H is the key of Click mode already; Segment the image keeps G."]


def test_two_ways_to_write_a_key_are_one_key():
    keys, told = resolve_keys(ACTIONS, {"segment_image": "Ctrl+Z"}, {})
    assert keys["segment_image"] == "G"
    assert len(told) == 1


def test_two_actions_can_change_keys_with_each_other():
    keys, told = resolve_keys(ACTIONS, {"segment_image": "H", "toggle_click_mode": "G"}, {})
    assert (keys["segment_image"], keys["toggle_click_mode"], told) == ("H", "G", [])


def test_an_action_keeps_the_key_that_it_was_given_before():
    before, _ = resolve_keys(ACTIONS, {"segment_image": "Y"}, {})
    keys, told = resolve_keys(ACTIONS, {"segment_image": "Y", "segment_view": "Y"}, before)
    assert (keys["segment_image"], keys["segment_view"]) == ("Y", "W")
    assert told == ["Y is the key of Segment the image already; Segment the view keeps W."]


def test_an_action_whose_old_key_is_taken_too_has_none():
    keys, told = resolve_keys(ACTIONS, {"segment_image": "H", "segment_view": "G"}, {"segment_view": "H"})
    assert len({key for key in keys.values() if key}) == len([key for key in keys.values() if key])
    assert told


def test_a_key_does_its_action_while_the_image_is_active(session, keys):
    assert press(session.viewer, "H") == "ours"
    assert session.clicking


def test_what_an_action_refuses_is_told_and_not_raised(viewer, make_session):
    session = make_session(viewer)
    keys = Keys(session)
    press(viewer, "G")
    keys.close()
    assert "open one" in session.heard[-1]


def test_other_keys_are_bound_at_once_when_the_preferences_change(session, keys):
    changed = []
    keys.changed.connect(lambda: changed.append(1))
    session.prompting.click(20, 20)
    session.settle()
    layer = session.target.layer
    session.store.update(keys={"toggle_click_mode": "F9"})
    for owner in (session.viewer, layer):
        assert bound(owner, "F9")
        assert not bound(owner, "H")
    assert changed == [1]
    assert keys.text(find_action("toggle_click_mode")) == "F9"
    press(session.viewer, "F9")
    assert session.clicking


def test_preferences_without_other_keys_bind_nothing_anew(session, keys):
    changed = []
    keys.changed.connect(lambda: changed.append(1))
    session.store.update(server="https://gpu.example.org")
    assert changed == []


def test_a_clash_is_told_when_it_is_chosen(session, keys):
    session.store.update(keys={"segment_image": "H"})
    assert session.heard[-1] == "H is the key of Click mode already; Segment the image keeps G."
    assert bound(session.viewer, "G")


def test_a_key_that_napari_uses_in_images_is_told(session, keys):
    session.store.update(keys={"segment_image": "Y"})
    assert "napari uses in image layers" in session.heard[-1]


def test_all_keys_are_given_back(session):
    viewer = session.viewer
    mine = []
    viewer.bind_key("G", lambda viewer: mine.append("G"), overwrite=True)
    keys = Keys(session)
    session.prompting.click(20, 20)
    session.settle()
    layer = session.target.layer
    assert bound(layer, "Control-Z")
    keys.close()
    assert list(viewer.keymap) == [coerce_keybinding("G")]
    press(viewer, "G")
    assert mine == ["G"]
    assert len(layer.keymap) == 0


def test_a_key_that_someone_else_has_taken_meanwhile_is_left_alone(session):
    keys = Keys(session)
    mine = []
    session.viewer.bind_key("G", lambda viewer: mine.append("G"), overwrite=True)
    keys.close()
    press(session.viewer, "G")
    assert mine == ["G"]


def test_naparis_own_undo_works_in_the_labels_layer_once_ours_is_gone(session):
    keys = Keys(session)
    session.prompting.click(20, 20)
    session.settle()
    session.viewer.layers.selection.active = session.target.layer
    assert press(session.viewer, "Control-Z") == "ours"
    keys.close()
    assert press(session.viewer, "Control-Z") == "napari's"


def test_a_layer_that_is_used_already_has_its_keys_when_the_dock_comes(session):
    session.prompting.click(20, 20)
    session.settle()
    keys = Keys(session)
    assert bound(session.target.layer, "Control-Z")
    keys.close()
    assert not bound(session.target.layer, "Control-Z")


def test_a_layer_that_is_removed_gets_its_keys_back(session, keys):
    session.prompting.click(20, 20)
    session.settle()
    layer = session.target.layer
    session.viewer.layers.remove(layer)
    assert len(layer.keymap) == 0
    assert bound(session.viewer, "G")


def test_undo_and_redo_work_while_the_image_is_active(session, keys):
    session.prompting.click(20, 20)
    session.settle()
    assert session.viewer.layers.selection.active.name == "discs"
    press(session.viewer, "Control-Z")
    session.settle()
    assert not np.asarray(session.target.layer.data).any()
    press(session.viewer, "Control-Shift-Z")
    session.settle()
    assert np.asarray(session.target.layer.data).any()


@pytest.mark.parametrize("kind", ["points", "shapes", "labels"])
def test_undo_takes_no_cell_away_while_a_layer_of_the_users_is_active(session, keys, kind):
    session.prompting.click(20, 20)
    session.settle()
    add = getattr(session.viewer, f"add_{kind}")
    add(discs() // 200, name="mine") if kind == "labels" else add(np.zeros((0, 2)) if kind == "points" else None)
    press(session.viewer, "Control-Z")
    session.settle()
    assert len(session.cells) == 1


@pytest.mark.parametrize("key", ["Enter", "Escape"])
def test_naparis_polygon_tool_keeps_its_keys_and_our_undo(session, keys, monkeypatch, key):
    session.prompting.click(20, 20)
    session.settle()
    layer = session.viewer.layers.selection.active = session.target.layer
    naparis = []
    monkeypatch.setitem(layer.class_keymap, coerce_keybinding(key), naparis.append)
    layer.mode = "polygon"
    press(session.viewer, key)
    assert naparis == [layer]
    assert session.prompting.active is not None
    layer.mode = "pan_zoom"
    press(session.viewer, key)
    assert naparis == [layer]
    assert session.prompting.active is None
    layer.mode = "polygon"
    n_steps = len(session.history)
    press(session.viewer, "Control-Z")
    assert len(session.history) == n_steps - 1


def test_two_viewers_have_keys_of_their_own(session, keys, make_session, make_napari_viewer_proxy):
    other_viewer = make_napari_viewer_proxy()
    other_viewer.add_image(discs(), name="other")
    other = make_session(other_viewer)
    other.start()
    other.settle()
    other_keys = Keys(other)
    press(other_viewer, "H")
    assert (session.clicking, other.clicking) == (False, True)
    other_keys.close()
    assert bound(session.viewer, "H")
    assert not bound(other_viewer, "H")


@pytest.mark.parametrize(
    ("action_id", "text"), [("undo", "Ctrl+Z"), ("segment_region", "Shift+R"), ("restore_cell", "Esc")]
)
def test_keys_are_written_as_on_this_machine(keys, action_id, text):
    import sys

    if sys.platform == "darwin":
        pytest.skip("macOS writes symbols")
    assert keys.text(find_action(action_id)) == text


def test_an_action_without_a_key_has_no_text(keys):
    assert keys.text(find_action("cancel")) == ""
