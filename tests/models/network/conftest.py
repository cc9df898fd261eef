"""A CellSAM of the published design that is small enough to compute at once."""

from __future__ import annotations

import pytest
import torch

from napari_cellsam.models.network.cellfinder import CellFinderConfig
from napari_cellsam.models.network.cellsam import CellSam, CellSamConfig
from napari_cellsam.models.network.vit import VitConfig

VIT = VitConfig(width=32, depth=2, n_heads=2, n_hidden=48, global_blocks=(1,), window=3, side=128, n_out=32)
FINDER = CellFinderConfig(n_in=32, width=32, n_hidden=48, n_encoder=1, n_decoder=3, n_anchors=20, dropout=0.0)


@pytest.fixture
def tiny() -> CellSam:
    """Random weights; field of 128 pixels, 8 by 8 tokens, 20 queries."""
    torch.manual_seed(0)
    model = CellSam(CellSamConfig(VIT, FINDER, n_mask_hidden=40, n_iou_hidden=24, n_mask_in=8))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float("norm" in name and name.endswith("weight")), std=0.1)
        else:
            torch.nn.init.normal_(parameter, std=1.5 / parameter[0].numel() ** 0.5)
    assert model.cellfinder is not None and model.cellfinder.position is not None
    torch.nn.init.uniform_(model.cellfinder.position.weight)
    return model.eval().requires_grad_(False)
