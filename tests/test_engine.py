"""The engine on a back end that sees bright discs: tiles, quarters, prompts and what is asked wrongly."""

import numpy as np
import pytest
from scipy import ndimage

from napari_cellsam.engine import Model
from napari_cellsam.errors import ChannelError, ImageShapeError, OptionError, PromptError, UnsupportedTaskError
from napari_cellsam.models.backend import Decoded
from napari_cellsam.models.frame_features import FrameFeatures
from napari_cellsam.types import Image, Prompt, SegmentOptions


class DiscBackend:
    """Takes everything brighter than half for cells; as many at once as it has queries."""

    half_pixel = True
    native_zoom = 1.0
    stride = 1
    nominal_diameter = 16.0
    repeats = False

    def __init__(self, *, side=96, squashes=False, n_queries=1000, can_detect=True):
        self.side, self.squashes, self.n_queries, self.can_detect = side, squashes, n_queries, can_detect
        self.defaults = SegmentOptions(
            box_score=0.5,
            score_rule="fixed",
            diameter="native",
            scaling="tiles",
            clahe=False,
            min_predicted_iou=0.2,
            min_area=0,
            overlap=0.25,
        )
        self.sizes = []

    precision = "float32"

    def pack(self, features):
        return {"labels": features.astype(np.float32)}

    def unpack(self, arrays):
        return arrays["labels"].astype(np.int32)

    def n_bytes(self, features):
        return features.nbytes

    def detects_from(self, features):
        return True

    def measure(self, prepared):
        return prepared.shape

    def encode(self, prepared, size, shared):
        self.sizes.append(size)
        rows, columns = (np.arange(n) * m // n for n, m in zip(size, prepared.shape[1:], strict=True))
        return ndimage.label(prepared[2][rows][:, columns] > 0.5)[0]

    def embedding(self, features):
        return np.broadcast_to(features.astype(np.float32), (256, *features.shape))

    def detect(self, features):
        found = ndimage.find_objects(features)[: self.n_queries]
        boxes = [(x.start, y.start, x.stop - 1, y.stop - 1) for y, x in found]
        return np.array(boxes, np.float32).reshape(-1, 4), np.linspace(0.9, 0.6, len(boxes), dtype=np.float32)

    def score_cut(self, scores, options):
        return options.box_score

    outlined_from = score_cut

    def cell_score(self, score, predicted_iou, options):
        return score

    def decode(self, features, prompts, *, whole, threshold):
        return [self._decode(features, prompt) for prompt in prompts]

    def _decode(self, features, prompt):
        height, width = features.shape
        if prompt.box is None:
            x, y = np.rint(prompt.inside[0]).astype(int)
        else:
            x, y = np.rint((prompt.box[:2] + prompt.box[2:]) / 2).astype(int)
        number = features[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
        logits = np.where((features == number) & (number > 0), 8.0, -8.0).astype(np.float32)
        return Decoded(logits, np.array([0, 0, width, height], np.float32), 0.9)


def discs(shape, centres, radius=7):
    y, x = np.indices(shape)
    picture = np.zeros(shape, np.uint8)
    for cy, cx in centres:
        picture[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = 200
    return picture


def lattice(n, step=22):
    return [(12 + step * i, 12 + step * j) for i in range(n) for j in range(n)]


def same_cells(one, other):
    """Whether two label images show the same cells, whatever their numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(other))


SEVERAL = [(20, 20), (20, 60), (48, 48), (88, 90), (93, 30), (150, 72), (120, 150), (170, 170)]


def test_every_disc_becomes_a_cell():
    picture = discs((90, 90), [(20, 20), (50, 60)])
    result = Model(DiscBackend(), "discs").segment(picture)
    assert np.array_equal(result.labels > 0, picture > 0)
    assert result.n_cells == 2
    assert result.boxes.tolist() == [[13, 13, 27, 27], [43, 53, 57, 67]]
    assert result.scores.tolist() == pytest.approx([0.9, 0.6])
    assert result.predicted_iou.tolist() == pytest.approx([0.9, 0.9])
    assert result.labels.dtype == np.uint32


@pytest.mark.parametrize("squashes", [False, True])
def test_many_tiles_show_the_same_cells_as_one(squashes):
    picture = discs((190, 190), SEVERAL)
    one = Model(DiscBackend(side=192, squashes=squashes), "discs").segment(picture)
    backend = DiscBackend(side=64, squashes=squashes)
    many = Model(backend, "discs").segment(picture)
    assert len(backend.sizes) == 16
    assert one.n_cells == len(SEVERAL) and same_cells(one.labels, many.labels)
    assert np.array_equal(one.labels > 0, picture > 0)


@pytest.mark.parametrize("side", [64, 192])
def test_two_looks_show_the_same_cells_and_each_part_is_seen_twice(side):
    picture = discs((190, 190), SEVERAL)
    once, twice = (DiscBackend(side=side) for _ in range(2))
    one = Model(once, "discs").segment(picture, SegmentOptions(looks=1))
    two = Model(twice, "discs").segment(picture, SegmentOptions(looks=2, box_score=0.3))
    assert len(twice.sizes) == 2 * len(once.sizes)
    assert same_cells(one.labels, two.labels)


def test_what_only_one_look_shows_is_half_as_sure():
    picture = discs((90, 90), [(20, 20), (50, 60)])
    backend, seen = DiscBackend(), []

    def detect(features):
        seen.append(features)
        boxes, scores = DiscBackend.detect(backend, features)
        return (boxes, scores) if len(seen) == 1 else (boxes[:1], scores[:1])  # the lower disc comes first when turned

    backend.detect = detect
    result = Model(backend, "discs").segment(picture, SegmentOptions(looks=2, box_score=0.2))
    assert result.boxes.tolist() == [[43, 53, 57, 67], [13, 13, 27, 27]]
    assert result.scores.tolist() == pytest.approx([0.75, 0.45])


def test_a_blank_image_gives_an_empty_result():
    result = Model(DiscBackend(), "discs").segment(np.zeros((40, 50), np.uint8))
    assert result.n_cells == 0 and result.labels.shape == (40, 50) and not result.labels.any()
    assert result.boxes.shape == (0, 4) and result.notes == ()


def test_more_cells_than_queries_are_found_in_quarters_with_a_note():
    picture = discs((96, 96), lattice(4))
    backend = DiscBackend(n_queries=12)
    result = Model(backend, "discs").segment(picture)
    assert result.n_cells == 16 and np.array_equal(result.labels > 0, picture > 0)
    assert len(backend.sizes) == 5
    assert len(result.notes) == 1 and "quarters" in result.notes[0]


def test_two_looks_that_are_both_too_full_are_split_though_they_agree_on_less():
    picture = discs((96, 96), lattice(4))
    backend = DiscBackend(n_queries=12)  # of 16 cells the looks share 8
    result = Model(backend, "discs").segment(picture, SegmentOptions(looks=2))
    assert result.n_cells == 16 and np.array_equal(result.labels > 0, picture > 0)
    assert len(result.notes) == 1 and "quarters" in result.notes[0]


@pytest.mark.parametrize("squashes", [False, True])
def test_quartering_ends_and_says_that_cells_may_be_missing(squashes):
    backend = DiscBackend(n_queries=1, squashes=squashes)
    result = Model(backend, "discs").segment(discs((96, 96), lattice(4)))
    assert len(backend.sizes) <= 1 + 4 + 16
    assert len(result.notes) == 2 and "still held more" in result.notes[1]


def test_progress_is_told_tile_by_tile():
    told = []
    Model(DiscBackend(side=64), "discs").segment(
        discs((100, 64), [(20, 20)]), on_progress=lambda done, of: told.append((done, of))
    )
    assert told == [(1, 2), (2, 2)]


def test_a_diameter_scales_the_picture():
    backend = DiscBackend()
    result = Model(backend, "discs").segment(discs((90, 90), [(44, 44)], radius=16), SegmentOptions(diameter=32))
    assert backend.sizes == [(45, 45)] and result.diameter == 32
    assert result.n_cells == 1 and result.labels.astype(bool).sum() == pytest.approx(16**2 * np.pi, rel=0.05)


def test_the_diameter_is_estimated_once_per_image():
    backend = DiscBackend()
    model = Model(backend, "discs")
    picture = discs((90, 90), [(44, 44)], radius=16)
    first = model.segment(picture, SegmentOptions(diameter="auto"))
    n_looks = len(backend.sizes)
    second = model.segment(picture, SegmentOptions(diameter="auto"))
    assert first.diameter == second.diameter == pytest.approx(33, abs=2)
    assert len(backend.sizes) == n_looks


def test_a_squashed_image_was_not_scaled_by_a_diameter():
    options = SegmentOptions(scaling="squash", diameter=50)
    assert Model(DiscBackend(squashes=True), "discs").segment(discs((50, 90), [(20, 20)]), options).diameter is None


def test_masks_that_the_decoder_doubts_are_dropped():
    picture = discs((90, 90), [(20, 20)])
    assert Model(DiscBackend(), "discs").segment(picture, SegmentOptions(min_predicted_iou=0.95)).n_cells == 0


def test_small_cells_are_dropped():
    picture = discs((90, 90), [(20, 20)])
    assert Model(DiscBackend(), "discs").segment(picture, SegmentOptions(min_area=1000)).n_cells == 0


def test_boxes_with_a_low_score_are_dropped():
    model, picture = Model(DiscBackend(), "discs"), discs((90, 90), [(20, 20), (50, 60)])
    assert model.segment(picture, SegmentOptions(box_score=0.8)).n_cells == 1
    assert len(model.detect(picture, box_score=0.8)) == 1
    assert len(model.detect(picture, box_score=0.0)) == 2


def test_detections_are_in_pixels_of_the_image():
    found = Model(DiscBackend(side=48), "discs").detect(discs((96, 96), [(20, 40)]))
    assert found.boxes[0] == pytest.approx([13, 33, 27, 47], abs=1.5)


@pytest.mark.parametrize("side", [64, 256])
def test_prompts_are_answered_in_their_order(side):
    picture = discs((190, 190), SEVERAL)
    order = [5, 0, 7, 2, 1, 6, 4, 3]
    prompts = [Prompt(inside=[SEVERAL[i]]) if i % 2 else Prompt(box=_box(SEVERAL[i])) for i in order]
    masks = Model(DiscBackend(side=side), "discs").segment_prompts(picture, prompts)
    assert [mask.box for mask in masks] == [_box(SEVERAL[i]) for i in order]


def _box(centre, radius=7):
    y, x = centre
    return y - radius, x - radius, y + radius, x + radius


@pytest.mark.parametrize("point", [(1e9, 1e9), (3e38, 3.0)])
def test_a_prompt_that_is_nowhere_near_the_image_is_refused(point):
    with pytest.raises(PromptError, match="expected \\(y, x\\)"):
        Model(DiscBackend(), "discs").segment_prompts(discs((50, 50), []), [Prompt(inside=[point])])


def test_no_prompts_give_no_masks():
    assert Model(DiscBackend(), "discs").segment_prompts(discs((50, 50), []), []) == []


def test_a_prompt_on_nothing_gives_an_empty_mask():
    mask = Model(DiscBackend(), "discs").segment_prompts(discs((50, 50), [(10, 10)]), [Prompt(inside=[(40, 40)])])[0]
    assert mask.area == 0


def test_logits_come_on_request_only():
    model, picture = Model(DiscBackend(), "discs"), discs((50, 50), [(20, 20)])
    with_logits, without = (
        model.segment_prompts(picture, [Prompt(inside=[(20, 20)])], logits=asked)[0] for asked in (True, False)
    )
    assert with_logits.logits.shape == (50, 50) and without.logits is None
    again = model.segment_prompts(picture, [Prompt(inside=[(20, 20)], mask_logits=with_logits.low_res)])[0]
    assert np.array_equal(again.crop, with_logits.crop)


def test_an_embedding_names_its_image_and_model():
    image = Image.from_array(discs((40, 30), [(20, 15)]))
    embedding = Model(DiscBackend(), "discs").embed(image)
    assert embedding.array.shape == (256, 40, 30) and embedding.shape == (40, 30)
    assert (embedding.image_id, embedding.model_id) == (image.image_id, "discs")


def test_a_picture_is_encoded_once():
    backend = DiscBackend()
    model, picture = Model(backend, "discs"), discs((50, 50), [(20, 20)])
    for _ in range(3):
        model.segment(picture)
        model.segment_prompts(picture, [Prompt(inside=[(20, 20)])])
    assert len(backend.sizes) == 1
    model.forget()
    model.segment(picture)
    assert len(backend.sizes) == 2


def test_tiles_are_kept_in_memory_as_far_as_it_goes():
    backend = DiscBackend(side=32)
    model = Model(backend, "discs", features=FrameFeatures(backend, max_bytes=10 * 32 * 32 * 4))
    model.segment(discs((190, 190), SEVERAL))
    n_tiles = len(backend.sizes)
    model.segment(discs((190, 190), SEVERAL))
    assert n_tiles > 50 and len(backend.sizes) == 2 * n_tiles
    roomy = Model(backend, "discs")
    roomy.segment(discs((190, 190), SEVERAL))
    roomy.segment(discs((190, 190), SEVERAL))
    assert len(backend.sizes) == 3 * n_tiles


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_a_model_without_detector_says_so(task):
    with pytest.raises(UnsupportedTaskError, match="cannot find cells by itself"):
        getattr(Model(DiscBackend(can_detect=False), "sam"), task)(discs((50, 50), []))


def test_a_model_without_detector_answers_prompts():
    picture = discs((50, 50), [(20, 20)])
    options = SegmentOptions(diameter="auto")
    mask = Model(DiscBackend(can_detect=False), "sam").segment_prompts(picture, [Prompt(inside=[(20, 20)])], options)[0]
    assert mask.box == (13, 13, 27, 27)


@pytest.mark.parametrize(
    "wrong",
    [
        {"box_score": 1.5},
        {"box_score": -0.1},
        {"overlap": 0.9},
        {"mask_threshold": 0.0},
        {"min_area": -1},
        {"diameter": 0},
        {"diameter": float("nan")},
        {"diameter": "huge"},
        {"scaling": "zoom"},
        {"score_rule": "best"},
    ],
)
def test_an_option_outside_its_range_is_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Model(DiscBackend(), "discs").segment(discs((20, 20), []), SegmentOptions(**wrong))


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((0, 5)), ImageShapeError),
        (np.zeros(5), ImageShapeError),
        (np.zeros((1, 1, 1, 5, 5)), ImageShapeError),
        (np.zeros((5, 5), complex), ImageShapeError),
        (np.full((5, 5), None), ImageShapeError),
        (np.zeros((5, 5, 0)), ImageShapeError),
        (np.zeros((5, 5, 7)), ChannelError),
    ],
)
def test_an_array_that_is_no_image_is_refused(array, error):
    with pytest.raises(error):
        Model(DiscBackend(), "discs").segment(array)
