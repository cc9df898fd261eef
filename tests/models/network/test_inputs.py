"""Tests of the networks' inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from napari_cellsam.models.network.inputs import Layout, detector_input, mask_input, measure_scale, squash

MEAN = np.array([123.675, 116.28, 103.53])[:, None, None]
STD = np.array([58.395, 57.12, 57.375])[:, None, None]


def _picture(side: int = 40) -> torch.Tensor:
    picture = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    picture[0] = 0
    picture[:, :5] = 0
    return picture


@pytest.mark.parametrize("shape", [(20, 30), (100, 33), (64, 64)])
def test_the_picture_is_squashed_as_torchvision_does(shape: tuple[int, int]) -> None:
    picture = torch.rand(3, *shape)
    torch.testing.assert_close(squash(picture, 64), v2.Resize((64, 64))(picture))


def test_the_detector_sees_each_channel_between_its_own_limits() -> None:
    picture = _picture()
    levels = np.floor(255 * picture.numpy())
    low, high = levels.min((1, 2), keepdims=True), levels.max((1, 2), keepdims=True)
    seen = detector_input(picture, measure_scale(picture), "adv")
    np.testing.assert_allclose(seen, (levels - low) / (high - low + 1e-6), atol=1e-6)


@pytest.mark.parametrize(("present", "absent"), [(1, 2), (2, 1)])
def test_the_detector_sees_an_absent_channel_as_the_present_one(present: int, absent: int) -> None:
    picture = _picture()
    picture[absent] = 0
    seen = detector_input(picture, measure_scale(picture), "adv")
    torch.testing.assert_close(seen[absent], seen[present])
    assert seen[present].any() and not seen[0].any()


def test_the_mask_branch_sees_values_between_limits_of_all_channels_together() -> None:
    picture = _picture().numpy()
    low, high = picture[picture != 0].min(), np.percentile(picture[picture != 0], 99.5)
    stretched = (np.clip(picture, low, high) - low) / (high - low)
    scale = measure_scale(torch.from_numpy(picture))
    plain = mask_input(torch.from_numpy(picture), scale, "plain")
    np.testing.assert_allclose(plain, (stretched - MEAN / 255) / (STD / 255), atol=1e-5)
    span = np.ptp(stretched, (1, 2), keepdims=True)
    own = (stretched - stretched.min((1, 2), keepdims=True)) / (span + 1e-6)
    adv = mask_input(torch.from_numpy(picture), scale, "adv")
    np.testing.assert_allclose(adv, (own - MEAN / 255) / (STD / 255), atol=1e-5)


def test_the_plain_detector_sees_levels_with_sams_mean_and_spread() -> None:
    picture = _picture()
    seen = detector_input(picture, measure_scale(picture), "plain")
    np.testing.assert_allclose(seen, (np.floor(255 * picture.numpy()) - MEAN) / STD, atol=1e-5)


def test_sam_sees_a_grey_picture() -> None:
    picture = _picture()
    seen = mask_input(picture, measure_scale(picture), "sam")
    np.testing.assert_allclose(seen.numpy() * STD / 255 + MEAN / 255, picture.amax(0).expand(3, -1, -1), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("layout", ["adv", "plain", "sam"])
def test_a_constant_picture_gives_finite_inputs(value: float, layout: Layout) -> None:
    picture = torch.full((3, 8, 8), value)
    scale = measure_scale(picture)
    assert detector_input(picture, scale, layout).isfinite().all()
    assert mask_input(picture, scale, layout).isfinite().all()


@pytest.mark.parametrize("layout", ["adv", "plain"])
def test_a_tile_with_the_scale_of_the_whole_picture_sees_what_the_whole_sees(layout: Layout) -> None:
    whole = _picture()
    scale = measure_scale(whole)
    for make in (detector_input, mask_input):
        torch.testing.assert_close(
            make(whole[:, 10:30, 5:20], scale, layout), make(whole, scale, layout)[:, 10:30, 5:20]
        )
