"""Values refuse nonsense when they are made, and say what they want."""

import pickle

import numpy as np
import pytest

from napari_cellsam.errors import ChannelError, ImageNotCachedError, ImageShapeError, OptionError, PromptError
from napari_cellsam.types import AbsentImage, Detections, Image, LowResLogits, Mask, Prompt, SegmentOptions


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5)),
        np.zeros((5, 0, 1)),
        np.zeros((5, 5, 0)),
        np.zeros(7),
        np.zeros((1, 1, 1, 5, 5)),
        np.float64(3),
        np.array([[object()]]),
        np.zeros((4, 4), complex),
        np.array([["a"]]),
        [[1, 2], [3]],
        None,
    ],
    ids=["empty", "no width", "no channels", "1-D", "5-D", "0-D", "objects", "complex", "text", "ragged", "None"],
)
def test_an_array_that_is_no_picture_is_refused(array):
    with pytest.raises(ImageShapeError, match="got"):
        Image.from_array(array)


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        ("uint8", "uint8"),
        ("uint16", "uint16"),
        ("float32", "float32"),
        ("float64", "float32"),
        ("float16", "float32"),
        ("int16", "float32"),
        ("uint32", "float32"),
        ("bool", "float32"),
    ],
)
def test_types_become_one_of_three(stored, kept):
    array = np.array([[0, 1], [1, 0]]).astype(stored)
    image = Image.from_array(array)
    assert image.pixels.dtype == kept
    np.testing.assert_array_equal(image.pixels[:, :, 0], array)


def test_nan_becomes_the_lowest_and_infinity_the_nearest_finite_value():
    image = Image.from_array([[np.nan, np.inf, -np.inf], [-3.0, 0.0, 5.0]])
    assert image.pixels[:, :, 0].tolist() == [[-3, 5, -3], [-3, 0, 5]]


def test_nothing_but_nan_becomes_zeros():
    assert not Image.from_array(np.full((2, 2), np.nan)).pixels.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_a_constant_picture_and_one_a_pixel_wide_are_pictures(shape):
    assert Image.from_array(np.full(shape, 7, np.uint8)).shape == shape


def test_pixels_are_owned_and_never_written():
    array = np.zeros((3, 3), np.uint8)
    image = Image.from_array(array)
    array[0, 0] = 9
    assert image.pixels[0, 0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("shape", "dtype", "roles"),
    [
        ((4, 4), "uint8", (None, 0, False)),
        ((4, 4, 1), "float32", (None, 0, False)),
        ((4, 4, 2), "uint16", (0, 1, False)),
        ((4, 4, 3), "uint8", (None, None, True)),
        ((4, 4, 4), "uint8", (None, None, True)),
    ],
)
def test_roles_are_guessed_from_the_number_of_channels(shape, dtype, roles):
    image = Image.from_array(np.zeros(shape, dtype))
    assert (image.nuclear, image.cell, image.rgb) == roles


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4, 3), "uint16"), ((4, 4, 5), "uint8"), ((4, 4, 9), "float32")])
def test_roles_that_cannot_be_guessed_must_be_told(shape, dtype):
    with pytest.raises(ChannelError, match="say which one is nuclear"):
        Image.from_array(np.zeros(shape, dtype))
    assert Image.from_array(np.zeros(shape, dtype), nuclear=2).nuclear == 2


@pytest.mark.parametrize("roles", [{"nuclear": 2}, {"cell": 2}, {"cell": -1}, {"nuclear": 0, "cell": 5}])
def test_a_channel_that_does_not_exist_is_refused(roles):
    with pytest.raises(ChannelError, match="does not exist; channels are 0 to 1"):
        Image.from_array(np.zeros((4, 4, 2)), **roles)


def test_rgb_needs_three_channels_and_may_be_forbidden():
    with pytest.raises(ChannelError, match="three channels"):
        Image.from_array(np.zeros((4, 4, 2), np.uint8), rgb=True)
    with pytest.raises(ChannelError, match="say which"):
        Image.from_array(np.zeros((4, 4, 3), np.uint8), rgb=False)


@pytest.mark.parametrize(
    ("pixels", "error"),
    [
        (np.zeros((4, 4), np.uint8), ImageShapeError),
        (np.zeros((4, 4, 1), np.int32), ImageShapeError),
        (np.zeros((4, 0, 1), np.uint8), ImageShapeError),
        (np.zeros((4, 4, 1), np.uint8), ChannelError),
    ],
)
def test_an_image_made_without_conversion_is_checked_too(pixels, error):
    with pytest.raises(error):
        Image(pixels)


def test_the_name_of_an_image_follows_its_content_and_roles():
    array = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    one = Image.from_array(array)
    assert one.image_id == Image.from_array(array.copy(), pixel_size_um=(1.0, 1.0)).image_id
    others = [
        Image.from_array(array + 1),
        Image.from_array(array.reshape(3, 2, 2)),
        Image.from_array(array.astype(np.uint16)),
        Image.from_array(array, nuclear=1, cell=0),
    ]
    assert len({one.image_id, *(image.image_id for image in others)}) == 5


def test_one_point_is_a_list_of_one_point():
    prompt = Prompt(inside=(3, 4), outside=[(1, 2), (5, 6)], box=(0, 1, 2, 3))
    assert prompt.inside_yx.tolist() == [[3, 4]]
    assert prompt.outside_yx.tolist() == [[1, 2], [5, 6]]
    assert prompt.box_yxyx.tolist() == [0, 1, 2, 3]
    assert prompt.inside_yx.dtype == prompt.box_yxyx.dtype == np.float32


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"outside": [(1, 2)]},
        {"inside": [(1, 2, 3)]},
        {"inside": [(np.nan, 2)]},
        {"inside": "here"},
        {"inside": [(1, 2)], "outside": [[[1, 2]]]},
        {"box": (1, 2, 3)},
        {"box": (5, 0, 1, 9)},
        {"box": (0, 9, 5, 1)},
        {"box": (0, 0, np.inf, 1)},
        {"box": "abcd"},
    ],
)
def test_what_points_at_nothing_is_no_prompt(prompt):
    with pytest.raises(PromptError):
        Prompt(**prompt)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("box_score", -0.1),
        ("box_score", 1.1),
        ("min_predicted_iou", 2),
        ("looks", 0),
        ("looks", 3),
        ("looks", 1.5),
        ("overlap", 0.8),
        ("overlap", float("nan")),
        ("mask_threshold", 0),
        ("mask_threshold", 1),
        ("min_area", -1),
        ("scaling", "stretch"),
        ("score_rule", "strict"),
        ("diameter", "wide"),
        ("diameter", 0),
        ("diameter", 20_000),
        ("diameter", float("nan")),
    ],
)
def test_an_option_outside_its_range_is_refused_by_name(option, value):
    with pytest.raises(OptionError, match=option):
        SegmentOptions(**{option: value})


def test_options_that_are_left_open_are_filled_from_defaults():
    defaults = SegmentOptions(box_score=0.5, diameter="auto", overlap=0.2)
    options = SegmentOptions(box_score=0.0, min_area=0).with_defaults(defaults)
    assert (options.box_score, options.diameter, options.overlap, options.min_area) == (0.0, "auto", 0.2, 0)


def test_a_mask_is_a_crop_with_a_box_in_the_image():
    mask = Mask(np.array([[0, 1, 0], [0, 1, 1]], bool), (5, 7), 0.9)
    assert mask.area == 3
    assert mask.box == (5, 8, 6, 9)
    assert np.argwhere(mask.full((8, 11))).tolist() == [[5, 8], [6, 8], [6, 9]]
    assert mask.logits is None


def test_an_empty_mask_has_its_corner_for_a_box():
    mask = Mask(np.zeros((0, 0), bool), (5, 7), 0.0)
    assert (mask.area, mask.box) == (0, (5, 7, 5, 7))


def test_detections_are_counted():
    assert len(Detections(np.zeros((3, 4), np.float32), np.ones(3, np.float32))) == 3


@pytest.mark.parametrize("name", ["pixels", "nuclear", "cell", "rgb"])
def test_an_absent_image_says_that_its_pixels_are_needed(name):
    with pytest.raises(ImageNotCachedError, match=r"abcdef of shape \(3, 4\); send it"):
        getattr(AbsentImage("abcdef", (3, 4)), name)


def test_an_absent_image_is_a_value():
    image = AbsentImage("abcdef", (3, 4))
    assert image == pickle.loads(pickle.dumps(image)) == AbsentImage("abcdef", (3, 4))
    assert not hasattr(image, "colour")


@pytest.mark.parametrize("shape", [(0, 4), (3, -1)])
def test_an_absent_image_without_pixels_is_refused(shape):
    with pytest.raises(ImageShapeError, match="no pixels"):
        AbsentImage("abcdef", shape)


def test_an_outline_that_somebody_drew_is_a_mask_to_correct():
    crop = np.zeros((20, 12), bool)
    crop[2:, 3:] = True
    drawn = LowResLogits.of_outline(crop, (100, 50))
    y0, x0, y1, x1 = drawn.window
    assert drawn.values.shape == (y1 - y0, x1 - x0) == (20 + 2 * 9, 12 + 2 * 7)
    assert (y0, x0) == (100 - 9, 50 - 7)
    assert drawn.values.dtype == np.float32 and set(np.unique(drawn.values)) == {-4, 4}
    assert np.array_equal(drawn.values[9:29, 7:19] > 0, crop)
    assert (drawn.values > 0).sum() == crop.sum()


def test_a_large_outline_is_told_more_coarsely():
    crop = np.ones((1001, 400), bool)
    drawn = LowResLogits.of_outline(crop, (0, 0))
    y0, x0, y1, x1 = drawn.window
    assert max(drawn.values.shape) < 300
    step = (y1 - y0) / drawn.values.shape[0]
    assert step == (x1 - x0) / drawn.values.shape[1] == 6
    assert (drawn.values > 0).sum() * step**2 == pytest.approx(crop.sum(), rel=0.02)
    assert y0 < -240 and y1 > 1240 and x0 < -90 and x1 > 490
