"""Our values come back as they were; what others send in their place is refused."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellsam.errors import ChannelError, ImageShapeError, LimitExceededError, MessageError, PromptError
from napari_cellsam.service import convert
from napari_cellsam.service.arrays import pack
from napari_cellsam.service.messages import ArrayData, BitsData, BoxesFound, LogitsData, PromptData, PutImage
from napari_cellsam.types import Cell, Detections, Image, LowResLogits, Mask, Prompt

SHAPE = (30, 40)
RAMP = np.arange(16, dtype=np.float32).reshape(4, 4)
LOGITS = LowResLogits(RAMP, (-2.5, 1.0, 9.0, 12.25))
SMALL = Mask(np.eye(3, dtype=bool), (27, 37), 0.75, np.arange(9, dtype=np.uint8).reshape(3, 3), LOGITS)
DATA = convert.mask_data(SMALL)


def changed(message, **fields):
    return msgspec.structs.replace(message, **fields)


def over_the_wire(message):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=type(message))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_image_comes_back_with_the_same_name(dtype, compress):
    pixels = np.random.default_rng(0).uniform(0, 200, (5, 7, 3)).astype(dtype)
    for roles in ({"nuclear": 0, "cell": 2}, {"cell": 1}, {"rgb": True}):
        image = Image(pixels, **roles)
        back = convert.image_of(over_the_wire(convert.image_data(image, compress=compress)))
        assert back.image_id == image.image_id
        assert (back.nuclear, back.cell, back.rgb) == (image.nuclear, image.cell, image.rgb)
        assert np.array_equal(back.pixels, pixels)


def test_the_name_of_an_image_goes_with_its_shape():
    image = Image.from_array(np.zeros(SHAPE, np.uint8))
    ref = convert.ref_of(image)
    assert (ref.image_id, ref.shape) == (image.image_id, SHAPE)


def image_request(shape=(4, 5, 2), dtype="uint8", **fields):
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    return PutImage(pixels=ArrayData(dtype=dtype, shape=shape, data=bytes(n_bytes)), **{"cell": 0, **fields})


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (image_request(dtype="float16"), MessageError),
        (image_request(dtype="int32"), MessageError),
        (image_request((4, 5)), MessageError),
        (image_request((4, 5, 1, 1)), MessageError),
        (image_request((0, 5, 1)), ImageShapeError),
        (image_request((4, 5, 0)), ImageShapeError),
        (image_request(cell=2), ChannelError),
        (image_request(nuclear=-1), ChannelError),
        (image_request(nuclear=2**63), ChannelError),
        (image_request(cell=None), ChannelError),
        (image_request(rgb=True), ChannelError),
        (PutImage(pixels=pack(np.full((1, 1, 1), np.nan, np.float32)), cell=0), MessageError),
        (PutImage(pixels=ArrayData(dtype="uint8", shape=(-2, -2, 1), data=b"abcd"), cell=0), MessageError),
        (PutImage(pixels=ArrayData(dtype="uint8", shape=(), data=b"a"), cell=0), MessageError),
    ],
)
def test_what_is_no_image_is_refused(request_, error):
    with pytest.raises(error):
        convert.image_of(request_)


def test_an_image_with_too_many_pixels_is_refused_whatever_its_channels():
    assert convert.image_of(image_request((4, 5, 9)), 20).shape == (4, 5)
    with pytest.raises(LimitExceededError, match=r"20 pixels; this service takes 19\. Crop"):
        convert.image_of(image_request(), 19)


def test_an_image_of_too_many_bytes_is_refused_before_it_is_decompressed():
    assert convert.image_of(image_request(), 20, 40).shape == (4, 5)
    with pytest.raises(LimitExceededError, match=r"at most 39 are taken here\. Crop the image"):
        convert.image_of(image_request(), 20, 39)
    bomb = ArrayData(dtype="uint8", shape=(4, 5, 10**8), data=b"not looked at", compression="zstd")
    with pytest.raises(LimitExceededError):
        convert.image_of(PutImage(pixels=bomb, cell=0), 20, 10**6)


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(inside=[(3.25, 4)]),
        Prompt(inside=[(3, 4), (5, 6)], outside=[(-1, 100)]),
        Prompt(box=(1, 2.5, 8, 9)),
        Prompt(box=(1, 1, 1, 1), outside=[(0, 0)]),
        Prompt(mask_logits=LOGITS),
        Prompt(inside=[(3, 4)], outside=[(5, 6)], box=(0, 0, 9, 9), mask_logits=LOGITS),
    ],
)
def test_a_prompt_comes_back_as_it_was(prompt):
    back = convert.prompt_of(over_the_wire(convert.prompt_data(prompt)))
    assert np.array_equal(back.inside_yx, prompt.inside_yx)
    assert np.array_equal(back.outside_yx, prompt.outside_yx)
    assert (back.box is None) == (prompt.box is None)
    assert prompt.box is None or np.array_equal(back.box_yxyx, prompt.box_yxyx)
    assert (back.mask_logits is None) == (prompt.mask_logits is None)
    if prompt.mask_logits is not None:
        assert back.mask_logits.window == LOGITS.window
        assert np.array_equal(back.mask_logits.values, RAMP)


def points(array, dtype=np.float32):
    return PromptData(inside=pack(np.asarray(array, dtype)))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (PromptData(), PromptError),
        (PromptData(outside=pack(np.zeros((1, 2), np.float32))), PromptError),
        (points(np.zeros((0, 2))), PromptError),
        (points([[1, 2, 3]]), PromptError),
        (points([[1, np.nan]]), PromptError),
        (points([[np.inf, 1]]), PromptError),
        (points([1, 2]), MessageError),
        (points([[1, 2]], np.int32), MessageError),
        (PromptData(inside=pack(np.zeros((1, 2), np.float32), compress=True)), MessageError),
        (points(np.zeros((100_001, 2))), LimitExceededError),
        (PromptData(box=(0, 0, math.nan, 1)), PromptError),
        (PromptData(box=(0, 0, 1e300, 1)), PromptError),
        (PromptData(box=(5, 0, 1, 1)), PromptError),
    ],
)
def test_what_is_no_prompt_is_refused(data, error):
    with pytest.raises(error):
        convert.prompt_of(data)


@pytest.mark.parametrize(
    "window",
    [(0, 0, 0, 1), (0, 5, 1, 4), (0, 0, math.inf, 1), (math.nan, 0, 1, 1), (-1e308, 0, 1e308, 1), (0, 0, 5e-324, 1)],
)
def test_logits_that_cover_no_area_are_refused(window):
    data = PromptData(previous=LogitsData(values=pack(RAMP), window=window))
    with pytest.raises(MessageError, match="expected an area"):
        convert.prompt_of(data)


@pytest.mark.parametrize(
    "values",
    [
        pack(np.zeros((0, 4), np.float32)),
        pack(np.zeros(4, np.float32)),
        pack(np.full((2, 2), np.nan, np.float32)),
        pack(np.zeros((2, 2), np.uint8)),
        pack(np.zeros((2, 2), np.float32), compress=True),
    ],
)
def test_values_that_are_no_logits_are_refused(values):
    with pytest.raises(MessageError):
        convert.prompt_of(PromptData(previous=LogitsData(values=values, window=(0, 0, 1, 1))))


def test_logits_larger_than_any_decoders_are_refused():
    values = ArrayData(dtype="float32", shape=(1025, 1024), data=b"")
    with pytest.raises(LimitExceededError):
        convert.prompt_of(PromptData(previous=LogitsData(values=values, window=(0, 0, 1, 1))))


def test_logits_of_half_precision_are_taken():
    data = PromptData(previous=LogitsData(values=pack(RAMP.astype(np.float16)), window=(0, 0, 1, 1)))
    logits = convert.prompt_of(data).mask_logits
    assert logits.values.dtype == np.float32
    assert np.array_equal(logits.values, RAMP)


def check_same(back, mask):
    assert (back.corner, back.score) == (mask.corner, mask.score)
    assert np.array_equal(back.crop, mask.crop) and back.crop.dtype == bool
    assert (back.probability is None) == (mask.probability is None)
    assert mask.probability is None or np.array_equal(back.probability, mask.probability)
    assert (back.low_res is None) == (mask.low_res is None)
    assert mask.low_res is None or np.array_equal(back.low_res.values, mask.low_res.values)


@pytest.mark.parametrize(
    "mask",
    [
        SMALL,
        Mask(np.ones(SHAPE, bool), (0, 0), 1.0),
        Mask(np.zeros((0, 0), bool), (5, 6), 0.0),
        Mask(np.zeros((0, 0), bool), (30, 40), 0.5, None, LOGITS),
        Mask(np.zeros((0, 0), bool), (45, 0), 0.5, np.zeros((0, 0), np.uint8)),
    ],
)
def test_a_mask_comes_back_as_it_was(mask):
    check_same(convert.mask_of(over_the_wire(convert.mask_data(mask)), SHAPE), mask)


@given(st.tuples(st.integers(1, 30), st.integers(1, 40)), st.integers(0, 29), st.integers(0, 39), st.integers(0, 2**31))
def test_any_mask_within_the_image_comes_back_as_it_was(shape, y, x, seed):
    crop = np.random.default_rng(seed).random(shape)[: 30 - y, : 40 - x] < 0.5
    mask = Mask(crop, (y, x), 0.5)
    check_same(convert.mask_of(over_the_wire(convert.mask_data(mask)), SHAPE), mask)


def test_numbers_of_numpy_can_be_sent():
    mask = Mask(np.ones((2, 2), bool), (np.int64(3), np.int32(4)), np.float32(0.5))
    check_same(convert.mask_of(over_the_wire(convert.mask_data(mask)), SHAPE), Mask(mask.crop, (3, 4), 0.5))


@pytest.mark.parametrize(
    "fields",
    [
        {"corner": (28, 37)},
        {"corner": (27, 38)},
        {"corner": (-1, 0)},
        {"corner": (0, -1)},
        {"corner": (2**63, 0)},
        {"corner": (25, 0), "crop": BitsData(shape=(6, 0), data=b""), "probability": None},
        {"score": -0.1},
        {"score": 1.1},
        {"score": math.nan},
        {"crop": BitsData(shape=(3, 3), data=b"a")},
        {"crop": BitsData(shape=(-3, -3), data=b"ab")},
        {"crop": BitsData(shape=(0, 2**62), data=b"")},
        {"crop": BitsData(shape=(2**32, 2**32), data=b"ab")},
        {"probability": pack(np.zeros((3, 2), np.uint8))},
        {"probability": pack(np.zeros((3, 3), np.float32))},
        {"probability": pack(np.zeros(9, np.uint8))},
        {"probability": pack(np.zeros((3, 3), np.uint8), compress=True)},
        {"low_res": LogitsData(values=pack(RAMP), window=(0, 0, 0, 0))},
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(fields):
    with pytest.raises(MessageError):
        convert.mask_of(changed(DATA, **fields), SHAPE)


def test_an_empty_mask_lies_near_the_image_too():
    empty = convert.mask_data(Mask(np.zeros((0, 0), bool), (0, 0), 0.5))
    for corner in ((-(2**63), 0), (0, 2**63), (-1, 0)):
        with pytest.raises(MessageError, match="beyond the image"):
            convert.mask_of(changed(empty, corner=corner), SHAPE)


def test_probabilities_larger_than_the_mask_are_refused():
    with pytest.raises(LimitExceededError):
        convert.mask_of(changed(DATA, probability=pack(np.zeros((3, 4), np.uint8))), SHAPE)


def test_a_cell_comes_back_without_what_nobody_needs_any_more():
    back = convert.cell_of(over_the_wire(convert.cell_data(Cell(SMALL, 0.9))), SHAPE)
    assert back.score == 0.9
    check_same(back.mask, Mask(SMALL.crop, SMALL.corner, SMALL.score))


@pytest.mark.parametrize("score", [-1e-9, 1.5, math.nan, math.inf])
def test_a_cell_with_an_impossible_score_is_refused(score):
    with pytest.raises(MessageError, match="expected 0 to 1"):
        convert.cell_of(changed(convert.cell_data(Cell(SMALL, 0.9)), score=score), SHAPE)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_detections_come_back_as_they_were(n):
    found = Detections(np.arange(4 * n, dtype=np.float32).reshape(n, 4), np.linspace(1, 0, n, dtype=np.float32))
    back = convert.detections_of(over_the_wire(convert.boxes_found(found)))
    assert np.array_equal(back.boxes, found.boxes) and np.array_equal(back.scores, found.scores)
    assert len(back) == n


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [
        (np.zeros((2, 4)), np.zeros(3)),
        (np.zeros((2, 5)), np.zeros(2)),
        (np.zeros(4), np.zeros(1)),
        (np.zeros((1, 4)), np.zeros((1, 1))),
        (np.full((1, 4), np.nan), np.zeros(1)),
        (np.zeros((1, 4)), np.full(1, np.inf)),
        (np.zeros((1, 4)), np.full(1, 1.5)),
    ],
)
def test_what_are_no_detections_is_refused(boxes, scores):
    data = BoxesFound(boxes=pack(boxes.astype(np.float32)), scores=pack(scores.astype(np.float32)))
    with pytest.raises(MessageError):
        convert.detections_of(data)
