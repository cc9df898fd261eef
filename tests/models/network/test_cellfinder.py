"""Tests of CellFinder at the learned anchors."""

from __future__ import annotations

import pytest
import torch

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.models.network.cellfinder import CellFinder, CellFinderConfig
from napari_cellsam.models.network.cellsam import CellSam


@pytest.fixture
def finder(tiny: CellSam) -> CellFinder:
    assert tiny.cellfinder is not None
    return tiny.cellfinder


def _find_slowly(finder: CellFinder, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Run every layer, with nothing kept from call to call."""
    height, width = features.shape[-2:]
    centres = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
    anchors = finder.position.weight.expand(len(features), -1, -1)
    queries = finder.pattern.weight.expand(*anchors.shape[:2], -1)
    state = finder.decode(finder.encode(features, centres), centres, anchors, queries)[-1]
    change = finder.bbox_embed(state)
    change = torch.cat((change[..., :2] + torch.logit(anchors, 1e-5), change[..., 2:]), -1)
    return finder.class_embed(state), change.sigmoid()


def test_work_that_is_kept_changes_no_number(finder: CellFinder) -> None:
    for seed in (0, 1):
        features = torch.randn(2, 32, 8, 6, generator=torch.Generator().manual_seed(seed))
        for found, expected in zip(finder(features), _find_slowly(finder, features), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_last_layers_answer_is_the_models(finder: CellFinder) -> None:
    features = torch.randn(2, 32, 8, 6, generator=torch.Generator().manual_seed(0))
    answers = finder.answers(features)
    assert len(answers) == finder.config.n_decoder
    for found, expected in zip(answers[-1], finder(features), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.equal(answers[0][1], answers[-1][1])


def test_what_is_kept_is_computed_once(finder: CellFinder) -> None:
    with torch.no_grad():
        assert finder.anchor_start() is finder.anchor_start()
    with torch.inference_mode():
        assert finder.anchor_start() is finder.anchor_start()


@pytest.mark.parametrize("change", ["in place", "loaded", "replaced"])
def test_what_is_kept_follows_the_weights(finder: CellFinder, change: str) -> None:
    with torch.no_grad():
        before = finder.anchor_start()
        if change == "in place":
            finder.pattern.weight += 1
        elif change == "loaded":
            finder.load_state_dict({key: value * 2 for key, value in finder.state_dict().items()})
        else:
            finder.load_state_dict({key: value * 2 for key, value in finder.state_dict().items()}, assign=True)
        after = finder.anchor_start()
    assert after is not before
    assert not torch.equal(after.state, before.state)


def test_gradients_reach_the_anchors(finder: CellFinder) -> None:
    finder.requires_grad_(True)
    logits, boxes = finder(torch.randn(1, 32, 8, 8))
    (logits.sum() + boxes.square().sum()).backward()
    for part in (finder.position, finder.pattern, finder.adapt_pos2d[0]):
        assert part.weight.grad is not None and part.weight.grad.abs().sum() > 0


def test_a_finder_without_anchors_says_so() -> None:
    finder = CellFinder(CellFinderConfig(n_in=32, width=32, n_hidden=8, n_encoder=1, n_decoder=1, n_anchors=0))
    with pytest.raises(UnsupportedTaskError, match="no learned anchors"):
        finder(torch.randn(1, 32, 4, 4))
