"""Models look at regions that cover the image, and prompts go to a region that shows what lies around them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellsam.data.tiling import Spans
from napari_cellsam.geometry import Frame
from napari_cellsam.models.framing import frame_at, frame_for, frames_of, quarters, squashes, whole_frame, zoom_for
from napari_cellsam.types import Prompt, SegmentOptions

TILES = SegmentOptions(scaling="tiles", diameter="native", overlap=0.25)


def backend(*, side=64, squashed=False):
    return SimpleNamespace(
        side=side, squashes=squashed, half_pixel=True, nominal_diameter=10.0, native_zoom=1.0, stride=1
    )


def covered(frames, shape):
    seen = np.zeros(shape, bool)
    for frame in frames:
        y0, x0, y1, x1 = frame.region
        seen[max(y0, 0) : y1, max(x0, 0) : x1] = True
    return seen.all()


@pytest.mark.parametrize("squashed", [False, True])
@pytest.mark.parametrize("zoom", [0.3, 1.0, 2.7])
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (64, 64), (300, 170)])
def test_frames_cover_the_image_and_go_with_tiles(squashed, zoom, shape):
    frames, tiles = frames_of(backend(squashed=squashed), shape, TILES, zoom)
    assert covered(frames, shape) and len(frames) == len(tiles)
    assert all(f.region[:2] == t.region[:2] for f, t in zip(frames, tiles, strict=True))
    assert all(max(frame.size) <= 64 for frame in frames)


@pytest.mark.parametrize("squashed", [False, True])
def test_frames_keep_the_aspect_ratio(squashed):
    frames, _ = frames_of(backend(squashed=squashed), (100, 33), TILES, 0.8)
    assert all(zoom == pytest.approx(0.8, rel=0.05) for frame in frames for zoom in frame.zoom)


def test_squashing_puts_the_whole_image_into_one_field():
    options = SegmentOptions(scaling="squash")
    frames, tiles = frames_of(backend(squashed=True), (100, 30), options, 1.0)
    assert [frame.region for frame in frames] == [(0, 0, 100, 30)] and frames[0].size == (64, 64)
    assert len(tiles) == 1 and not any(tiles[0].inner)


def test_a_published_model_squashes_what_fits_unless_a_size_is_given():
    published = backend(squashed=True)
    assert squashes(published, (64, 10), SegmentOptions(diameter="native"))
    assert not squashes(published, (65, 10), SegmentOptions(diameter="native"))
    assert not squashes(published, (64, 10), SegmentOptions(diameter=20))
    assert not squashes(backend(), (64, 10), SegmentOptions(diameter="native"))


def test_the_zoom_brings_cells_to_the_nominal_diameter_within_limits():
    assert zoom_for(backend(), 20.0) == 0.5
    assert zoom_for(backend(), None) == 1.0
    assert zoom_for(backend(), 10_000) == 0.1 and zoom_for(backend(), 1) == 4.0


def test_the_whole_frame_shrinks_an_image_but_never_enlarges_it():
    assert whole_frame(backend(), (128, 32)).size == (64, 16)
    assert whole_frame(backend(), (12, 20)).size == (12, 20)
    assert whole_frame(backend(squashed=True), (12, 20)).size == (64, 64)


def test_a_picture_of_fixed_shape_gets_a_square_region():
    assert frame_at(backend(squashed=True), (5, 7, 10, 60), 2.0).region == (5, 7, 37, 39)


places = st.floats(0, 199, width=32)


@given(places, places, st.floats(0, 150), st.floats(0, 150), st.booleans(), st.sampled_from([0.0, 0.25]))
def test_a_box_goes_to_a_frame_that_holds_it(y, x, height, width, squashed, overlap):
    y1, x1 = min(y + height, 199), min(x + width, 199)
    options = SegmentOptions(scaling="tiles", diameter="native", overlap=overlap)
    frame = frame_for(backend(squashed=squashed), (200, 200), Prompt(box=(y, x, y1, x1)), options, 1.0)
    top, left, bottom, right = frame.region
    assert top <= y and left <= x and y1 <= bottom - 1 and x1 <= right - 1
    picture = frame.boxes_to_picture(np.array([[y, x, y1, x1]], np.float32))
    assert picture.min() > -1 and picture.max() < 64


@given(places, places, st.sampled_from([0.0, 0.25, 0.5]))
def test_a_click_has_room_around_it_or_the_end_of_the_image(y, x, overlap):
    options = SegmentOptions(scaling="tiles", diameter="native", overlap=overlap)
    top, left, bottom, right = frame_for(backend(), (200, 200), Prompt(inside=[(y, x)]), options, 1.0).region
    assert y - top >= 10 or top == 0
    assert x - left >= 10 or left == 0
    assert bottom - 1 - y >= 10 or bottom == 200
    assert right - 1 - x >= 10 or right == 200


def test_clicks_of_one_place_share_a_frame():
    clicks = [Prompt(inside=[(y, x)]) for y in (25, 30, 35) for x in (20, 30, 38)]
    assert len({frame_for(backend(), (500, 500), click, TILES, 1.0) for click in clicks}) == 1


def test_a_box_of_another_size_gets_another_zoom():
    small = frame_for(backend(), (500, 500), Prompt(box=(20, 20, 29, 29)), TILES, 1.0)
    large = frame_for(backend(), (500, 500), Prompt(box=(20, 20, 99, 99)), TILES, 1.0)
    assert small.zoom == (1.0, 1.0)
    assert large.zoom == pytest.approx((1 / 8, 1 / 8), rel=0.05)


def test_a_previous_mask_says_where_its_prompt_is():
    shown = SimpleNamespace(window=(300.0, 310.0, 320.0, 330.0), values=np.zeros((4, 4), np.float32))
    y0, x0, y1, x1 = frame_for(backend(), (500, 500), Prompt(mask_logits=shown), TILES, 1.0).region
    assert y0 <= 300 and x0 <= 310 and y1 >= 320 and x1 >= 330


@pytest.mark.parametrize("squashed", [False, True])
@pytest.mark.parametrize("side", [1, 2, 3, 64])
def test_quarters_cover_their_frame_and_overlap(squashed, side):
    frame = Frame((0, 0, side, side), (64, 64) if squashed else (side, side))
    parts = quarters(frame, squashed)
    assert covered(parts, (side, side)) and len(parts) == 4
    assert all(part.zoom >= frame.zoom for part in parts)
    if side > 10:
        assert parts[0].region[2] > parts[2].region[0] + side // 8


def test_tiles_of_a_strided_network_begin_on_whole_strides_and_cover_the_image():
    network = SimpleNamespace(
        side=512, squashes=False, half_pixel=True, nominal_diameter=30.0, native_zoom=1.0, stride=32
    )
    frames, tiles = frames_of(network, (700, 1111), SegmentOptions(overlap=0.25), 1.27)
    seen = np.zeros((700, 1111), bool)
    for frame, tile in zip(frames, tiles, strict=True):
        y0, x0, y1, x1 = tile.region
        seen[y0:y1, x0:x1] = True
        assert (y0 % 25, x0 % 25) == (0, 0)  # 25 pixels of the image are 32 of the picture
        assert max(frame.size) <= 512
    assert seen.all()
    assert len(frames) > 1


def strided(side=512, stride=32, diameter=30.0):
    return SimpleNamespace(
        side=side, squashes=False, half_pixel=True, nominal_diameter=diameter, native_zoom=1.0, stride=stride
    )


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.floats(0.1, 4.0),
    st.sampled_from([0.25, 0.5]),
)
def test_a_click_goes_to_a_frame_of_the_whole_image_s_run(shape, at, zoom, overlap):
    options = SegmentOptions(scaling="tiles", diameter="native", overlap=overlap)
    click = Prompt(inside=[[share * (n - 1) for share, n in zip(at, shape, strict=True)]])
    frames, _ = frames_of(strided(), shape, options, zoom)
    assert frame_for(strided(), shape, click, options, zoom) in frames


@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    st.floats(0.3, 3.0),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([(64, 32), (128, 16), (512, 32)]),
)
def test_a_strided_network_s_frame_holds_the_box_of_its_prompt(shape, at, zoom, overlap, design):
    side, stride = design
    height, width = shape
    ys, xs = sorted(share * (height - 1) for share in at[:2]), sorted(share * (width - 1) for share in at[2:])
    options = SegmentOptions(scaling="tiles", diameter="native", overlap=overlap)
    prompt = Prompt(box=(ys[0], xs[0], ys[1] + 0.01, xs[1] + 0.01))
    frame = frame_for(strided(side, stride), shape, prompt, options, zoom)
    top, left, bottom, right = frame.region
    assert 0 <= top <= ys[0] + 0.01 and ys[1] <= bottom - 1 + 0.02 and bottom <= height
    assert 0 <= left <= xs[0] + 0.01 and xs[1] <= right - 1 + 0.02 and right <= width
    assert max(frame.size) <= side


def test_prompts_without_a_tile_around_them_share_a_frame_on_the_network_s_grid():
    options = SegmentOptions(scaling="tiles", diameter="native", overlap=0.0)
    frames, _ = frames_of(strided(), (2048, 2048), options, 1.0)
    clicks = [Prompt(inside=[(800, 517 + i)]) for i in range(8)]  # the tiles meet at 512
    [frame] = {frame_for(strided(), (2048, 2048), click, options, 1.0) for click in clicks}
    assert frame not in frames
    assert (frame.region[0] % 32, frame.region[1] % 32) == (0, 0)


def span_of_all(spans, low, high, n, longest, room, step):
    """Return the span around an extent by looking at each of all tiles' spans."""

    def gap(span):
        return min(low - span[0] if span[0] > 0 else math.inf, span[1] - 1 - high if span[1] < n else math.inf)

    best = max(spans, key=gap)
    length = max(stop - start for start, stop in spans)
    if gap(best) >= min(room, (length - (high - low)) / 2 - 1):
        return best
    middle = min(max(round((low + high + 1 - longest) / 2), 0), n - longest)
    aligned = min(round(middle / step) * step, (n - longest) // step * step)
    start = aligned if gap((aligned, aligned + longest)) >= 0 else middle
    return start, start + longest


@settings(deadline=None, max_examples=300)
@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.floats(-3, 10), st.floats(-3, 10)),
    st.sampled_from([0.3, 0.5, 1.0, 1.27, 3.0]),
    st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    st.sampled_from([(64, 1), (64, 32), (128, 16), (512, 32)]),
    st.booleans(),
)
def test_the_frame_of_a_prompt_is_the_one_that_all_tiles_give(shape, at, octaves, zoom, overlap, design, whole):
    network, options = strided(*design, diameter=10.0), SegmentOptions(scaling="tiles", overlap=overlap)
    size = [2**octave for octave in octaves]
    y, x = (share * (n - 1) for share, n in zip(at, shape, strict=True))
    if whole:  # pixels, so that two tiles often have equal room
        y, x, size = round(y), round(x), [math.ceil(side) for side in size]
    prompt = Prompt(box=(y, x, y + size[0], x + size[1]))
    y0, x0, y1, x1 = map(float, prompt.box_yxyx)
    frame = frame_for(network, shape, prompt, options, zoom)

    octave = math.log2(max(math.sqrt((y1 - y0 + 1) * (x1 - x0 + 1)), 1.0) * zoom / 10.0)
    own = zoom / 2 ** round(octave) if abs(octave) > 1 else zoom
    own = min(own, network.side / (1.5 * max(y1 - y0 + 1, x1 - x0 + 1)))
    _, tiles = frames_of(network, shape, options, own)
    if network.stride > 1:
        own = network.stride / max(round(network.stride / own), 1)
    step = max(round(network.stride / own), 1)
    longest = max(round(network.side / own) // step * step, 8)
    (top, bottom), (left, right) = (
        span_of_all(sorted({tile.region[axis::2] for tile in tiles}), low, high, n, min(n, longest), 10.0 / own, step)
        for axis, low, high, n in zip((0, 1), (y0, x0), (y1, x1), shape, strict=True)
    )
    assert frame == frame_at(network, (top, left, bottom, right), own)


def test_the_tiles_of_a_huge_image_are_not_all_made_for_a_tiny_prompt(monkeypatch):
    asked, make = [], Spans.__getitem__
    monkeypatch.setattr(Spans, "__getitem__", lambda spans, i: asked.append(i) or make(spans, i))
    monkeypatch.setattr("napari_cellsam.data.tiling.Tile", None)
    frame = frame_for(strided(), (20_000, 20_000), Prompt(box=(9000, 700, 9000, 700.5)), SegmentOptions(), 1.0)
    assert frame.region[0] <= 9000 < frame.region[2] and frame.region[1] <= 700 < frame.region[3]
    assert len(asked) < 100
