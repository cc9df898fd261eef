"""The preview of what the model sees."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.data.prepare import prepare
from napari_cellsam.types import Image
from napari_cellsam.widgets._preview import ModelView, as_seen


def ramp(shape=(30, 40), dtype=np.uint16):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


@pytest.fixture
def stack(viewer):
    """Return a layer of planes of different brightness, turned and with its own scale."""
    data = np.stack([ramp(), ramp()[::-1], ramp()[:, ::-1]])
    return viewer.add_image(data, name="stack", rotate=(0, 0, 30), scale=(4, 0.5, 0.5), translate=(0, 7, 8))


@pytest.fixture
def shown(viewer, stack, make_session):
    """Return a session on the stack, and the preview on it, turned on."""
    session = make_session(viewer)
    session.start()
    view = ModelView(session)
    view.show()
    session.settle()
    yield session, view
    view.close()


def layer_of(viewer):
    """Return the preview layer; None if there is none."""
    ours = [layer for layer in viewer.layers if "seen_of" in layer.metadata.get("napari-cellsam", {})]
    assert len(ours) <= 1
    return ours[0] if ours else None


def seen_of(data):
    return as_seen(Image.from_array(data, cell=0))


@pytest.mark.parametrize("role", ["nuclear", "cell"])
@pytest.mark.parametrize("clahe", [False, True])
def test_one_channel_is_grey_as_it_was_prepared(role, clahe):
    image = Image.from_array(ramp(), **{role: 0})
    seen = as_seen(image, clahe=clahe)
    assert seen.dtype == np.uint8 and (seen == seen[..., :1]).all()
    prepared = prepare(image, clahe=clahe)[1 if role == "nuclear" else 2]
    np.testing.assert_allclose(seen[..., 0] / 255, prepared, atol=0.5 / 255)


def test_a_colour_picture_is_seen_grey():
    colours = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    seen = as_seen(Image.from_array(colours))
    assert (seen == seen[..., :1]).all() and seen.max() > 200


def test_of_two_channels_the_nuclei_are_blue_and_the_cells_grey():
    pixels = np.zeros((2, 30, 40), np.uint8)
    pixels[0, 5:10, 5:10] = 200
    pixels[1, 20:25, 20:25] = 100
    seen = as_seen(Image.from_array(np.moveaxis(pixels, 0, -1)))
    red, green, blue = seen[7, 7]
    assert blue > green > red
    assert len(set(seen[22, 22].tolist())) == 1 and seen[22, 22, 0] > 100
    assert (seen[0, 0] == 0).all()


def test_it_lies_on_the_image_below_the_labels_and_leaves_the_choice_of_layer(viewer, stack, shown):
    session, view = shown
    session.use_new_labels()
    view.hide()
    view.show()
    session.settle()
    layer = layer_of(viewer)
    assert layer.name == "stack as the model sees it"
    np.testing.assert_allclose(layer.data_to_world((5, 6)), stack.data_to_world((0, 5, 6))[-2:])
    assert [there.name for there in viewer.layers] == ["stack", layer.name, "stack cells"]
    assert viewer.layers.selection.active.unique_id == stack.unique_id


def test_it_shows_the_plane_that_is_looked_at(viewer, stack, shown):
    session, _ = shown
    for plane in (2, 0, 1):
        viewer.dims.set_current_step(0, plane)
        session.settle()
        np.testing.assert_array_equal(layer_of(viewer).data, seen_of(stack.data[plane]))


def test_it_follows_to_another_image_and_goes_with_the_last(viewer, stack, shown):
    session, view = shown
    other = viewer.add_image(ramp((20, 50)), name="other", translate=(100, 100))
    session.settle()
    layer = layer_of(viewer)
    assert layer.name == "other as the model sees it"
    np.testing.assert_array_equal(layer.data, seen_of(other.data))
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (100, 100))
    viewer.layers.remove(other)
    session.settle()
    assert layer_of(viewer) is None and view.on


def test_it_is_not_prepared_again_for_what_changes_nothing(shown):
    session, view = shown
    started = []
    session.jobs.changed.connect(lambda: started.append(session.jobs.running("model view")))
    session.changed.emit()
    assert not any(started)


def test_a_layer_that_the_user_removes_turns_it_off(viewer, shown):
    session, view = shown
    told = []
    view.changed.connect(lambda: told.append(view.on))
    viewer.layers.remove(layer_of(viewer))
    viewer.dims.set_current_step(0, 2)
    session.settle()
    assert told == [False] and layer_of(viewer) is None


def test_turned_off_it_leaves_no_layer_and_comes_back(viewer, shown):
    session, view = shown
    view.hide()
    assert layer_of(viewer) is None and not view.on
    view.show()
    session.settle()
    assert layer_of(viewer) is not None


def test_in_3d_it_waits(viewer, shown):
    session, view = shown
    before = np.array(layer_of(viewer).data)
    viewer.dims.ndisplay = 3
    session.changed.emit()
    session.settle()
    np.testing.assert_array_equal(layer_of(viewer).data, before)
    assert session.heard == [] or all("3-D" not in text for text in session.heard)


def test_closed_it_follows_no_more_and_leaves_its_layer(viewer, stack, shown):
    session, view = shown
    view.close()
    viewer.dims.set_current_step(0, 0)
    session.settle()
    np.testing.assert_array_equal(layer_of(viewer).data, seen_of(stack.data[1]))
    session.changed.connect(view._follow)  # so that the fixture can close it again
    viewer.layers.events.removed.connect(view._on_removed)
