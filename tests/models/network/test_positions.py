"""Tests of position codes."""

from __future__ import annotations

import math

import torch

from napari_cellsam.models.network.positions import sine_1d, sine_2d


def test_features_alternate_between_sine_and_cosine() -> None:
    code = sine_1d(torch.tensor([0.3]), 6)[0]
    for i in range(6):
        angle = 0.3 * 2 * math.pi / 10_000 ** (2 * (i // 2) / 6)
        assert math.isclose(code[i], (math.cos if i % 2 else math.sin)(angle), abs_tol=1e-6)


def test_the_code_of_a_place_has_y_before_x() -> None:
    code = sine_2d(torch.tensor([[0.2, 0.7]]), 8)
    torch.testing.assert_close(code[0], torch.cat((sine_1d(torch.tensor(0.7), 4), sine_1d(torch.tensor(0.2), 4))))
