"""``napari-cellsam finetune`` makes a model, says how good it is, and is stopped by interrupts."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from tests.training.teaching import disc_picture

from napari_cellsam.data.retraining.pictures import Corrected
from napari_cellsam.data.retraining.retraining_set import RetrainingSet
from napari_cellsam.training.release import save_release


@pytest.fixture
def weights(tiny_compact, tmp_path, monkeypatch):
    for name in ("MODELS", "TRAINING"):
        monkeypatch.setenv(f"NAPARI_CELLSAM_{name}_DIR", str(tmp_path / name))
    path = tmp_path / "tiny.safetensors"
    save_release(tiny_compact, path)
    return path


@pytest.fixture
def cells(tmp_path):
    """Return a data set of three pictures, of which the third judges."""
    dataset = RetrainingSet.create(tmp_path / "cells")
    for seed in (1, 2, 3):
        picture = disc_picture(seed)
        everywhere = np.ones(picture.labels.shape, bool)
        dataset.add(Corrected(picture.image, picture.labels, everywhere, name=picture.name))
    return tmp_path / "cells"


def options(weights, minutes="0.02"):
    quick = ("--device", "cpu", "--precision", "fp32", "--batch", 1, "--replay-share", 0)
    return ("--name", "mine-1", "--model", weights, "--minutes", minutes, *quick)


@pytest.mark.slow
def test_a_model_is_made_and_described(run, weights, cells):
    ended = run("finetune", cells, *options(weights))
    assert ended.code == 0
    assert "judged on 9 held-out cells" in ended.out
    assert "outlines: as before" in ended.out
    assert "F1 at IoU 0.6:" in ended.out
    assert "added mine-1" in ended.out
    assert "before  step 0" in ended.err
    about = run("models", "info", "mine-1").out
    assert "made from: " in about
    assert "judged on: 9 held-out cells of 1 pictures" in about
    assert "outlines: as before" in about


@pytest.mark.slow
def test_an_interrupt_ends_it_early_with_what_it_has(run, weights, cells, monkeypatch):
    from napari_cellsam.training.finetune_state import FinetuneState

    followed = FinetuneState.follow

    def interrupted(self, decay):
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        followed(self, decay)

    monkeypatch.setattr(FinetuneState, "follow", interrupted)
    before = signal.getsignal(signal.SIGINT)
    ended = run("finetune", cells, *options(weights, "60"))
    assert ended.code == 0
    assert "interrupt again to break off" in ended.err
    assert "added mine-1" in ended.out
    assert signal.getsignal(signal.SIGINT) is before


def test_a_folder_that_is_no_data_set_is_refused(run, weights, tmp_path):
    ended = run("finetune", tmp_path, *options(weights))
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert str(tmp_path) in ended.err
