"""The channels that a model gets."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cellsam.errors import ChannelError
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef, guess_channels, role_of


@pytest.fixture
def viewer():
    return ViewerModel()


def picture(viewer, name, shape=(20, 30), **options):
    return viewer.add_image(np.zeros(shape, np.uint8), name=name, **options)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("DAPI", "nuclear"),
        ("img_03_Hoechst.tif", "nuclear"),
        ("CellNuclei", "nuclear"),
        ("fluorescent_cells nuclear", "nuclear"),
        ("fluorescent_cells cell", "cell"),
        ("cells3d membrane", "cell"),
        ("WGA-488", "cell"),
        ("Phase", None),
        ("excellent", None),
        ("mitosis", None),
    ],
)
def test_a_name_says_what_a_layer_shows_by_whole_words(name, role):
    assert role_of(name) == role


def test_one_layer_is_the_whole_cell_unless_it_is_called_nuclei(viewer):
    layer, nuclei = picture(viewer, "phase"), picture(viewer, "nuclei")
    assert guess_channels([layer], layer) == ChannelMap(cell=ChannelRef("phase"))
    assert guess_channels([nuclei], nuclei) == ChannelMap(nuclear=ChannelRef("nuclei"))


@pytest.mark.parametrize("active", [0, 1])
@pytest.mark.parametrize(
    "names", [("nuclei", "membrane"), ("day 3 DAPI", "day 3 actin"), ("C0-a_nuclei", "C1-a_cells")]
)
def test_two_layers_of_one_picture_join_whichever_is_looked_at(viewer, names, active):
    layers = [picture(viewer, name) for name in names]
    expected = ChannelMap(ChannelRef(names[0]), ChannelRef(names[1]))
    assert guess_channels(viewer.layers, layers[active]) == expected


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("day 4 nuclei", (20, 30), {}),
        ("day 3 nuclei", (20, 31), {}),
        ("day 3 nuclei", (20, 30), {"scale": (2, 2)}),
        ("day 3 nuclei", (20, 30), {"translate": (0, 5)}),
        ("day 3 nuclei", (20, 30), {"metadata": {"napari-cellsam": {}}}),
        ("day 3 nuclei", (20, 30, 3), {"rgb": True}),
        ("day 3 phase", (20, 30), {}),
    ],
)
def test_what_is_another_picture_or_elsewhere_does_not_join(viewer, name, shape, options):
    picture(viewer, name, shape, **options)
    layer = picture(viewer, "day 3 cells")
    assert guess_channels(viewer.layers, layer) == ChannelMap(cell=ChannelRef("day 3 cells"))


def test_of_two_that_could_join_none_does(viewer):
    for name in ("DAPI", "Hoechst"):
        picture(viewer, name)
    layer = picture(viewer, "membrane")
    assert guess_channels(viewer.layers, layer).nuclear is None


def test_labels_and_points_never_join(viewer):
    viewer.add_labels(np.zeros((20, 30), int), name="nuclei")
    layer = picture(viewer, "membrane")
    assert guess_channels(viewer.layers, layer) == ChannelMap(cell=ChannelRef("membrane"))


def test_a_colour_picture_is_taken_whole(viewer):
    layer = picture(viewer, "histology", (20, 30, 3), rgb=True)
    assert guess_channels(viewer.layers, layer) == ChannelMap(rgb=True)


def test_the_first_of_several_channels_is_nuclear_and_the_second_whole_cell(viewer):
    layer = picture(viewer, "a", (3, 20, 30), axis_labels=("c", "y", "x"))
    assert guess_channels(viewer.layers, layer) == ChannelMap(ChannelRef("a", 0), ChannelRef("a", 1))


def test_a_single_channel_is_the_whole_cell(viewer):
    layer = picture(viewer, "a", (1, 20, 30))
    assert guess_channels(viewer.layers, layer, 0) == ChannelMap(cell=ChannelRef("a", 0), axis=0)


def test_a_map_without_any_picture_is_refused():
    with pytest.raises(ChannelError, match="choose a channel"):
        ChannelMap()


def test_a_colour_picture_beside_channels_is_refused():
    with pytest.raises(ChannelError, match="not both"):
        ChannelMap(cell=ChannelRef("a"), rgb=True)


def test_channels_begin_at_zero():
    with pytest.raises(ChannelError, match="begin at 0"):
        ChannelRef("a", -1)
