"""The engine in steps: cells that are final, requests decoded together, full memory, and images that are elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.test_engine import SEVERAL, DiscBackend, discs, lattice, same_cells

from napari_cellsam.engine import Model
from napari_cellsam.errors import DeviceMemoryError, ImageNotCachedError
from napari_cellsam.models.disk_store import DiskStore
from napari_cellsam.models.feature_store import MemoryStore
from napari_cellsam.models.frame_features import FrameFeatures
from napari_cellsam.models.steps import Advance, Aside, Found, run_steps
from napari_cellsam.types import AbsentImage, Image, Prompt, SegmentOptions

PICTURE = discs((190, 190), SEVERAL)


def steps_of(model, picture, options=None):
    seen = []
    summary = run_steps(model.segment_steps(Image.from_array(picture), options), seen.append)
    return seen, summary


def labels_of(cells, shape):
    """Return a label image of cells, none of which may take a pixel of another."""
    labels = np.zeros(shape, np.uint32)
    for number, cell in enumerate(cells, start=1):
        (y, x), (height, width) = cell.mask.corner, cell.mask.crop.shape
        window = labels[y : y + height, x : x + width]
        assert not window[cell.mask.crop].any()
        window[cell.mask.crop] = number
    return labels


def test_cells_come_while_tiles_are_still_to_look_at():
    seen, _ = steps_of(Model(DiscBackend(side=64), "discs"), PICTURE)
    first = next(i for i, step in enumerate(seen) if isinstance(step, Found))
    last = max(i for i, step in enumerate(seen) if isinstance(step, Advance))
    assert first < last / 2
    assert sum(isinstance(step, Found) for step in seen) > 3


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 139), st.integers(0, 139)), max_size=14),
    st.sampled_from([48, 64, 96]),
    st.sampled_from([0.25, 0.5]),
)
def test_final_cells_are_the_whole_result_and_share_no_pixel(centres, side, overlap):
    picture = discs((140, 140), centres)
    model = Model(DiscBackend(side=side), "discs")
    options = SegmentOptions(overlap=overlap)
    seen, _ = steps_of(model, picture, options)
    cells = [cell for step in seen if isinstance(step, Found) for cell in step.cells]
    labels = labels_of(cells, picture.shape)
    whole = model.segment(picture, options)
    assert np.array_equal(labels, whole.labels)
    assert whole.n_cells == len(cells)
    assert not labels[~ndimage.binary_fill_holes(picture)].any()  # touching discs may leave a hole between them


def test_progress_counts_up_to_all_tiles():
    seen, _ = steps_of(Model(DiscBackend(side=64), "discs"), PICTURE)
    done = [(step.done, step.total) for step in seen if isinstance(step, Advance)]
    assert done == [(i + 1, 16) for i in range(16)]


def test_the_image_is_prepared_aside():
    steps = Model(DiscBackend(), "discs").segment_steps(Image.from_array(PICTURE))
    assert isinstance(next(steps), Aside)
    steps.close()


def test_others_can_go_first_between_encoding_detection_and_every_batch():
    model = Model(DiscBackend(side=300, n_queries=1000), "discs")
    seen, _ = steps_of(model, discs((300, 300), lattice(13)))  # 169 prompts are three batches
    assert seen.count(None) >= 5


def test_closing_the_steps_ends_the_work():
    backend = DiscBackend(side=64)
    steps = Model(backend, "discs").segment_steps(Image.from_array(PICTURE))
    step = next(steps)
    while not isinstance(step, Advance):
        step = steps.send(step.work() if isinstance(step, Aside) else None)
    n_tiles = len(backend.sizes)
    steps.close()
    assert len(backend.sizes) == n_tiles == 1


def test_requests_that_are_answered_together_are_answered_as_if_alone():
    model = Model(DiscBackend(side=64), "discs")
    image = Image.from_array(PICTURE)
    prompts = [Prompt(inside=[centre]) for centre in SEVERAL]
    boxed = [Prompt(box=(y - 7, x - 7, y + 7, x + 7)) for y, x in SEVERAL[:3]]
    asks = [model.ask(prompts[:5]), model.ask(boxed), model.ask(prompts[3:], logits=True), model.ask([])]
    together = run_steps(model.prompt_steps(image, asks))
    assert [len(masks) for masks in together] == [5, 3, 5, 0]
    for ask, masks in zip(asks, together, strict=True):
        alone = run_steps(model.prompt_steps(image, [ask]))[0]
        for one, other in zip(alone, masks, strict=True):
            assert one.corner == other.corner
            assert np.array_equal(one.crop, other.crop)
            assert (one.logits is None) == (other.logits is None) == (not ask.logits)


def test_others_can_go_first_while_prompts_are_placed_and_while_masks_are_pasted():
    def rests(n_prompts):
        backend = DiscBackend(side=300)
        model, rests = Model(backend, "discs"), {"placing": 0, "all": 0}
        ask = model.ask([Prompt(inside=[(20, 20)])] * n_prompts)

        def take(step):
            rests["all"] += step is None
            rests["placing"] += step is None and not backend.sizes

        run_steps(model.prompt_steps(Image.from_array(PICTURE), [ask]), take)
        return rests

    few, many = rests(1), rests(640)
    assert many["placing"] >= few["placing"] + 9
    assert many["all"] >= few["all"] + 4 * 9  # decoding has its own


def test_prompts_of_one_tile_are_decoded_in_one_call():
    class Counting(DiscBackend):
        calls = 0

        def decode(self, features, prompts, *, whole, threshold):
            self.calls += 1
            return super().decode(features, prompts, whole=whole, threshold=threshold)

    backend = Counting(side=300)
    model = Model(backend, "discs")
    asks = [model.ask([Prompt(inside=[centre])]) for centre in SEVERAL]
    run_steps(model.prompt_steps(Image.from_array(PICTURE), asks))
    assert backend.calls == 1


class Small(DiscBackend):
    """A device whose memory holds only so many prompts and pixels."""

    def __init__(self, *, prompts=10**6, pixels=10**9, **options):
        super().__init__(**options)
        self.prompts, self.pixels = prompts, pixels

    def encode(self, prepared, size, shared):
        if size[0] * size[1] > self.pixels:
            raise torch.OutOfMemoryError("encode")
        return super().encode(prepared, size, shared)

    def decode(self, features, prompts, *, whole, threshold):
        if len(prompts) > self.prompts:
            raise torch.OutOfMemoryError("decode")
        return super().decode(features, prompts, whole=whole, threshold=threshold)


def test_full_memory_means_fewer_prompts_at_once_and_the_same_cells():
    picture = discs((190, 190), lattice(8))
    expected = Model(DiscBackend(side=192), "discs").segment(picture)
    found = Model(Small(side=192, prompts=3), "discs").segment(picture)
    assert same_cells(found.labels, expected.labels)
    assert found.n_cells == 64
    assert any("fewer prompts" in note for note in found.notes)


def test_full_memory_means_smaller_tiles_and_the_same_cells():
    expected = Model(DiscBackend(side=192), "discs").segment(PICTURE)
    found = Model(Small(side=192, pixels=130**2), "discs").segment(PICTURE)
    assert same_cells(found.labels, expected.labels)
    assert found.notes == ("the device's memory was full: parts of the image were looked at in quarters",)


def test_memory_too_small_for_the_smallest_step_is_an_error_that_says_what_to_do():
    with pytest.raises(DeviceMemoryError, match="--device cpu"):
        Model(Small(side=192, pixels=100), "discs").segment(PICTURE)
    with pytest.raises(DeviceMemoryError, match="single prompt"):
        Model(Small(side=192, prompts=0), "discs").segment_prompts(PICTURE, [Prompt(inside=[SEVERAL[0]])])
    with pytest.raises(DeviceMemoryError, match="around a prompt"):
        Model(Small(side=192, pixels=100), "discs").segment_prompts(PICTURE, [Prompt(inside=[SEVERAL[0]])])


def test_memory_that_a_squashed_field_does_not_fit_into_is_not_asked_for_again():
    with pytest.raises(DeviceMemoryError):
        Model(Small(side=192, pixels=100, squashes=True), "discs").segment(PICTURE)


def click(model, image, at=SEVERAL[2]):
    return model.segment_prompts(image, [Prompt(inside=[at])])[0]


def stored_model(store):
    backend = DiscBackend(side=64)
    return Model(backend, "discs", weights_id="w", features=FrameFeatures(backend, "w", store)), backend


def test_after_a_restart_a_click_needs_neither_encoder_nor_pixels(tmp_path):
    store = DiskStore(tmp_path, 10**7)
    image = Image.from_array(PICTURE)
    model, _ = stored_model(store)
    mask = click(model, image)
    store.close()
    restarted, backend = stored_model(DiskStore(tmp_path, 10**7))
    [[again]] = run_steps(
        restarted.prompt_steps(AbsentImage(image.image_id, image.shape), [restarted.ask([Prompt(inside=[SEVERAL[2]])])])
    )
    assert np.array_equal(again.crop, mask.crop)
    assert again.corner == mask.corner
    assert backend.sizes == []


def test_what_an_absent_image_needs_pixels_for_is_asked_for():
    model, _ = stored_model(MemoryStore(10**7))
    absent = AbsentImage("a" * 32, (190, 190))
    with pytest.raises(ImageNotCachedError, match="send it"):
        run_steps(model.segment_steps(absent))
    with pytest.raises(ImageNotCachedError):
        run_steps(model.prompt_steps(absent, [model.ask([Prompt(inside=[(3, 4)])])]))


def test_automatic_runs_fill_the_memory_but_not_the_store():
    store = MemoryStore(10**7)
    model, backend = stored_model(store)
    image = Image.from_array(PICTURE)
    model.segment(image)
    assert not store._kept
    n_encoded = len(backend.sizes)
    click(model, image)
    assert len(backend.sizes) <= n_encoded + 1


def test_entries_from_another_machine_answer_prompts_there():
    model, _ = stored_model(MemoryStore(10**7))
    image = Image.from_array(PICTURE)
    ask = model.ask([Prompt(inside=[SEVERAL[2]])])
    entries = run_steps(model.entry_steps(image, ask))
    other, backend = stored_model(MemoryStore(10**7))
    assert other.features.put(entries.items()) == len(entries) == 1
    [[mask]] = run_steps(other.prompt_steps(AbsentImage(image.image_id, image.shape), [ask]))
    assert np.array_equal(mask.crop, click(model, image).crop)
    assert backend.sizes == []


def test_features_of_other_weights_are_not_taken():
    store = MemoryStore(10**7)
    model, _ = stored_model(store)
    image = Image.from_array(PICTURE)
    click(model, image)
    backend = DiscBackend(side=64)
    other = Model(backend, "discs", features=FrameFeatures(backend, "other", store))
    click(other, image)
    assert len(backend.sizes) == 1


def test_a_prefetch_tells_what_was_there_and_spares_the_click_the_encoder():
    model, backend = stored_model(MemoryStore(10**7))
    image = Image.from_array(PICTURE)
    first, second = (run_steps(model.prefetch_steps(image, None, SEVERAL[2])) for _ in range(2))
    assert (first.n_encoded, first.n_cached) == (1, 0)
    assert (second.n_encoded, second.n_cached) == (0, 1)
    click(model, image)
    assert len(backend.sizes) == 1


def test_the_diameter_of_an_image_is_estimated_once_also_after_a_restart():
    store = MemoryStore(10**7)
    options = SegmentOptions(diameter="auto")
    image = Image.from_array(discs((190, 190), lattice(8)))
    model, backend = stored_model(store)
    diameter = model.diameter(image, model.ask([], options).options)
    n_looks = len(backend.sizes)
    assert n_looks > 0
    restarted, backend = stored_model(store)
    assert restarted.diameter(image, model.ask([], options).options) == pytest.approx(diameter, rel=1e-6)
    assert backend.sizes == []
