"""The engine and what it keeps: what was computed once, here or elsewhere, is not computed again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from tests.test_engine import SEVERAL, DiscBackend, discs

from napari_cellsam.engine import Model
from napari_cellsam.errors import ImageNotCachedError
from napari_cellsam.models.disk_store import DiskStore
from napari_cellsam.models.frame_features import FrameFeatures
from napari_cellsam.models.steps import run_steps
from napari_cellsam.types import AbsentImage, Image, Prompt, SegmentOptions

IMAGE = Image.from_array(discs((190, 190), SEVERAL))
ABSENT = AbsentImage(IMAGE.image_id, IMAGE.shape)
AUTO = SegmentOptions(diameter="auto")
CLICKS = [Prompt(inside=[centre]) for centre in SEVERAL]


class StridedBackend(DiscBackend):
    """Its tiles begin on multiples of 8."""

    stride = 8
    nominal_diameter = 12.0


@pytest.fixture
def restart(tmp_path):
    """Return a function that makes a model over one folder, as a process that begins anew would."""
    stores = []

    def start():
        for store in stores:
            store.close()
        stores.append(DiskStore(tmp_path, 10**7))
        backend = StridedBackend(side=96)
        return Model(backend, "discs", weights_id="w", features=FrameFeatures(backend, "w", stores[-1]))

    yield start
    for store in stores:
        store.close()


def clicked(model, image, options=AUTO):
    return run_steps(model.prompt_steps(image, [model.ask(CLICKS, options)]))[0]


def same(masks, others):
    return len(masks) == len(others) and all(
        a.corner == b.corner and np.array_equal(a.crop, b.crop) and a.score == b.score
        for a, b in zip(masks, others, strict=True)
    )


@pytest.mark.parametrize("options", [AUTO, SegmentOptions(diameter="native"), SegmentOptions(diameter=14.0)])
def test_clicks_after_a_run_need_no_encoding(restart, options):
    model = restart()
    model.segment(IMAGE, options)
    n_encoded = len(model.backend.sizes)
    clicked(model, ABSENT, options)
    assert len(model.backend.sizes) == n_encoded > 1


def test_after_a_restart_clicks_are_answered_as_before_without_pixels(restart):
    model = restart()
    masks = clicked(model, IMAGE)
    assert all(mask.area for mask in masks)
    again = restart()
    assert same(clicked(again, ABSENT), masks)
    assert again.backend.sizes == []


def test_after_a_restart_a_click_needs_no_more_than_was_prefetched(restart):
    model = restart()
    done = run_steps(model.prefetch_steps(IMAGE, AUTO, (48.0, 48.0)))
    assert (done.n_encoded, done.n_cached) == (1, 0)
    again = restart()
    known = run_steps(again.prefetch_steps(ABSENT, AUTO, (48.0, 48.0)))
    assert (known.n_encoded, known.n_cached, known.diameter) == (0, 1, done.diameter)
    ask = again.ask([Prompt(inside=[(48, 48)])], AUTO)
    assert run_steps(again.prompt_steps(ABSENT, [ask]))[0][0].area
    assert again.backend.sizes == []


def test_what_was_clicked_on_after_a_run_is_there_after_a_restart(restart):
    model = restart()
    model.segment(IMAGE, AUTO)
    masks = clicked(model, IMAGE)
    assert same(clicked(restart(), ABSENT), masks)


def test_a_run_alone_leaves_nothing_for_prompts_on_disk(restart):
    restart().segment(IMAGE, AUTO)
    with pytest.raises(ImageNotCachedError):
        clicked(restart(), ABSENT)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_files_mean_that_pixels_are_asked_for_and_the_answer_stays_the_same(restart, tmp_path, damage):
    masks = clicked(restart(), IMAGE)
    again = restart()
    for path in tmp_path.iterdir():
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes({"flip": bytes(data), "cut": bytes(data[:-1]), "empty": b""}[damage])
    with pytest.raises(ImageNotCachedError):
        clicked(again, ABSENT)
    assert same(clicked(again, IMAGE), masks)
    assert same(clicked(restart(), ABSENT), masks)


def test_a_full_disk_changes_no_answer(restart, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    model = restart()
    masks = clicked(model, IMAGE)
    assert same(masks, clicked(Model(StridedBackend(side=96), "discs"), IMAGE))
    assert same(clicked(model, ABSENT), masks)  # from memory
    assert same(clicked(restart(), IMAGE), masks)
    assert list(tmp_path.iterdir()) == []
