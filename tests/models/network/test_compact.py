"""The compact model: shapes, anchors judged together and alone, and windows of masks."""

from dataclasses import replace

import pytest
import torch
from segment_anything.modeling.transformer import Attention

from napari_cellsam.errors import CheckpointError
from napari_cellsam.models.network.build import build_model
from napari_cellsam.models.network.compact import CompactCellSam, CompactConfig
from napari_cellsam.models.network.window_decoder import FewTokensAttention, WindowPrompts, _marks, window_around


@pytest.fixture
def model(tiny_compact):
    # Untrained, the last layers are zero, and every query would answer alike.
    for last in (tiny_compact.cellfinder.class_embed, tiny_compact.cellfinder.bbox_embed.layers[-1]):
        torch.nn.init.normal_(last.weight, std=0.3)
    return tiny_compact.eval().requires_grad_(False)


@pytest.fixture
def features(model):
    return model.encode(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)))


def prompts(windows, points, labels, **more):
    n = len(windows)
    return WindowPrompts(
        torch.zeros(n, dtype=torch.long), torch.tensor(windows), torch.tensor(points), torch.tensor(labels), **more
    )


def test_features_have_strides_of_eight_and_four(features):
    assert features.wide.shape == features.embedding.shape == (1, 32, 8, 12)
    assert features.fine.shape == (1, 16, 16, 24)


def test_every_layer_judges_every_anchor(model, features):
    points = torch.tensor([[[10.0, 20.0], [70.0, 5.0], [40.0, 40.0]]])
    found = model.find(features, model.propose(features), points)
    assert [logits.shape for logits in found.logits] == [(1, 3)] * 2
    assert [boxes.shape for boxes in found.boxes] == [(1, 3, 4)] * 2
    assert bool((found.boxes[-1][..., 2:] > found.boxes[-1][..., :2]).all())


def test_anchors_see_each_other_unless_they_are_alone(model, features):
    points = torch.tensor([[[10.0, 20.0], [70.0, 5.0], [12.0, 22.0]]])
    maps = model.propose(features)
    together, alone = (model.find(features, maps, points, alone=a).logits[-1][0] for a in (False, True))
    one_by_one = torch.cat([model.find(features, maps, points[:, i : i + 1]).logits[-1][0] for i in range(3)])
    torch.testing.assert_close(alone, one_by_one)
    assert (together - alone).abs().max() > 1e-4


def test_untrained_queries_answer_what_the_dense_head_says(tiny_compact, features):
    fresh = CompactCellSam(tiny_compact.config).eval()
    maps = fresh.propose(features)
    # The fine grid's step (3, 2) has its centre at 13.5, 9.5.
    found = fresh.find(features, maps, torch.tensor([[[13.5, 9.5]]]))
    left, top, right, bottom = maps.extent[0, :, 2, 3].exp()
    torch.testing.assert_close(found.logits[-1][0, 0], maps.centre[0, 0, 2, 3])
    expected = torch.stack((13.5 - left, 9.5 - top, 13.5 + right, 9.5 + bottom))
    torch.testing.assert_close(found.boxes[-1][0, 0], expected)


def test_absurd_extents_stay_finite(model, features):
    maps = model.propose(features)
    maps = maps._replace(extent=maps.extent + 1e4)
    assert bool(model.find(features, maps, torch.tensor([[[10.0, 20.0]]])).boxes[-1].isfinite().all())


def test_a_config_survives_json(tiny_config):
    import json

    assert CompactConfig.from_dict(json.loads(json.dumps(tiny_config.to_dict()))) == tiny_config


def test_a_window_has_room_around_its_box_and_is_not_too_narrow():
    window = window_around(torch.tensor([[10.0, 20.0, 29.0, 39.0], [0.0, 0.0, 99.0, 3.0]]))
    assert window[0].tolist() == [1.0, 11.0, 39.0, 49.0]
    width, height = window[1, 2] - window[1, 0], window[1, 3] - window[1, 1]
    assert float(height) == pytest.approx(float(width) / 2)
    assert window[1, :2].add(window[1, 2:]).tolist() == pytest.approx([100.0, 4.0])


def test_masks_of_several_pictures_come_in_the_order_of_their_prompts(model):
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    both = model.encode(pictures)
    asked = prompts(
        [[0.0, 0, 32, 32], [10, 10, 50, 40], [5, 20, 60, 60]],
        [[[5.0, 5.0]], [[30.0, 20.0]], [[30.0, 30.0]]],
        [[1], [1], [1]],
    )._replace(picture=torch.tensor([1, 0, 1]))
    logits, iou = model.masks(both.embedding, both.fine, asked)
    assert logits.shape == (3, 16, 16) and iou.shape == (3,)
    for i, picture in enumerate([1, 0, 1]):
        own = model.encode(pictures[picture : picture + 1])
        one = WindowPrompts(*(None if part is None else part[i : i + 1] for part in asked))
        alone, _ = model.masks(own.embedding, own.fine, one._replace(picture=torch.zeros(1, dtype=torch.long)))
        torch.testing.assert_close(alone[0], logits[i], rtol=1e-4, atol=1e-5)


def test_only_rows_that_were_told_see_a_previous_mask(model, features):
    windows, points = [[0.0, 0, 32, 32]] * 2, [[[5.0, 5.0]]] * 2
    asked = prompts(windows, points, [[1], [1]])
    plain, _ = model.masks(features.embedding, features.fine, asked)
    previous = torch.randn(2, 1, 16, 16)
    told = asked._replace(previous=previous, has_previous=torch.tensor([False, True]))
    logits, _ = model.masks(features.embedding, features.fine, told)
    torch.testing.assert_close(logits[0], plain[0])
    assert (logits[1] - plain[1]).abs().max() > 1e-4


def test_a_file_of_an_early_model_says_nothing_of_retouching(tiny_config):
    early = {name: value for name, value in tiny_config.to_dict().items() if name not in ("n_retouch", "n_slots")}
    config = CompactConfig.from_dict(early)
    assert (config.n_retouch, config.n_slots) == (0, 5)
    assert CompactCellSam(config).masks.retouch is None


def test_untrained_retouching_changes_nothing(tiny_compact, features):
    config = replace(tiny_compact.config, n_retouch=0)
    plain = CompactCellSam(config).eval()
    plain.load_state_dict({k: v for k, v in tiny_compact.state_dict().items() if ".retouch." not in k})
    asked = prompts([[0.0, 0, 32, 32]], [[[5.0, 5.0]]], [[1]], previous=torch.randn(1, 1, 16, 16))
    asked = asked._replace(has_previous=torch.tensor([True]))
    both = [m.masks(features.embedding, features.fine, asked)[0] for m in (plain, tiny_compact.eval())]
    torch.testing.assert_close(*both)


def test_marks_lie_where_the_clicks_are():
    asked = prompts([[8.0, 16, 40, 48]], [[[9.0, 17.0], [35.0, 21.0], [9.0, 40.0]]], [[1, 0, -1]])
    previous, inside, outside = _marks(asked, 16)[0]
    assert previous.abs().max() == 0
    # Two pixels of the picture per pixel of the mask; the first click is 1.5 pixels behind the window's corner.
    assert int(inside.argmax()) == 0 and int(outside.argmax()) == 2 * 16 + 13
    assert inside.max() > 0.9 and float(inside.sum()) < 10 and inside[10:, :3].max() < 1e-3


def test_marks_hold_the_previous_mask_of_those_who_have_one():
    asked = prompts([[0.0, 0, 32, 32]] * 2, [[[5.0, 5.0]]] * 2, [[1], [1]], previous=torch.full((2, 1, 16, 16), 40.0))
    told = _marks(asked._replace(has_previous=torch.tensor([False, True])), 16)[:, 0]
    assert told[0].abs().max() == 0 and told[1].min() == pytest.approx(1)


def test_moving_picture_window_and_prompt_together_changes_nothing(model):
    picture = torch.zeros(1, 3, 128, 128)
    picture[0, :, 32:64, 32:64] = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(2))
    moved = torch.roll(picture, (32, 32), (2, 3))
    answers = []
    for shown, shift in ((picture, 0.0), (moved, 32.0)):
        features = model.encode(shown)
        asked = prompts([[30.0 + shift] * 2 + [70.0 + shift] * 2], [[[45.0 + shift, 50.0 + shift]]], [[1]])
        answers.append(model.masks(features.embedding, features.fine, asked)[0])
    torch.testing.assert_close(*answers, rtol=1e-3, atol=2e-3)  # a pixel too far makes 4.5e-3


@pytest.mark.parametrize(("n_queries", "n_keys"), [(3, 64), (64, 3), (3, 3)])
def test_attention_to_few_tokens_is_that_of_segment_anything(n_queries, n_keys):
    theirs, ours = Attention(32, 4, 2), FewTokensAttention(32, 4, 2)
    ours.load_state_dict(theirs.state_dict())
    query, key, value = torch.randn(2, n_queries, 32), torch.randn(2, n_keys, 32), torch.randn(2, n_keys, 32)
    torch.testing.assert_close(ours(query, key, value), theirs(query, key, value))


def test_the_decoder_attends_to_few_tokens(model):
    kinds = {type(module) for module in model.masks.modules() if isinstance(module, Attention)}
    assert kinds == {FewTokensAttention}


def test_tighter_outlines_are_the_same_logits_less_a_shift(model, features):
    asked = prompts([[10.0, 10.0, 60.0, 60.0]], [[[30.0, 30.0]]], [[1]])
    before, _ = model.masks(features.embedding, features.fine, asked)
    model.tighten(0.5)
    model.tighten(0.25)
    after, _ = model.masks(features.embedding, features.fine, asked)
    torch.testing.assert_close(after, before - 0.75)
    again = CompactCellSam(CompactConfig.from_dict(model.config.to_dict()))
    assert again.masks.shift == model.config.outline_shift == 0.75


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("field", 0),
        ("field", "x"),
        ("diameter", None),
        ("diameter", 0),
        ("diameter", float("nan")),
        ("box_score", 5),
        ("n_queries", 0),
        ("n_slots", -1),
        ("width", -1),
        ("score", {"detector": "x"}),
        ("unknown", 1),
    ],
)
def test_a_size_that_no_network_can_have_is_refused(tiny_config, name, value):
    with pytest.raises(CheckpointError, match="no size of the design 'compact'"):
        build_model("compact", tiny_config.to_dict() | {name: value})
