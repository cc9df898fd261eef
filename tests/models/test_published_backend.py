"""Published designs as the engine uses them, at a size that computes at once."""

import numpy as np
import pytest
import torch

from napari_cellsam.engine import Model
from napari_cellsam.errors import UnsupportedTaskError
from napari_cellsam.models.backend import PicturePrompt
from napari_cellsam.models.network.cellfinder import CellFinderConfig
from napari_cellsam.models.network.cellsam import CellSam, CellSamConfig
from napari_cellsam.models.network.vit import VitConfig
from napari_cellsam.models.published_backend import PublishedBackend
from napari_cellsam.types import Prompt, SegmentOptions

VIT = VitConfig(width=32, depth=2, n_heads=2, n_hidden=48, global_blocks=(1,), window=3, side=128, n_out=32)
FINDER = CellFinderConfig(n_in=32, width=32, n_hidden=48, n_encoder=1, n_decoder=2, n_anchors=20, dropout=0.0)
NO_POINTS = np.zeros((0, 2), np.float32)


def backend(finder=FINDER):
    torch.manual_seed(0)
    network = CellSam(CellSamConfig(VIT, finder, n_mask_hidden=40, n_iou_hidden=24, n_mask_in=8))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=1.5 / max(parameter[0].numel(), 20) ** 0.5)
    return PublishedBackend(network, torch.device("cpu"), torch.float32)


def encode(published, shape=(100, 60)):
    prepared = np.random.default_rng(0).random((3, *shape), np.float32)
    return published.encode(prepared, (128, 128), published.measure(prepared))


def test_boxes_are_in_pixels_of_the_field_best_first():
    published = backend()
    boxes, scores = published.detect(encode(published))
    assert boxes.shape == (20, 4) and (np.diff(scores) <= 0).all()
    assert published.n_queries == 20 and published.side == 128


def test_the_adaptive_cut_moves_with_the_scores():
    published = backend()
    scores = np.array([0.9, 0.8, 0.1, 0.1], np.float32)
    assert published.score_cut(scores, SegmentOptions(box_score=0.4, score_rule="fixed")) == 0.4
    moved = published.score_cut(scores, SegmentOptions(box_score=0.4, score_rule="adaptive"))
    assert moved == pytest.approx(0.66 * 0.4 + 0.33 * (0.85 + 0.1) / 2, abs=1e-6)
    assert published.score_cut(scores[:0], SegmentOptions(box_score=0.4, score_rule="adaptive")) == 0.4


def test_a_box_is_decoded_around_it_as_in_the_whole_field():
    published = backend()
    features = encode(published)
    asked = [PicturePrompt(NO_POINTS, NO_POINTS, box=np.array([30, 40, 60, 70], np.float32))]
    whole = published.decode(features, asked, whole=True)[0]
    part = published.decode(features, asked, whole=False, threshold=0.5)[0]
    assert whole.logits.shape == (published.grid_side,) * 2 == (32, 32) and whole.window.tolist() == [0, 0, 128, 128]
    x0, y0, x1, y1 = (part.window / 4).astype(int)
    assert np.allclose(part.logits, whole.logits[y0:y1, x0:x1], atol=1e-4)
    assert part.predicted_iou == pytest.approx(whole.predicted_iou, abs=1e-5)


def test_no_prompts_give_no_answers():
    published = backend()
    assert published.decode(encode(published), []) == []


def test_an_outline_of_another_model_can_be_corrected():
    published = backend()
    features = encode(published)
    point = np.array([[70, 70]], np.float32)
    field, part = np.array([0, 0, 128, 128], np.float32), np.array([32, 32, 96, 96], np.float32)
    own = np.full((32, 32), -4, np.float32)
    own[12:20, 12:20] = 4
    whole, cut, none = (
        published.decode(features, [PicturePrompt(point, NO_POINTS, None, logits, window)], whole=True)[0].logits
        for logits, window in ((own, field), (own[8:24, 8:24], part), (None, None))
    )
    assert np.allclose(whole, cut, atol=1e-4) and not np.allclose(whole, none, atol=1e-3)


def test_sam_alone_answers_prompts_and_says_that_it_cannot_detect():
    sam = backend(finder=None)
    assert not sam.can_detect and sam.n_queries == 0
    with pytest.raises(UnsupportedTaskError):
        sam.detect(encode(sam))
    image = np.random.default_rng(1).random((70, 90), np.float32)
    prompts = [Prompt(inside=[(20, 30)]), Prompt(box=(10, 10, 40, 50)), Prompt(inside=[(5, 5)], outside=[(60, 80)])]
    masks = Model(sam, "sam").segment_prompts(image, prompts, logits=True)
    assert [mask.logits.shape for mask in masks] == [(32, 32)] * 3
    again = Model(sam, "sam").segment_prompts(image, [Prompt(inside=[(20, 30)], mask_logits=masks[0].low_res)])
    assert len(again) == 1


@pytest.mark.parametrize("scaling", ["squash", "tiles"])
def test_any_shape_gives_a_segmentation(scaling):
    model = Model(backend(), "random")
    for shape in ((3, 3), (1, 50), (200, 150)):
        image = np.random.default_rng(1).random(shape, np.float32)
        options = SegmentOptions(scaling=scaling, box_score=0.0, score_rule="fixed", min_predicted_iou=0.0)
        assert model.segment(image, options).labels.shape == shape


CLICKS = [
    PicturePrompt(np.array([[40, 50]], np.float32), NO_POINTS),
    PicturePrompt(NO_POINTS, NO_POINTS, np.array([9, 9, 60, 70], np.float32)),
]


@pytest.mark.parametrize("half", [False, True])
def test_packed_features_answer_prompts_to_the_bit(half):
    published = backend()
    if half:
        published = PublishedBackend(published.network, torch.device("cpu"), torch.bfloat16)
    features = encode(published)
    again = published.unpack(published.pack(features))
    for one, other in zip(published.decode(features, CLICKS), published.decode(again, CLICKS), strict=True):
        assert np.array_equal(one.logits, other.logits)
        assert one.predicted_iou == other.predicted_iou


def test_packed_features_are_for_prompts_alone():
    published = backend()
    features = encode(published)
    arrays = published.pack(features)
    again = published.unpack(arrays)
    assert published.detects_from(features)
    assert not published.detects_from(arrays)
    assert not published.detects_from(again)
    with pytest.raises(UnsupportedTaskError, match="prompts alone"):
        published.detect(again)


def test_features_grow_when_an_encoder_runs():
    published = backend()
    features = encode(published)
    picture = published.n_bytes(features)
    published.decode(features, CLICKS)
    decoded = published.n_bytes(features)
    published.detect(features)
    assert picture < decoded < published.n_bytes(features)


@pytest.mark.parametrize("arrays", [{}, {"mask": np.zeros((32, 8, 7), np.float32)}, {"fine": np.zeros(1, np.float32)}])
def test_arrays_that_are_no_features_of_this_model_are_refused(arrays):
    assert backend().unpack(arrays) is None
