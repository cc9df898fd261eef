"""Tests of mask decoding against segment-anything's own modules."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

from napari_cellsam.models.network.mask_decoding import DecodeOptions, FieldPrompt, decode_masks

SIDE, N_TOKENS, WIDTH = 128, 8, 32
Modules = tuple[PromptEncoder, MaskDecoder]

BOX = FieldPrompt(box=torch.tensor([30.0, 41.5, 52.0, 60.0]))
WIDE_BOX = FieldPrompt(box=torch.tensor([-10.0, 5.0, 140.0, 20.0]))
OUTER_BOX = FieldPrompt(box=torch.tensor([300.0, 300.0, 310.0, 310.0]))
POINT = FieldPrompt(torch.tensor([[12.0, 99.0]]), torch.tensor([1]))
POINTS = FieldPrompt(torch.tensor([[50.0, 50.0], [3.0, 70.0], [90.0, 9.0]]), torch.tensor([1, 0, 1]))
POINT_AND_BOX = FieldPrompt(torch.tensor([[40.0, 50.0]]), torch.tensor([0]), BOX.box)
MASK = FieldPrompt(mask=torch.linspace(-3, 3, 32 * 32).view(32, 32))
MASK_AND_POINT = FieldPrompt(*POINT[:3], torch.linspace(2, -4, 32 * 32).view(32, 32))
MASK_AND_BOX = FieldPrompt(box=BOX.box, mask=torch.eye(32) * 4 - 2)
PROMPTS = [BOX, POINT, WIDE_BOX, POINTS, MASK, POINT_AND_BOX, OUTER_BOX, MASK_AND_POINT, MASK_AND_BOX, BOX]


@pytest.fixture(scope="module")
def modules() -> Modules:
    torch.manual_seed(0)
    encoder = PromptEncoder(WIDTH, (N_TOKENS, N_TOKENS), (SIDE, SIDE), mask_in_chans=8)
    decoder = MaskDecoder(
        transformer_dim=WIDTH, transformer=TwoWayTransformer(2, WIDTH, 8, 64), num_multimask_outputs=3
    )
    for module in (encoder, decoder):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        module.eval().requires_grad_(False)
    return encoder, decoder


@pytest.fixture(scope="module")
def embedding() -> torch.Tensor:
    return torch.randn(WIDTH, N_TOKENS, N_TOKENS, generator=torch.Generator().manual_seed(1))


def _sam(modules: Modules, embedding: torch.Tensor, prompt: FieldPrompt) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode one prompt as segment-anything does."""
    encoder, decoder = modules
    points = None if prompt.points is None else (prompt.points[None], prompt.labels[None])
    boxes = None if prompt.box is None else prompt.box[None]
    sparse, dense = encoder(points, boxes, None if prompt.mask is None else prompt.mask[None, None])
    if points is None and boxes is None:
        sparse = sparse.expand(1, -1, -1)
    logits, iou = decoder(embedding[None], encoder.get_dense_pe(), sparse, dense, multimask_output=False)
    return logits[0, 0], iou[0, 0]


@pytest.mark.parametrize("at_once", [1, 32])
def test_the_whole_field_is_what_segment_anything_gives(
    modules: Modules, embedding: torch.Tensor, at_once: int
) -> None:
    found = decode_masks(*modules, embedding, PROMPTS, DecodeOptions(whole_field=True, at_once=at_once))
    for i, prompt in enumerate(PROMPTS):
        logits, iou = _sam(modules, embedding, prompt)
        torch.testing.assert_close(found.logits[i], logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.iou[i], iou, atol=1e-5, rtol=1e-5)
    assert not found.corners.any()


def test_crops_hold_the_logits_of_the_whole_field(modules: Modules, embedding: torch.Tensor) -> None:
    boxes = [BOX, WIDE_BOX, OUTER_BOX, POINT_AND_BOX]
    whole = decode_masks(*modules, embedding, boxes, DecodeOptions(whole_field=True))
    crops = decode_masks(*modules, embedding, boxes, DecodeOptions(edge_logit=1e9))
    for i in range(len(boxes)):
        (x, y), (height, width) = crops.corners[i].tolist(), crops.logits[i].shape
        torch.testing.assert_close(
            crops.logits[i], whole.logits[i][y : y + height, x : x + width], atol=1e-6, rtol=1e-6
        )
    torch.testing.assert_close(crops.iou, whole.iou)
    assert crops.logits[0].shape == (5 * 4, 5 * 4) and crops.corners[0].tolist() == [0, 4]


def test_a_mask_that_goes_on_beyond_its_crop_is_decoded_again(modules: Modules, embedding: torch.Tensor) -> None:
    whole = decode_masks(*modules, embedding, [BOX], DecodeOptions(whole_field=True)).logits[0]
    x, y = 0, 4
    edge = torch.cat([whole[y, x : x + 20], whole[y + 19, x : x + 20], whole[y : y + 20, x + 19]]).max()
    inside = decode_masks(*modules, embedding, [BOX], DecodeOptions(edge_logit=float(edge) + 1e-3))
    beyond = decode_masks(*modules, embedding, [BOX], DecodeOptions(edge_logit=float(edge) - 1e-3))
    assert inside.logits[0].shape == (20, 20)
    assert beyond.logits[0].shape == (32, 32) and beyond.corners[0].tolist() == [0, 0]


def test_no_prompts_give_no_masks(modules: Modules, embedding: torch.Tensor) -> None:
    found = decode_masks(*modules, embedding, [])
    assert found.logits == [] and found.iou.shape == (0,) and found.corners.shape == (0, 2)


def test_half_precision_stays_near_full_precision(modules: Modules, embedding: torch.Tensor) -> None:
    full = decode_masks(*modules, embedding, PROMPTS, DecodeOptions(whole_field=True))
    half = decode_masks(*modules, embedding, PROMPTS, DecodeOptions(whole_field=True, autocast=torch.bfloat16))
    for a, b in zip(full.logits, half.logits, strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() / a.norm() < 0.05


def test_a_prompt_is_answered_the_same_alone_and_among_others(modules: Modules, embedding: torch.Tensor) -> None:
    together = decode_masks(*modules, embedding, PROMPTS, DecodeOptions(whole_field=True))
    alone = decode_masks(*modules, embedding, [POINTS], DecodeOptions(whole_field=True))
    torch.testing.assert_close(together.logits[3], alone.logits[0], atol=1e-5, rtol=1e-5)
