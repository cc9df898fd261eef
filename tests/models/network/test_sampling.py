"""Sampling equals PyTorch's grid_sample."""

import pytest
import torch
import torch.nn.functional as F

from napari_cellsam.models.network import sampling
from napari_cellsam.models.network.sampling import cut_windows, sample_at


def reference(features, points, stride):
    """Sample (B, N, 2) points of the picture with grid_sample."""
    size = torch.tensor([features.shape[3], features.shape[2]]) * stride
    grid = (points + 0.5) / size * 2 - 1
    sampled = F.grid_sample(features, grid[:, None], mode="bilinear", padding_mode="border", align_corners=False)
    return sampled[:, :, 0].transpose(1, 2)


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_points_are_sampled_as_by_grid_sample(stride):
    torch.manual_seed(0)
    features = torch.randn(2, 3, 5, 7)
    points = torch.rand(2, 40, 2) * torch.tensor([7, 5]) * stride * 1.4 - 3  # some beyond the border
    torch.testing.assert_close(sample_at(features, points, stride), reference(features, points, stride))


def test_windows_are_cut_as_by_grid_sample():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 6, 9)
    windows = torch.tensor([[[0.0, 0, 36, 24], [5, 3, 12, 21]], [[-9, -9, 20, 20], [30, 10, 50, 40]]])
    n = 5
    step = (torch.arange(n) + 0.5) / n
    low, size = windows[..., :2], windows[..., 2:] - windows[..., :2]
    x = low[..., 0, None] + step * size[..., 0, None] - 0.5  # (B, K, n) pixel centres are half a pixel inside edges
    y = low[..., 1, None] + step * size[..., 1, None] - 0.5
    points = torch.stack((x[:, :, None].expand(-1, -1, n, -1), y[..., None].expand(-1, -1, -1, n)), -1)
    expected = reference(features, points.flatten(1, 3), 4).unflatten(1, (2, n, n)).movedim(-1, 2)
    cut = cut_windows(features, torch.tensor([1, 0, 1, 0]), windows[[1, 0, 1, 0], [1, 0, 0, 1]], 4, n)
    torch.testing.assert_close(cut, expected[[1, 0, 1, 0], [1, 0, 0, 1]])


def test_the_window_of_a_whole_picture_is_the_picture():
    features = torch.randn(1, 2, 4, 4)
    cut = cut_windows(features, torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0.0, 32.0, 32.0]]), 8, 4)
    torch.testing.assert_close(cut, features)


def test_gradients_reach_the_features():
    features = torch.randn(1, 2, 4, 4, requires_grad=True)
    (
        sample_at(features, torch.tensor([[[9.0, 9.0]]]), 8).sum()
        + cut_windows(features, torch.zeros(1, dtype=torch.long), torch.ones(1, 4) * 3, 8, 2).sum()
    ).backward()
    assert (features.grad != 0).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1)])
def test_a_grid_of_one_row_or_column_is_sampled(shape):
    features = torch.randn(2, 3, *shape)
    points = torch.rand(2, 9, 2) * 60 - 10
    torch.testing.assert_close(sample_at(features, points, 8), reference(features, points, 8))


def test_what_other_devices_do_is_the_same(monkeypatch):
    features, points = torch.randn(2, 3, 4, 5, requires_grad=True), torch.rand(2, 9, 2) * 50 - 5
    results = []
    for add_up in (sampling._bagged, sampling._gathered):
        monkeypatch.setattr(sampling, "_bagged", add_up)
        sampled = sample_at(features, points, 8)
        [gradient] = torch.autograd.grad(sampled.square().sum(), features)
        results.append((sampled, gradient))
    torch.testing.assert_close(*results)


def test_a_point_that_is_no_number_breaks_nothing():
    points = torch.tensor([[[float("nan"), 3], [9, 9], [float("inf"), float("-inf")]]])
    features = torch.randn(1, 2, 4, 4)
    sampled = sample_at(features, points, 8)
    assert sampled.isfinite().all()
    torch.testing.assert_close(sampled[:, 1:2], reference(features, points[:, 1:2], 8))


def test_of_nothing_there_are_no_samples():
    features = torch.randn(2, 3, 4, 5)
    assert sample_at(features, torch.zeros(2, 0, 2), 8).shape == (2, 0, 3)
    assert cut_windows(features, torch.zeros(0, dtype=torch.long), torch.zeros(0, 4), 8, 6).shape == (0, 3, 6, 6)
