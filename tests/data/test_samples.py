from __future__ import annotations

import socket

import numpy as np
import pytest

from napari_cellsam.data.samples import load_sample, sample_names
from napari_cellsam.errors import OptionError


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("a sample asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", sample_names())
def test_every_sample_is_a_picture_without_a_network(name, no_network):
    image = load_sample(name)

    assert min(image.shape) >= 256
    assert np.ptp(image.pixels) > 0


def test_a_sample_is_the_same_every_time():
    assert load_sample("fluorescent_nuclei").image_id == load_sample("fluorescent_nuclei").image_id


def test_samples_differ_from_each_other():
    assert load_sample("phase_yeast").image_id != load_sample("phase_rods").image_id


def test_an_unknown_sample_is_refused_with_the_names_that_exist():
    with pytest.raises(OptionError, match=r"no sample called 'nucleii'; choose one of fluorescent_nuclei, "):
        load_sample("nucleii")
