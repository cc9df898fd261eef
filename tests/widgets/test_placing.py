"""Our layers stay on the image that they belong to, wherever that is put."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import discs

CHANGES = {
    "scale": (0.5, 2),
    "translate": (7, -4),
    "rotate": 30,
    "shear": (0.4,),
    "affine": [[0, 1, 5], [-2, 0.5, 6], [0, 0, 1]],
    "units": ("um", "um"),
}


def lie_together(layers, place=(20, 30)):
    """Return whether a place of several layers is one place of the world."""
    worlds = [np.asarray(layer.data_to_world((0,) * (layer.ndim - 2) + place))[-2:] for layer in layers]
    return all(np.allclose(world, worlds[0]) for world in worlds) and len({layer.units[-1] for layer in layers}) == 1


def ours(viewer):
    return [layer for layer in viewer.layers if "napari-cellsam" in layer.metadata]


@pytest.mark.parametrize("change", CHANGES)
def test_all_our_layers_follow_the_image_and_those_of_the_user_do_not(session, change):
    image = session.source.layer
    users = session.viewer.add_points(np.zeros((1, 2)), name="mine")
    session.prompting.click(20, 20)
    session.settle()
    session.selection.toggle(20, 20)
    session.model_view.show()
    session.verifying.show()
    session.region.draw()
    session.shapes.draw_boxes()
    session.settle()
    names = {"cells", "region", "prompts", "verified", "as the model sees it"}
    assert {layer.name.removeprefix("discs ") for layer in ours(session.viewer)} == {*names, "selected cells"}
    setattr(image, change, CHANGES[change])
    assert lie_together([image, *ours(session.viewer)])
    assert not lie_together([image, users])


def test_layers_of_an_image_that_was_put_elsewhere_meanwhile_follow_when_it_is_worked_on(session):
    session.prompting.click(20, 20)
    session.settle()
    image, cells = session.source.layer, session.target.layer
    second = session.viewer.add_image(discs(), name="second")
    image.scale = (3, 3)
    assert not lie_together([image, cells])
    session.viewer.layers.selection.active = image
    assert lie_together([image, cells])
    second.translate = (9, 9)  # has no layers of ours, and is not worked on
    assert lie_together([image, cells])


def test_the_labels_of_a_stack_follow_in_all_axes_and_those_of_other_shapes_are_left(viewer, make_session):
    image = viewer.add_image(np.stack([discs()] * 3), name="stack")
    session = make_session(viewer)
    session.start()
    session.use_new_labels()
    small = viewer.add_labels(np.zeros((4, 5), np.uint8), metadata=session.target.layer.metadata)
    image.scale = (4, 2, 2)
    assert np.allclose(session.target.layer.scale, (4, 2, 2))
    assert np.allclose(small.scale, 1)


def test_a_region_is_searched_where_it_is_drawn_on_an_image_that_was_put_elsewhere(session, qtbot):
    session.region.draw()
    image, layer = session.source.layer, session.viewer.layers["discs region"]
    image.scale = (0.5, 0.5)
    heard = []
    session.region.draw(then=heard.append)
    around = [layer.world_to_data(place) for place in ((25, 10), (25, 20), (35, 20), (35, 10))]
    layer.add(np.array(around), shape_type="polygon")
    qtbot.waitUntil(lambda: len(heard) > 0)
    assert heard[0].box == (50, 20, 71, 41)


@pytest.mark.parametrize("scale", [(1, 1), (2, 2)])
def test_that_labels_of_the_user_lie_elsewhere_than_the_image_is_told(session, scale):
    labels = session.viewer.add_labels(np.zeros((100, 110), np.uint8), name="mine", scale=scale)
    session.use_labels(labels)
    told = any("'mine' does not lie where the image does" in text for text in session.heard)
    assert told == (scale != (1, 1))
    assert np.allclose(labels.scale, scale)
