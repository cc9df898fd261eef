"""Tests of the published design as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.models.network.cellsam import CellSam, CellSamConfig, adaptive_cut
from napari_cellsam.models.network.inputs import detector_input, mask_input, measure_scale, squash
from napari_cellsam.models.network.mask_decoding import FieldPrompt
from napari_cellsam.models.network.vit import encode_tokens


@pytest.fixture
def picture() -> torch.Tensor:
    picture = torch.rand(3, 90, 150, generator=torch.Generator().manual_seed(3))
    picture[0] = 0
    return picture


def test_each_encoder_sees_its_own_input(tiny: CellSam, picture: torch.Tensor) -> None:
    field = squash(picture, 128)
    scale = measure_scale(field)
    seen = encode_tokens(tiny.detector_encoder, detector_input(field, scale, "adv")[None])[0]
    torch.testing.assert_close(tiny.encode_detector(picture), seen)
    torch.testing.assert_close(tiny.encode_mask(picture), tiny.image_encoder(mask_input(field, scale, "adv")[None])[0])
    assert tiny.encode_mask(picture, tiny.measure_scale(picture * 0.5)).ne(tiny.encode_mask(picture)).any()


def test_boxes_come_best_first_and_a_query_may_come_once_per_class(tiny: CellSam, picture: torch.Tensor) -> None:
    assert tiny.cellfinder is not None
    tiny.cellfinder.class_embed.weight[1] = tiny.cellfinder.class_embed.weight[0]  # classes that agree
    tiny.cellfinder.class_embed.bias.copy_(torch.tensor([0.0, 0.01]))
    features = tiny.encode_detector(picture)
    logits, boxes = tiny.find(features)
    found = tiny.detect(features)
    ranked = sorted(((float(logits[q, c].sigmoid()), q) for q in range(20) for c in range(2)), reverse=True)[:20]
    torch.testing.assert_close(found.scores, torch.tensor([score for score, _ in ranked]))
    assert found.queries.tolist() == [query for _, query in ranked]
    assert len(set(found.queries.tolist())) < 20
    cx, cy, w, h = (boxes[found.queries] * 128).T
    torch.testing.assert_close(found.boxes, torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), 1))


def test_half_precision_finds_nearly_the_same(tiny: CellSam, picture: torch.Tensor) -> None:
    features, embedding = tiny.encode_detector(picture), tiny.encode_mask(picture)
    logits, boxes = tiny.find(features)
    prompt = FieldPrompt(box=torch.tensor([20.0, 30.0, 60.0, 70.0]))
    mask = tiny.decode(embedding, [prompt], whole_field=True)
    tiny.use_bfloat16()
    half = (tiny.encode_detector(picture), tiny.encode_mask(picture), *tiny.find(features))
    half_mask = tiny.decode(embedding, [prompt], whole_field=True)
    for a, b in zip((features, embedding, logits, boxes, mask.logits[0]), (*half, half_mask.logits[0]), strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() / a.norm() < 0.1


def test_sam_alone_answers_prompts_and_says_that_it_cannot_detect(tiny: CellSam, picture: torch.Tensor) -> None:
    sam = CellSam(replace(tiny.config, finder=None, layout="sam")).eval().requires_grad_(False)
    assert not sam.can_detect
    prompt = FieldPrompt(torch.tensor([[64.0, 64.0]]), torch.tensor([1]))
    assert sam.decode(sam.encode_mask(picture), [prompt]).logits[0].shape == (32, 32)
    for ask in (lambda: sam.encode_detector(picture), lambda: sam.detect(torch.zeros(32, 8, 8))):
        with pytest.raises(UnsupportedTaskError, match="SAM's alone"):
            ask()


def test_the_adaptive_cut_lies_between_two_clusters_of_scores() -> None:
    scores = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1, 0.1, 0.0])
    assert adaptive_cut(scores, 0.4) == pytest.approx(0.66 * 0.4 + 0.33 * (0.8 + 0.1) / 2)
    assert adaptive_cut(scores.flip(0), 0.4) == adaptive_cut(scores, 0.4)


@pytest.mark.parametrize(("scores", "mean"), [([0.5], 0.5), ([0.3, 0.3, 0.3], 0.3), ([0.0, 1.0], 0.5)])
def test_the_adaptive_cut_of_few_or_equal_scores_is_defined(scores: list[float], mean: float) -> None:
    assert adaptive_cut(torch.tensor(scores), 0.4) == pytest.approx(0.264 + 0.33 * mean)


def test_the_adaptive_cut_of_no_scores_is_the_threshold() -> None:
    assert adaptive_cut(torch.zeros(0), 0.4) == 0.4


def test_a_config_survives_as_plain_values(tiny: CellSam) -> None:
    assert CellSamConfig.from_dict(tiny.config.to_dict()) == tiny.config
    sam = replace(tiny.config, finder=None)
    assert CellSamConfig.from_dict(sam.to_dict()) == sam


def test_the_default_config_is_the_published_size() -> None:
    with torch.device("meta"):
        model = CellSam(CellSamConfig())
    assert sum(p.numel() for p in model.parameters()) == 195_858_062
