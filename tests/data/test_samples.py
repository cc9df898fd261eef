from __future__ import annotations

import socket

import numpy as np
import pytest

from napari_cellsam.data.samples import draw_sample, load_sample, sample_names
from napari_cellsam.data.synthetic import ARCHETYPES
from napari_cellsam.errors import OptionError


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("a sample asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", sample_names())
def test_every_sample_is_a_picture_without_a_network(name, no_network):
    image = load_sample(name)

    assert min(image.shape) >= 512
    assert np.ptp(image.pixels) > 0


def test_every_archetype_has_a_sample():
    assert set(ARCHETYPES) < set(sample_names())


@pytest.mark.parametrize("name", ARCHETYPES)
def test_a_synthetic_sample_shows_enough_cells_to_be_worth_a_look(name):
    assert 50 <= draw_sample(name).n_cells <= 300


def test_a_sample_is_the_same_every_time():
    assert load_sample("fluorescent_nuclei").image_id == load_sample("fluorescent_nuclei").image_id


def test_the_cells_of_a_drawn_sample_are_those_of_the_picture():
    picture, image = draw_sample("fluorescent_nuclei"), load_sample("fluorescent_nuclei")

    np.testing.assert_array_equal(picture.pixels, image.pixels)
    assert image.pixels[picture.labels > 0].mean() > 2 * image.pixels[picture.labels == 0].mean()


def test_an_unknown_sample_is_refused_with_the_names_that_exist():
    with pytest.raises(OptionError, match=r"no sample called 'nucleii'; choose one of fluorescent_nuclei, "):
        load_sample("nucleii")


def test_the_true_labels_of_a_real_picture_are_refused():
    with pytest.raises(OptionError, match="'colon_histology' is not a synthetic sample; choose one of"):
        draw_sample("colon_histology")
