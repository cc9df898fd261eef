"""Crops are drawn without end, in fair shares, and laid side by side without clashes."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from napari_cellsam.data.augment import AugmentOptions
from napari_cellsam.data.dataset import Picture
from napari_cellsam.errors import OptionError
from napari_cellsam.training.crops import CropOptions, Crops, draw_crop, mosaic


def picture(group, number=1, side=96):
    labels = np.zeros((side, side), np.int32)
    labels[20:60, 20:60] = number
    channels = np.zeros((2, 2, side, side), np.uint8)
    channels[:, 1] = (labels > 0) * 200
    return Picture(channels, labels, 40.0, group)


def test_crops_are_pictures_and_labels():
    pixels, labels = next(iter(Crops([picture("a", 70_000)], CropOptions(side=64, synthetic_share=0.0))))
    assert pixels.shape == (3, 64, 64) and pixels.dtype == torch.uint8
    assert labels.shape == (64, 64) and set(labels.unique().tolist()) <= {0, 70_000}


def test_equal_seeds_draw_equal_crops():
    one, same, other = (
        next(iter(Crops([picture("a")], CropOptions(side=64, synthetic_share=0.0, seed=seed))))[0] for seed in (1, 1, 2)
    )
    assert one.equal(same) and not one.equal(other)


def test_without_pictures_crops_are_synthetic():
    pixels, labels = next(iter(Crops([], CropOptions(side=64, synthetic_share=0.0))))
    assert pixels.any() and labels.shape == (64, 64)


def test_the_root_of_a_group_s_pixels_is_its_share_and_emphasis_raises_it():
    pictures = [picture("many") for _ in range(64)] + [picture("few") for _ in range(16)]
    pictures.append(Picture(np.zeros((2, 2, 9, 9), np.uint8), np.zeros((9, 9), np.int32), 0.0, "without cells"))
    crops = Crops(pictures, CropOptions(side=64))
    assert len(crops.groups) == 2 and crops.weights.tolist() == pytest.approx([2 / 3, 1 / 3])
    emphasized = Crops(pictures, CropOptions(side=64, emphasis=(("few", 2.0),)))
    assert emphasized.weights.tolist() == pytest.approx([0.5, 0.5])
    rng = np.random.default_rng(0)
    drawn = Counter(emphasized._real(rng).group for _ in range(200))
    assert 70 < drawn["few"] < 130


def test_the_threads_of_this_process_stay_as_they_are():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    list(islice(Crops([picture("a")], CropOptions(side=64, synthetic_share=0.0)), 1))
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == 2


@pytest.mark.parametrize("wrong", [{"side": 100}, {"side": 0}, {"synthetic_share": 1.5}, {"seed": -1}])
def test_options_outside_their_range_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        CropOptions(**wrong)


def test_a_mosaic_lays_crops_side_by_side():
    pictures = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(8, 3, 4, 4)
    labels = torch.ones(8, 4, 4, dtype=torch.int32)
    labels[:, 0] = 0
    laid, cells = mosaic(pictures, labels, 2, 2)
    assert laid.shape == (2, 3, 8, 8) and cells.shape == (2, 8, 8)
    assert laid[1, 0, ::4, ::4].tolist() == [[4, 5], [6, 7]]
    assert cells[0, 1::4, ::4].unique().numel() == 4 and (cells[:, ::4] == 0).all()
    wide, _ = mosaic(pictures, labels, 1, 2)
    assert wide.shape == (4, 3, 4, 8) and wide[3, 0, 0, ::4].tolist() == [6, 7]


@pytest.mark.parametrize(("side", "zooms"), [(32, {1.0, 2.0}), (128, {1.0, 0.5}), (160, {1.0})])
def test_without_a_diameter_pictures_are_seen_at_their_scale_or_whole(side, zooms):
    n = side // 4
    labels = np.zeros((side, side), np.int32)
    labels[side // 2 - n // 2 :, side // 2 - n // 2 :][:n, :n] = 1
    seen = Picture(np.zeros((2, 2, side, side), np.uint8), labels, float(n), "a")
    options = CropOptions(side=64, synthetic_share=0.0, augment=AugmentOptions(None, spread=0.0, damaged_share=0.0))
    drawn = [draw_crop(seen, options, np.random.default_rng(seed))[1] for seed in range(40)]
    found = {round(2 * float(np.sqrt(int((labels > 0).sum()))) / n) / 2 for labels in drawn}
    assert zooms & found == zooms and max(found) <= max(zooms)
