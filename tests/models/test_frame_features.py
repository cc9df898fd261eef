"""Features are computed once, kept in memory as far as it goes, and stored for prompts alone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellsam.errors import ImageNotCachedError, OptionError
from napari_cellsam.geometry import Frame
from napari_cellsam.models import frame_features
from napari_cellsam.models.disk_store import DiskStore
from napari_cellsam.models.feature_store import MemoryStore
from napari_cellsam.models.frame_features import FrameFeatures, cut_region
from napari_cellsam.models.steps import Aside, run_steps
from napari_cellsam.types import AbsentImage, Image

IMAGE = Image.from_array(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
ABSENT = AbsentImage(IMAGE.image_id, IMAGE.shape)
FRAME, OTHER = Frame((0, 0, 20, 20), (20, 20)), Frame((20, 20, 40, 40), (20, 20))
N_BYTES = 20 * 20 * 4


class ForPrompts(np.ndarray):
    """Features from a store that has all but what a detection needs."""


class SumBackend:
    """Its features are the sums over the channels, and it counts what it computes."""

    def __init__(self, precision="float32", *, detects=True):
        self.precision, self.detects = precision, detects
        self.n_encoded = 0
        self.unusable = False

    def measure(self, prepared):
        return None

    def encode(self, prepared, size, shared):
        self.n_encoded += 1
        return prepared.sum(0)

    def pack(self, features):
        return {"sum": features}

    def unpack(self, arrays):
        return None if self.unusable else arrays["sum"].view(ForPrompts)

    def n_bytes(self, features):
        return features.nbytes

    def detects_from(self, features):
        return self.detects or not isinstance(features, dict | ForPrompts)


def asked(features, image=IMAGE, frame=FRAME, **options):
    return run_steps(features.steps(image, frame, clahe=False, **options))


def test_features_are_computed_once():
    backend = SumBackend()
    features = FrameFeatures(backend)
    first, again = asked(features), asked(features)
    assert first is again
    assert backend.n_encoded == 1
    assert np.array_equal(features.of(IMAGE, FRAME, clahe=False), first)


@pytest.mark.parametrize("change", [{"frame": OTHER}, {"clahe": True}, {"image": Image.from_array(IMAGE.pixels[::-1])}])
def test_other_places_contrasts_and_images_have_features_of_their_own(change):
    backend = SumBackend()
    features = FrameFeatures(backend)
    asked(features)
    run_steps(features.steps(**{"image": IMAGE, "frame": FRAME, "clahe": False, **change}))
    assert backend.n_encoded == 2


def test_memory_holds_the_features_that_were_used_last():
    backend = SumBackend()
    features = FrameFeatures(backend, max_bytes=2 * N_BYTES)
    third = Frame((10, 10, 30, 30), (20, 20))
    for frame in (FRAME, OTHER, FRAME, third):
        asked(features, frame=frame)
    assert backend.n_encoded == 3
    asked(features, frame=FRAME)
    assert backend.n_encoded == 3
    asked(features, frame=OTHER)
    assert backend.n_encoded == 4


def test_features_that_grow_when_they_are_used_are_measured_again():
    class Growing(SumBackend):
        size = N_BYTES

        def n_bytes(self, features):
            return self.size

    backend = Growing()
    features = FrameFeatures(backend, max_bytes=3 * N_BYTES)
    asked(features, frame=FRAME)
    backend.size = 2 * N_BYTES  # an encoder has run since
    asked(features, frame=OTHER)
    assert len(features._encoded) == 1


def test_features_larger_than_the_memory_are_used_all_the_same():
    backend = SumBackend()
    features = FrameFeatures(backend, max_bytes=10)
    assert asked(features).shape == (20, 20)


def test_only_what_is_to_be_kept_is_stored():
    store = MemoryStore(10**6)
    features = FrameFeatures(SumBackend(), "w", store)
    asked(features)
    assert store.get(features.key(IMAGE.image_id, False, FRAME)) is None
    asked(features, frame=OTHER, keep=True)
    assert store.get(features.key(IMAGE.image_id, False, OTHER)) is not None


def test_what_a_run_has_computed_is_stored_when_a_prompt_uses_it():
    store = MemoryStore(10**6)
    features = FrameFeatures(SumBackend(), "w", store)
    asked(features)
    asked(features, keep=True)
    assert store.get(features.key(IMAGE.image_id, False, FRAME)) is not None


def test_features_are_stored_once():
    class Counting(MemoryStore):
        n_put = 0

        def put(self, key, arrays):
            self.n_put += 1
            super().put(key, arrays)

    store = Counting(10**6)
    for _ in range(2):  # the second time they come from the store
        features = FrameFeatures(SumBackend(), "w", store)
        for _ in range(3):
            asked(features, keep=True)
    assert store.n_put == 1


def test_after_a_restart_features_come_from_the_disk_without_pixels(tmp_path):
    store = DiskStore(tmp_path, 10**6)
    first = asked(FrameFeatures(SumBackend(), "w", store), keep=True)
    store.close()
    backend = SumBackend()
    again = asked(FrameFeatures(backend, "w", DiskStore(tmp_path, 10**6)), ABSENT)
    assert np.array_equal(again, first)
    assert backend.n_encoded == 0


def test_a_damaged_file_is_computed_again_and_written_anew(tmp_path):
    store = DiskStore(tmp_path, 10**6)
    first = asked(FrameFeatures(SumBackend(), "w", store), keep=True)
    store.flush()
    [path] = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)
    with pytest.raises(ImageNotCachedError):
        asked(FrameFeatures(SumBackend(), "w", store), ABSENT)
    backend = SumBackend()
    assert np.array_equal(asked(FrameFeatures(backend, "w", store), keep=True), first)
    assert backend.n_encoded == 1
    store.flush()
    assert np.array_equal(asked(FrameFeatures(SumBackend(), "w", store), ABSENT), first)
    store.close()


def test_the_store_is_read_aside():
    features = FrameFeatures(SumBackend(), "w", MemoryStore(10**6))
    assert isinstance(next(features.steps(ABSENT, FRAME, clahe=False)), Aside)


def test_stored_features_that_cannot_be_detected_from_are_computed_again_for_a_detection():
    store = MemoryStore(10**6)
    asked(FrameFeatures(SumBackend(detects=False), "w", store), keep=True)
    backend = SumBackend(detects=False)
    features = FrameFeatures(backend, "w", store)
    asked(features, detecting=False)
    assert backend.n_encoded == 0
    asked(features)
    assert backend.n_encoded == 1


def test_stored_features_that_the_model_cannot_use_are_computed_again(caplog):
    store = MemoryStore(10**6)
    asked(FrameFeatures(SumBackend(), "w", store), keep=True)
    backend = SumBackend()
    backend.unusable = True
    asked(FrameFeatures(backend, "w", store))
    assert backend.n_encoded == 1
    assert "not this model's" in caplog.text


@pytest.mark.parametrize(("weights_id", "precision"), [("v", "float32"), ("w", "bfloat16")])
def test_stored_features_of_other_weights_or_precision_are_no_answer(weights_id, precision):
    store = MemoryStore(10**6)
    asked(FrameFeatures(SumBackend(), "w", store), keep=True)
    backend = SumBackend(precision)
    asked(FrameFeatures(backend, weights_id, store))
    assert backend.n_encoded == 1


def test_a_store_needs_the_name_of_the_weights():
    with pytest.raises(OptionError, match="weights_id"):
        FrameFeatures(SumBackend(), store=MemoryStore(10))


def test_whether_features_are_there_can_be_asked():
    store = MemoryStore(10**6)
    features = FrameFeatures(SumBackend(), "w", store)
    assert not run_steps(features.has_steps(ABSENT, FRAME, clahe=False))
    asked(features, keep=True)
    assert run_steps(features.has_steps(ABSENT, FRAME, clahe=False))
    assert run_steps(FrameFeatures(SumBackend(), "w", store).has_steps(ABSENT, FRAME, clahe=False))
    assert not run_steps(features.has_steps(ABSENT, FRAME, clahe=True))


class TestFromAnotherMachine:
    """Features that another machine has computed are used here, with or without a store."""

    @pytest.fixture
    def entry(self):
        there = FrameFeatures(SumBackend("bfloat16"), "w")
        return there.packed(IMAGE, FRAME, asked(there), clahe=False)

    def test_they_need_neither_pixels_nor_the_same_precision_nor_a_store(self, entry):
        here = FrameFeatures(SumBackend("float32"), "w")
        assert here.put([entry]) == 1
        assert np.array_equal(asked(here, ABSENT), entry[1]["sum"])

    def test_those_of_other_weights_are_never_found(self, entry):
        here = FrameFeatures(SumBackend(), "v")
        here.put([entry])
        with pytest.raises(ImageNotCachedError):
            asked(here, ABSENT)

    def test_they_are_not_written_into_the_store(self, entry):
        store = MemoryStore(10**6)
        here = FrameFeatures(SumBackend("bfloat16"), "w", store)
        here.put([entry])
        asked(here, ABSENT, keep=True)
        assert store.get(entry[0]) is None

    def test_they_are_bounded_by_the_same_memory(self, entry):
        here = FrameFeatures(SumBackend(), "w", max_bytes=10)
        assert here.put([entry]) == 0

    def test_they_can_be_forgotten(self, entry):
        here = FrameFeatures(SumBackend(), "w")
        here.put([entry])
        here.forget()
        with pytest.raises(ImageNotCachedError):
            asked(here, ABSENT)


def test_the_newest_prepared_images_are_kept_within_their_memory(monkeypatch):
    n_prepared = []

    def prepare(image, *, clahe):
        n_prepared.append(image.image_id)
        return np.zeros((3, *image.shape), np.float32)

    monkeypatch.setattr(frame_features, "prepare", prepare)
    monkeypatch.setattr(frame_features, "_PREPARED_BYTES", 2 * 3 * 40 * 40 * 4)
    images = [Image.from_array(IMAGE.pixels[::step]) for step in (1, -1)] + [Image.from_array(IMAGE.pixels[:, ::-1])]
    features = FrameFeatures(SumBackend())
    for i in (0, 1, 0, 2, 0):
        run_steps(features.prepare_steps(images[i], clahe=False))
    assert len(n_prepared) == 3
    run_steps(features.prepare_steps(images[1], clahe=False))
    assert len(n_prepared) == 4


def test_a_run_goes_on_with_its_own_prepared_image_whatever_others_do():
    features = FrameFeatures(SumBackend())
    prepared = run_steps(features.prepare_steps(IMAGE, clahe=False))
    features.forget()
    assert asked(features, ABSENT, prepared=prepared).shape == (20, 20)


def test_an_absent_image_that_was_prepared_needs_no_pixels():
    features = FrameFeatures(SumBackend())
    run_steps(features.prepare_steps(IMAGE, clahe=False))
    assert asked(features, ABSENT, OTHER).shape == (20, 20)


def test_a_region_beyond_the_image_is_blank():
    prepared = np.ones((1, 4, 4), np.float32)
    assert cut_region(prepared, (2, 2, 6, 6)).sum() == 4
    assert cut_region(prepared, (-1, -1, 5, 5)).sum() == 16
    assert cut_region(prepared, (7, 0, 9, 4)).sum() == 0
    assert cut_region(prepared, (1, 1, 3, 3)).base is prepared
