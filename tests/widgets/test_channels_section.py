"""The channels' section: what can be chosen, what a choice does, and what a wrong one changes: nothing."""

from __future__ import annotations

import numpy as np
import pytest
from tests.widgets.conftest import discs

from napari_cellsam.widgets._channel_options import axes_to_choose, channels_to_choose
from napari_cellsam.widgets._channels import ChannelMap, ChannelRef
from napari_cellsam.widgets._channels_section import ChannelsSection


@pytest.fixture
def make_section(viewer, make_session, qtbot):
    """Return a function that looks at the first of some images, and opens the section."""
    made = []

    def make(*images):
        for image, options in images:
            viewer.add_image(image, **options)
        if images:
            viewer.layers.selection.active = viewer.layers[images[0][1]["name"]]
        session = make_session(viewer)
        session.start()
        session.settle()
        section = ChannelsSection(session)
        qtbot.addWidget(section)
        section.set_open(True)
        made.append(section)
        return section, session

    return make


def texts(choice):
    return [choice.itemText(i) for i in range(choice.count())]


def test_without_an_image_nothing_can_be_chosen(make_section):
    section, _ = make_section()
    assert not section.nuclear.isEnabled()
    assert not section.preview.isEnabled()


def test_a_single_picture_shows_whole_cells(make_section):
    section, _ = make_section((discs(), {"name": "picture"}))
    assert (section.nuclear.value, section.cell.value) == (None, ChannelRef("picture"))
    assert texts(section.cell) == ["none", "picture"]
    assert section.colour.isHidden()
    assert section.axis.isHidden()


def test_it_can_be_taken_for_nuclei_too(make_section):
    section, session = make_section((discs(), {"name": "picture"}))
    section.nuclear.choose(ChannelRef("picture"))
    section.cell.choose(None)
    assert session.source.channels == ChannelMap(nuclear=ChannelRef("picture"))
    assert section.problem.isHidden()


def test_no_picture_at_all_is_refused_and_nothing_changes(make_section):
    section, session = make_section((discs(), {"name": "picture"}))
    before = session.source
    section.cell.choose(None)
    assert section.problem.text() == "Choose a channel of nuclei, of whole cells, or both"
    assert not section.problem.isHidden()
    assert session.source is before
    assert section.cell.value == ChannelRef("picture")


def test_the_message_goes_with_the_next_choice_that_can_be(make_section):
    section, _ = make_section((discs(), {"name": "picture"}))
    section.cell.choose(None)
    section.nuclear.choose(ChannelRef("picture"))
    assert section.problem.isHidden()


def test_layers_that_lie_on_the_image_are_offered_and_others_are_not(make_section):
    section, _ = make_section(
        (discs(), {"name": "picture"}),
        (discs(), {"name": "beside"}),
        (discs()[:50], {"name": "smaller"}),
        (discs(), {"name": "moved", "translate": (5, 5)}),
    )
    assert texts(section.nuclear) == ["none", "picture", "beside"]


def test_another_layer_gives_the_nuclei(make_section):
    section, session = make_section((discs(), {"name": "picture"}), (discs(), {"name": "beside"}))
    section.nuclear.choose(ChannelRef("beside"))
    assert session.source.channels == ChannelMap(ChannelRef("beside"), ChannelRef("picture"))
    session.settle()
    image = session.image_reader(session.plane)()
    assert image.pixels.shape == (100, 110, 2)


def test_a_layer_that_moves_away_before_it_is_chosen_is_refused(make_section):
    section, session = make_section((discs(), {"name": "picture"}), (discs(), {"name": "beside"}))
    session.viewer.layers["beside"].translate = (3, 3)
    section.nuclear.choose(ChannelRef("beside"))
    assert "does not lie where" in section.problem.text()
    assert session.source.channels == ChannelMap(cell=ChannelRef("picture"))
    assert section.nuclear.value is None


def test_the_channels_of_an_axis_with_a_name_are_offered(make_section):
    stack = np.stack([discs(), discs(), discs()])
    section, session = make_section((stack, {"name": "stack", "axis_labels": ("c", "y", "x")}))
    assert texts(section.cell) == ["none", "channel 0", "channel 1", "channel 2"]
    section.cell.choose(ChannelRef("stack", 2))
    assert session.source.channels == ChannelMap(ChannelRef("stack", 0), ChannelRef("stack", 2))


def test_an_axis_without_a_name_can_be_said_to_have_the_channels(make_section):
    stack = np.stack([discs(), discs()])
    section, session = make_section((stack, {"name": "stack"}))
    assert not section.axis.isHidden()
    assert session.source.shape == (2, 100, 110)
    section.axis.choose(0)
    assert session.source.shape == (100, 110)
    assert session.source.channels == ChannelMap(ChannelRef("stack", 0), ChannelRef("stack", 1), axis=0)
    assert texts(section.nuclear) == ["none", "channel 0", "channel 1"]
    section.cell.choose(ChannelRef("stack", 0))
    assert session.source.channels.axis == 0
    section.axis.choose(None)
    assert session.source.shape == (2, 100, 110)


def test_a_colour_picture_is_taken_whole_or_by_its_colours(make_section):
    colours = np.repeat(discs()[:, :, None], 3, axis=2)
    section, session = make_section((colours, {"name": "histology", "rgb": True}))
    assert section.colour.isChecked()
    assert not section.nuclear.isEnabled()
    section.colour.click()
    assert session.source.channels == ChannelMap(ChannelRef("histology", 2), ChannelRef("histology", 1))
    assert texts(section.nuclear) == ["none", "red", "green", "blue"]
    assert section.nuclear.isEnabled()
    section.colour.click()
    assert session.source.channels == ChannelMap(rgb=True)


def test_a_choice_is_remembered_for_pictures_called_alike(make_section, viewer):
    section, session = make_section((discs(), {"name": "day 1"}))
    section.nuclear.choose(ChannelRef("day 1"))
    section.cell.choose(None)
    viewer.add_image(discs(), name="day 2")
    session.settle()
    section.refresh()
    assert session.source.channels == ChannelMap(nuclear=ChannelRef("day 2"))
    assert section.nuclear.value == ChannelRef("day 2")


def test_what_the_model_sees_is_shown_and_hidden(make_section):
    section, session = make_section((discs(), {"name": "picture"}))
    section.preview.click()
    session.settle()
    assert "picture as the model sees it" in session.viewer.layers
    section.refresh()
    assert section.preview.isChecked()
    section.preview.click()
    assert "picture as the model sees it" not in session.viewer.layers


def test_the_box_follows_when_the_user_removes_that_layer(make_section):
    section, session = make_section((discs(), {"name": "picture"}))
    section.preview.click()
    session.settle()
    session.viewer.layers.remove(session.viewer.layers["picture as the model sees it"])
    section.refresh()
    assert not section.preview.isChecked()


def test_layers_of_ours_give_no_channels(make_section):
    section, session = make_section((discs(), {"name": "picture"}))
    section.preview.click()
    session.settle()
    section.refresh()
    assert texts(section.cell) == ["none", "picture"]


def test_an_open_section_shows_what_another_image_gets(make_section, viewer):
    section, session = make_section((discs(), {"name": "picture"}))
    viewer.add_image(np.repeat(discs()[:, :, None], 3, axis=2), name="colours", rgb=True)
    session.settle()
    section.refresh()
    assert section.colour.isChecked()


def test_axes_are_offered_by_name_and_length(viewer):
    layer = viewer.add_image(np.zeros((4, 3, 8, 8)), axis_labels=("t", "z", "y", "x"))
    assert axes_to_choose(layer) == [(None, "none"), (0, "axis 0 (t), 4 long"), (1, "axis 1 (z), 3 long")]


def test_an_axis_that_the_layer_calls_channels_comes_first(viewer):
    layer = viewer.add_image(np.zeros((4, 3, 8, 8)), axis_labels=("c", "z", "y", "x"))
    assert axes_to_choose(layer)[0] == (None, "axis 0, as the layer says")


def test_the_image_itself_comes_first_and_others_have_their_names(viewer):
    viewer.add_image(np.zeros((2, 8, 8)), name="other", axis_labels=("c", "y", "x"))
    layer = viewer.add_image(np.zeros((2, 8, 8)), name="own", axis_labels=("c", "y", "x"))
    assert [text for _, text in channels_to_choose(viewer.layers, layer)] == [
        *("channel 0", "channel 1"),
        *("other: channel 0", "other: channel 1"),
    ]
