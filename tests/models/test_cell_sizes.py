"""The cells' size of an image is looked for once, and known after a restart."""

from __future__ import annotations

import numpy as np
import pytest
from tests.test_engine import DiscBackend, discs, lattice

from napari_cellsam.errors import ImageNotCachedError
from napari_cellsam.models import cell_sizes
from napari_cellsam.models.backend import Decoded
from napari_cellsam.models.cell_sizes import CellSizes
from napari_cellsam.models.feature_store import MemoryStore
from napari_cellsam.models.frame_features import FrameFeatures
from napari_cellsam.models.steps import run_steps
from napari_cellsam.types import AbsentImage, Image, SegmentOptions

IMAGE = Image.from_array(discs((150, 150), lattice(6)))
EMPTY = Image.from_array(np.zeros((150, 150), np.uint8))
AUTO = SegmentOptions(diameter="auto", scaling="tiles")


def sizes(store=None):
    backend = DiscBackend(side=150)
    return CellSizes(backend, FrameFeatures(backend, "w", store)), backend


def absent(image):
    return AbsentImage(image.image_id, image.shape)


@pytest.mark.parametrize("image", [IMAGE, EMPTY], ids=["cells", "empty"])
def test_a_size_is_the_same_after_a_restart_and_needs_no_pixels(image):
    store = MemoryStore(10**6)
    first, _ = sizes(store)
    found = run_steps(first.steps(image, AUTO))
    again, backend = sizes(store)
    assert run_steps(again.steps(absent(image), AUTO)) == found
    assert (found is None) == (image is EMPTY)
    assert backend.sizes == []


def test_a_size_that_was_found_otherwise_is_not_used(monkeypatch):
    key_of = {}
    for method in (1, cell_sizes._METHOD):
        monkeypatch.setattr(cell_sizes, "_METHOD", method)
        known, _ = sizes()
        run_steps(known.steps(IMAGE, AUTO))
        key_of[method], _ = known.packed(IMAGE, clahe=False)
    assert len(set(key_of.values())) == 2


def test_a_size_is_looked_for_once():
    known, backend = sizes()
    run_steps(known.steps(IMAGE, AUTO))
    n_encoded = len(backend.sizes)
    run_steps(known.steps(absent(IMAGE), AUTO))
    assert len(backend.sizes) == n_encoded > 0


def test_a_size_from_another_machine_is_used_here():
    there, _ = sizes()
    found = run_steps(there.steps(IMAGE, AUTO))
    entry = there.packed(IMAGE, clahe=False)
    here, backend = sizes()
    here._features.put([entry])
    assert run_steps(here.steps(absent(IMAGE), AUTO)) == found
    assert backend.sizes == []


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"diameter": np.zeros(0, np.float32)},
        {"diameter": np.zeros((1, 1), np.float32)},
        {"diameter": np.array([-3], np.float32)},
        {"diameter": np.array([0], np.float32)},
        {"diameter": np.array([np.inf], np.float32)},
        {"other": np.array([3], np.float32)},
    ],
    ids=["nothing", "empty", "shape", "negative", "zero", "infinite", "name"],
)
def test_a_size_that_is_none_is_looked_for(arrays):
    there, _ = sizes()
    found = run_steps(there.steps(IMAGE, AUTO))
    key, _ = there.packed(IMAGE, clahe=False)
    here, _ = sizes()
    here._features.put([(key, arrays)])
    with pytest.raises(ImageNotCachedError):
        run_steps(here.steps(absent(IMAGE), AUTO))
    assert run_steps(here.steps(IMAGE, AUTO)) == found


def test_what_was_not_looked_for_cannot_be_sent():
    assert sizes()[0].packed(IMAGE, clahe=False) is None


def test_slanting_rods_are_as_large_as_their_area_not_as_their_box():
    rod = np.zeros((40, 40), np.uint8)
    for i in range(30):
        rod[5 + i, 4 + i : 9 + i] = 200
    image = Image.from_array(np.tile(rod, (3, 3)))
    known, _ = sizes()
    by_area, by_box = np.sqrt(4 / np.pi * 150), 30 * np.sqrt(34 / 30)
    assert run_steps(known.steps(image, AUTO)) == pytest.approx(by_area, rel=0.15)  # the picture is shrunk by half
    assert by_area < 0.5 * by_box


class DreamingBackend(DiscBackend):
    """Sees something twice as large around each disc, where the picture is shrunk, and doubts its outline."""

    def detect(self, features):
        boxes, scores = super().detect(features)
        if len(features) == self.side:
            return boxes, scores
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        return np.concatenate((middles - 8, middles + 8), 1), np.full_like(scores, 0.7)

    def decode(self, features, prompts, *, whole, threshold):
        answers = super().decode(features, prompts, whole=whole, threshold=threshold)
        if len(features) == self.side:
            return answers
        full = np.full((1, 1), 8, np.float32)
        return [Decoded(full, prompt.box + (0, 0, 1, 1), 0.3) for prompt in prompts]


@pytest.mark.parametrize(("goes_by_outlines", "diameter"), [(True, 14), (False, 36)])
def test_of_two_sizes_that_may_be_right_outlines_decide(monkeypatch, goes_by_outlines, diameter):
    def sure(self, score, predicted_iou, options):
        return score * predicted_iou if goes_by_outlines else score

    monkeypatch.setattr(DreamingBackend, "cell_score", sure)
    backend = DreamingBackend(side=150)
    known = CellSizes(backend, FrameFeatures(backend, "w", None))
    assert run_steps(known.steps(IMAGE, AUTO)) == pytest.approx(diameter, rel=0.2)
