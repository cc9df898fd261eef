"""Samples that are fetched: what comes of them, without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from napari_cellsam.data.fetched_samples import FETCHED, fetch_sample, load_fetched
from napari_cellsam.data.sample_layers import open_fetched
from napari_cellsam.data.samples import load_sample, sample_names
from napari_cellsam.errors import ImageReadError, OptionError


@pytest.fixture
def fetched(monkeypatch):
    """Let scikit-image give small pictures of the same axes, channels told apart by their values."""
    nuclei = np.arange(12, dtype=np.uint8).reshape(3, 4)
    stack = np.zeros((5, 2, 3, 4), np.uint16)
    stack[:, 0], stack[:, 1] = 100, 200
    stack += np.arange(5, dtype=np.uint16)[:, None, None, None]
    monkeypatch.setattr(data, "human_mitosis", lambda: nuclei)
    monkeypatch.setattr(data, "cells3d", lambda: stack)
    return {"human_mitosis": nuclei, "cells3d": stack}


@pytest.fixture(params=[ConnectionError("no route"), OSError("disk full"), ValueError("hash of file does not match")])
def failing(request, monkeypatch):
    def fail():
        raise request.param

    for name in FETCHED:
        monkeypatch.setattr(data, name, fail)


def test_channels_come_last(fetched):
    assert fetch_sample("human_mitosis").shape == (3, 4, 1)
    assert fetch_sample("cells3d").shape == (5, 3, 4, 2)


def test_a_picture_of_nuclei_is_an_image_of_nuclei(fetched):
    image = load_fetched("human_mitosis")
    assert (image.nuclear, image.cell, image.pixel_size_um) == (0, None, None)
    np.testing.assert_array_equal(image.pixels[..., 0], fetched["human_mitosis"])


def test_a_stack_is_an_image_of_its_middle_plane_with_its_roles_and_pixel_size(fetched):
    image = load_fetched("cells3d")
    assert image.pixel_size_um == (0.26, 0.26)
    assert (image.pixels[..., image.cell] == 102).all()
    assert (image.pixels[..., image.nuclear] == 202).all()


def test_a_stack_opens_as_a_layer_per_channel_with_all_planes_and_its_voxel_size(fetched):
    (cells, cell, _), (nuclei, nuclear, _) = open_fetched("cells3d")
    assert (cell["name"], nuclear["name"]) == ("cells3d cell", "cells3d nuclear")
    assert cells.shape == nuclei.shape == (5, 3, 4)
    assert (cells[0] == 100).all() and (nuclei[0] == 200).all()
    assert cell["scale"] == nuclear["scale"] == (0.29, 0.26, 0.26)


def test_a_plane_opens_as_one_layer(fetched):
    [(pixels, arguments, kind)] = open_fetched("human_mitosis")
    np.testing.assert_array_equal(pixels, fetched["human_mitosis"])
    assert (arguments, kind) == ({"name": "human_mitosis"}, "image")


def test_samples_that_are_fetched_are_known_by_name_but_not_among_those_that_need_no_network(fetched):
    assert not set(FETCHED) & set(sample_names())
    assert set(FETCHED) < set(sample_names(fetched=True))
    assert load_sample("cells3d").shape == (3, 4)


@pytest.mark.parametrize("name", FETCHED)
def test_what_cannot_be_fetched_says_what_to_do(name, failing):
    with pytest.raises(
        ImageReadError, match=r"^Connect to the network and open the sample .* could not be fetched\."
    ) as told:
        open_fetched(name)
    assert repr(name) in str(told.value) and str(data.data_dir) in str(told.value)


def test_an_unknown_sample_is_refused_with_the_names_that_exist():
    with pytest.raises(
        OptionError, match="'mitosis' is not a sample that is fetched; choose one of human_mitosis, cel"
    ):
        fetch_sample("mitosis")


@pytest.mark.parametrize(
    ("name", "file", "shape"),
    [("human_mitosis", "mitosis.tif", (512, 512, 1)), ("cells3d", "cells3d.tif", (60, 256, 256, 2))],
)
def test_the_real_pictures_are_as_described(name, file, shape):
    if not (Path(data.data_dir) / file).is_file():
        pytest.skip(f"{file} was never fetched on this machine")
    pixels = fetch_sample(name)
    assert pixels.shape == shape
    assert pixels.nbytes == pytest.approx(FETCHED[name].n_bytes, rel=0.02)
    assert load_fetched(name).shape == shape[-3:-1]
