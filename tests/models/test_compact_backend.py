"""The compact model as the engine uses it, with random weights: any image, and prompts that leave each other alone."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from napari_cellsam.engine import Model
from napari_cellsam.models.backend import PicturePrompt
from napari_cellsam.models.compact_backend import CompactBackend
from napari_cellsam.models.network.compact import CellScore
from napari_cellsam.types import Image, Prompt, SegmentOptions

NO_POINTS = np.zeros((0, 2), np.float32)


@pytest.fixture
def backend(tiny_compact):
    for name, parameter in tiny_compact.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1 / parameter[0].numel() ** 0.5)
        elif name.endswith("proposals.out.bias"):
            parameter.data[0] = 0.0  # half of all places may be centres
    return CompactBackend(tiny_compact, torch.device("cpu"), torch.float32)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def prompt(inside=NO_POINTS, outside=NO_POINTS, **more):
    return PicturePrompt(np.asarray(inside, np.float32), np.asarray(outside, np.float32), **more)


SEVERAL = [
    prompt([[20, 30]]),
    prompt([[60, 70], [61, 72]], [[5, 5]]),
    prompt(box=np.array([1, 2, 30, 40], np.float32)),
    prompt([[9, 9]] * 7),
    prompt([[15, 20]], box=np.array([1, 2, 30, 40], np.float32)),
]


def test_pictures_are_padded_to_whole_strides(backend):
    features = backend.encode(noise(3, 50, 70), (50, 70), None)
    assert features.features.fine.shape == (1, 16, 16, 24)
    assert backend.embedding(features).shape == (32, 8, 12)


def test_a_region_is_scaled_to_its_picture(backend):
    assert backend.encode(noise(3, 100, 10), (25, 3), None).features.wide.shape[2:] == (4, 4)


def test_boxes_come_best_first(backend):
    boxes, scores = backend.detect(backend.encode(noise(3, 100, 90), (100, 90), None))
    assert boxes.shape == (len(scores), 4) and len(scores) > 0
    assert (np.diff(scores) <= 0).all() and np.isfinite(boxes).all()


def test_a_good_outline_makes_up_for_a_low_score_and_a_bad_one_does_not(backend):
    options = SegmentOptions(box_score=0.4)
    backend.model.config = replace(backend.model.config, score=CellScore(1.5, 2.5, -2.0, floor=0.2))
    assert backend.outlined_from(np.zeros(0, np.float32), options) == 0.2
    assert backend.outlined_from(np.zeros(0, np.float32), replace(options, box_score=0.1)) == 0.1
    assert backend.cell_score(0.35, 0.9, options) == pytest.approx(expit(1.5 * logit(0.35) + 2.5 * logit(0.9) - 2))
    assert backend.cell_score(0.35, 0.9, options) > 0.8 and backend.cell_score(0.6, 0.5, options) is None


def test_without_weights_for_it_an_outline_changes_no_score(backend):
    options = SegmentOptions(box_score=0.4)
    assert backend.outlined_from(np.zeros(0, np.float32), options) == 0.4
    assert backend.cell_score(0.45, 0.1, options) == pytest.approx(0.45)
    assert backend.cell_score(0.35, 0.99, options) is None


def test_a_whole_image_is_judged_by_outlines_too(backend):
    image = Image.from_array(noise(120, 120))
    options = SegmentOptions(box_score=0.3, min_predicted_iou=0.0, min_area=0, diameter="native")
    strict = Model(backend, "strict").segment(image, options)
    backend.model.config = replace(backend.model.config, score=CellScore(1.0, 0.0, -50.0, floor=0.1))
    assert strict.n_cells > 0 and Model(backend, "none").segment(image, options).n_cells == 0


def test_nothing_likely_means_no_boxes(backend):
    with torch.no_grad():
        backend.model.proposals.out.bias[0] = -50
    boxes, scores = backend.detect(backend.encode(noise(3, 64, 64), (64, 64), None))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_an_answer_does_not_depend_on_what_else_is_asked(backend):
    features = backend.encode(noise(3, 100, 90), (100, 90), None)
    together = backend.decode(features, SEVERAL)
    for asked, answer in zip(SEVERAL, together, strict=True):
        alone = backend.decode(features, [asked])[0]
        assert np.allclose(alone.window, answer.window, atol=1e-4)
        assert np.allclose(alone.logits, answer.logits, atol=1e-4)
        assert alone.predicted_iou == pytest.approx(answer.predicted_iou, abs=1e-4)


def test_many_prompts_are_answered_in_their_order(backend):
    features = backend.encode(noise(3, 100, 90), (100, 90), None)
    boxes = [np.array([i, i, i + 20, i + 25], np.float32) for i in range(70)]
    answers = backend.decode(features, [prompt(box=box) for box in boxes])
    assert [float(answer.window[0]) for answer in answers] == sorted(float(answer.window[0]) for answer in answers)
    assert len(answers) == 70


def test_the_window_of_clicks_holds_them_all(backend):
    features = backend.encode(noise(3, 100, 90), (100, 90), None)
    x0, y0, x1, y1 = backend.decode(features, [prompt([[5, 6], [80, 90]])])[0].window
    assert x0 < 5 and y0 < 6 and x1 > 80 and y1 > 90


def test_what_clicks_see_is_computed_once_for_each_part_of_an_image(backend, monkeypatch):
    one, other = (backend.encode(noise(3, 100, 90, seed=seed), (100, 90), None) for seed in (0, 1))
    fresh = [CompactBackend(copy.deepcopy(backend.model), backend.device, backend.dtype) for _ in range(4)]
    n_computed, encode = [0], backend.model.cellfinder.encode

    def counted(*arguments):
        n_computed[0] += 1
        return encode(*arguments)

    monkeypatch.setattr(backend.model.cellfinder, "encode", counted)
    for n, (features, alone) in enumerate(zip((one, one, other, one), fresh, strict=True)):
        click = prompt([[20 + 5 * n, 30]])
        [answer], [expected] = backend.decode(features, [click]), alone.decode(features, [click])
        np.testing.assert_array_equal(answer.logits, expected.logits)
    assert n_computed == [2] and len(backend._seen) == 2
    del one, other, features
    assert len(backend._seen) == 0


def test_no_prompts_give_no_answers(backend):
    assert backend.decode(backend.encode(noise(3, 32, 32), (32, 32), None), []) == []


def test_a_previous_answer_is_refined_in_its_own_window(backend):
    features = backend.encode(noise(3, 100, 90), (100, 90), None)
    first = backend.decode(features, [SEVERAL[0]])[0]
    assert first.logits.shape == (backend.grid_side,) * 2
    logits = np.minimum(first.logits, -1)  # it ends inside its window
    again = backend.decode(features, [prompt([[20, 30]], logits=logits, window=first.window)])[0]
    assert np.allclose(again.window, first.window) and not np.allclose(again.logits, first.logits)


def test_a_click_outside_of_the_window_makes_room_for_itself(backend):
    features = backend.encode(noise(3, 100, 90), (100, 90), None)
    first = backend.decode(features, [prompt([[20, 30]])])[0]
    far = float(first.window[2]) + 12
    again = backend.decode(features, [prompt([[20, 30], [far, 30]], logits=first.logits, window=first.window)])[0]
    assert again.window[0] <= first.window[0] + 1e-3 and again.window[2] > far


def test_an_outline_of_any_resolution_can_be_corrected(backend):
    features = backend.encode(noise(3, 100, 90), (100, 90), None)
    window = np.array([10, 20, 50, 60], np.float32)
    disc = np.hypot(*(np.indices((80, 80)) - 39.5)) < 25
    fine = np.where(disc, 4, -4).astype(np.float32)
    coarse = fine.reshape(16, 5, 16, 5).mean((1, 3))
    a, b = (backend.decode(features, [prompt([[20, 30]], logits=x, window=window)])[0] for x in (fine, coarse))
    assert np.allclose(a.window, window) and np.allclose(a.logits, b.logits, atol=1e-4)


def test_half_precision_agrees_nearly(backend):
    half = CompactBackend(copy.deepcopy(backend.model), torch.device("cpu"), torch.bfloat16)
    picture = noise(3, 96, 96)
    full, rough = (b.embedding(b.encode(picture, (96, 96), None)) for b in (backend, half))
    assert rough.dtype == np.float32
    assert 0 < np.linalg.norm(full - rough) / np.linalg.norm(full) < 0.05


IMAGES = {
    "constant": np.full((80, 90), 7, np.uint8),
    "zero": np.zeros((80, 90), np.uint16),
    "one pixel wide": noise(70, 1),
    "one pixel high": noise(1, 300),
    "one pixel": np.ones((1, 1)),
    "tiny": noise(3, 3),
    "NaN": np.where(noise(80, 90) < 0.1, np.nan, noise(80, 90, seed=1)),
    "all NaN": np.full((20, 20), np.nan),
    "infinite": np.where(noise(80, 90) < 0.01, np.inf, noise(80, 90, seed=1)),
    "bool": noise(80, 90) > 0.5,
    "negative": noise(80, 90) - 5,
    "huge numbers": noise(40, 40).astype(np.float64) * 1e300,
    "two channels": noise(60, 60, 2),
    "colour": (noise(60, 60, 3) * 255).astype(np.uint8),
    "larger than the field": noise(200, 300),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("name", IMAGES)
def test_every_image_gives_a_segmentation(backend, name):
    model = Model(backend, "random")
    image = Image.from_array(IMAGES[name])
    result = model.segment(image, SegmentOptions(box_score=0.3, min_predicted_iou=0.0, min_area=0))
    assert result.labels.shape == image.shape and result.labels.max() == result.n_cells
    assert len(result.boxes) == len(result.scores) == len(result.predicted_iou) == result.n_cells
    mask = model.segment_prompts(image, [Prompt(inside=[(0, 0)])], logits=True)[0]
    assert mask.full(image.shape).shape == image.shape and np.isfinite(mask.logits).all()


def test_options_that_are_left_open_are_the_models_own(backend):
    assert None not in vars(backend.defaults).values()


def encoded(tiny_compact, dtype):
    made = CompactBackend(tiny_compact, torch.device("cpu"), dtype)
    return made, made.encode(noise(3, 100, 70), (100, 70), None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_features_answer_to_the_bit(tiny_compact, dtype):
    made, features = encoded(tiny_compact, dtype)
    arrays = made.pack(features)
    half = np.float32 if dtype == torch.float32 else np.float16
    assert {array.dtype for array in arrays.values()} == {np.dtype(half), np.dtype(np.float32)}
    again = made.unpack(arrays)
    for part, other in zip((*features.features, *features.maps), (*again.features, *again.maps), strict=True):
        assert part.dtype == other.dtype
        assert torch.equal(part, other)
    for one, other in zip(made.decode(features, SEVERAL), made.decode(again, SEVERAL), strict=True):
        assert np.array_equal(one.logits, other.logits)
        assert one.predicted_iou == other.predicted_iou
    for one, other in zip(made.detect(features), made.detect(again), strict=True):
        assert np.array_equal(one, other)
    assert made.n_bytes(again) == made.n_bytes(features)


def test_numbers_too_large_for_half_precision_are_packed_whole(tiny_compact):
    made, features = encoded(tiny_compact, torch.bfloat16)
    with torch.inference_mode():
        features.features.fine[0, 0, 0, 0] = 1e30
    arrays = made.pack(features)
    assert (arrays["fine"].dtype, arrays["wide"].dtype) == (np.float32, np.float16)
    again = made.unpack(arrays)
    assert torch.equal(again.features.fine, features.features.fine)
    assert again.features.fine.dtype == torch.bfloat16


def test_features_of_another_precision_are_taken_into_one_s_own(tiny_compact, tiny_config):
    half, features = encoded(tiny_compact, torch.bfloat16)
    whole = CompactBackend(type(tiny_compact)(tiny_config), torch.device("cpu"), torch.float32)
    again = whole.unpack(half.pack(features))
    assert {part.dtype for part in (*again.features, *again.maps)} == {torch.float32}
    assert len(whole.decode(again, SEVERAL)) == len(SEVERAL)


@pytest.mark.parametrize(
    "change",
    [
        {"wide": None},
        {"more": np.zeros(1, np.float32)},
        {"wide": np.zeros(4, np.float32)},
        {"wide": np.zeros((1, 32, 0, 0), np.float32)},
        {"fine": np.zeros((1, 16, 8, 8), np.float32)},
        {"embedding": np.zeros((1, 31, 16, 12), np.float32)},
        {"extent": np.zeros((2, 4, 32, 24), np.float32)},
    ],
    ids=["missing", "more", "axes", "empty", "other size", "other channels", "two pictures"],
)
def test_arrays_that_are_no_features_of_this_model_are_refused(backend, change):
    arrays = {**backend.pack(backend.encode(noise(3, 100, 70), (100, 70), None)), **change}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    assert backend.unpack(arrays) is None
