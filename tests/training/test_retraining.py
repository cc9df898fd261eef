"""A retraining makes a new model, and leaves the old one as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file
from tests.training.teaching import disc_picture

from napari_cellsam.engine import load_model
from napari_cellsam.errors import DatasetError, ModelError
from napari_cellsam.models.registry import find_model, find_weights
from napari_cellsam.models.steps import run_steps
from napari_cellsam.models.weights import load_network
from napari_cellsam.settings import training_dir
from napari_cellsam.training import retraining
from napari_cellsam.training.lessons import Lessons, picture_hash
from napari_cellsam.training.release import save_release
from napari_cellsam.training.retraining import Retraining, retrain_steps
from napari_cellsam.types.finetuning import FinetuneOptions, TrainingProgress

QUICK = FinetuneOptions(steps=4, side=64, batch=2, n_checks=2, replay=0.0)


@pytest.fixture
def parent(tiny_compact, tmp_path, monkeypatch):
    """Return the path of a tiny model; what is registered goes to a temporary folder."""
    for name in ("MODELS", "TRAINING"):
        monkeypatch.setenv(f"NAPARI_CELLSAM_{name}_DIR", str(tmp_path / name))
    path = tmp_path / "tiny.safetensors"
    save_release(tiny_compact, path)
    return path


@pytest.fixture
def lessons():
    return Lessons((disc_picture(1), disc_picture(2)), (disc_picture(3),))


def task_of(parent, lessons, name="mine-1", options=QUICK):
    return Retraining(name, str(parent), lessons, options, precision="fp32")


def test_the_new_model_is_registered_with_where_it_comes_from(parent, lessons):
    before = parent.read_bytes()
    record = run_steps(retrain_steps(task_of(parent, lessons)))
    assert find_model("mine-1").training == record
    assert record.data == tuple(map(picture_hash, lessons.train))
    assert record.judged_on == tuple(map(picture_hash, lessons.val))
    assert record.steps == 4
    assert (record.before.n_cells, record.after.n_cells) == (9, 9)
    assert len(record.after.pictures[0].click_ious) == 9
    assert parent.read_bytes() == before
    assert find_weights("mine-1").read_bytes() != before
    assert load_model("mine-1", "cpu", "fp32").segment(lessons.val[0].image).labels.shape == (128, 128)


def test_pictures_that_a_parent_learned_from_judge_nothing_unnoticed(parent, lessons):
    first = run_steps(retrain_steps(task_of(parent, lessons)))
    assert first.n_judges_known == 0
    assert set(first.images) == {picture.image.image_id for picture in lessons.train}
    exchanged = Lessons(lessons.val, lessons.train)
    second = run_steps(retrain_steps(replace(task_of(parent, exchanged), parent="mine-1", name="mine-2")))
    assert second.n_judges_known == len(lessons.train)
    assert set(second.images) == {picture.image.image_id for picture in (*lessons.train, *lessons.val)}
    assert find_model("mine-2").training == second


def test_only_the_curves_are_left_behind(parent, lessons):
    run_steps(retrain_steps(task_of(parent, lessons)))
    left = [path.name for path in (training_dir() / "mine-1").iterdir() if path.is_file()]
    assert left == ["curves.jsonl"]


def test_outlines_begin_as_tight_as_people_draw_them(parent, lessons, monkeypatch):
    asked = []

    def tighter(model, pictures):
        asked.append(pictures)
        yield None
        return 0.75

    monkeypatch.setattr(retraining, "tightness_steps", tighter)
    record = run_steps(retrain_steps(task_of(parent, lessons)))
    assert asked == [lessons.train], "nothing is fitted to what judges"
    assert (record.outline_shift, record.outlines) == (0.75, "tighter")
    assert load_network(find_weights("mine-1")).model.config.outline_shift == 0.75
    run_steps(retrain_steps(replace(task_of(parent, lessons, "mine-2"), parent="mine-1")))
    assert load_network(find_weights("mine-2")).model.config.outline_shift == 1.5


def test_both_models_are_judged_before_anything_is_registered(parent, lessons):
    stages = []

    def note(step):
        if isinstance(step, TrainingProgress):
            stages.append(step.stage)
            with pytest.raises(ModelError, match="no model 'mine-1'"):
                find_model("mine-1")

    run_steps(retrain_steps(task_of(parent, lessons)), note)
    assert stages[0] == "before"
    assert stages[-1] == "after"


def test_a_taken_name_is_refused_before_anything_is_computed(parent, lessons):
    run_steps(retrain_steps(task_of(parent, lessons)))
    with pytest.raises(ModelError, match="there is a model 'mine-1' already"):
        next(retrain_steps(task_of(parent, lessons)))
    with pytest.raises(ModelError, match="reserved"):
        next(retrain_steps(task_of(parent, lessons, "compact")))


def test_two_trainings_of_one_name_are_refused_before_the_second_learns(parent, lessons):
    first = retrain_steps(task_of(parent, lessons))
    next(first)
    with pytest.raises(ModelError, match="being trained already"):
        next(retrain_steps(task_of(parent, lessons)))
    next(retrain_steps(task_of(parent, lessons, "mine-2")))
    first.close()
    next(retrain_steps(task_of(parent, lessons)))


def test_a_training_that_was_broken_off_goes_on_to_the_same_model(parent, lessons):
    steps = retrain_steps(task_of(parent, lessons, "whole"))
    run_steps(steps)
    steps = retrain_steps(task_of(parent, lessons, "broken-off"))
    answer = None
    while True:
        step = steps.send(answer)
        answer = step.work() if hasattr(step, "work") else None
        if isinstance(step, TrainingProgress) and step.step == 2:
            break
    steps.close()
    assert len(list((training_dir() / "broken-off").glob("checkpoint-*.pt"))) == 1
    seen = []
    run_steps(
        retrain_steps(task_of(parent, lessons, "broken-off")),
        lambda step: seen.append(step.step) if isinstance(step, TrainingProgress) else None,
    )
    assert 1 not in seen
    assert max(seen) == 4
    whole, broken_off = (load_file(find_weights(name)) for name in ("whole", "broken-off"))
    assert whole.keys() == broken_off.keys()
    assert all(bool((whole[name] == broken_off[name]).all()) for name in whole)


def test_what_is_learned_from_is_part_of_what_goes_on(parent, lessons):
    for pictures in (lessons, Lessons(lessons.train[:1], lessons.val)):
        steps = retrain_steps(task_of(parent, pictures))
        answer, seen = None, 0
        while not seen:
            step = steps.send(answer)
            answer = step.work() if hasattr(step, "work") else None
            seen = step.step if isinstance(step, TrainingProgress) else 0
        steps.close()
        assert seen == 1


def test_one_that_is_stopped_before_it_began_teaches_nothing(parent, lessons):
    with pytest.raises(DatasetError, match="before anything was learned"):
        run_steps(retrain_steps(task_of(parent, lessons), lambda: True))
    with pytest.raises(ModelError, match="no model"):
        find_model("mine-1")


def test_one_that_is_stopped_early_is_registered_with_what_it_has_learned(parent, lessons):
    n_steps = [0]

    def note(step):
        if isinstance(step, TrainingProgress):
            n_steps[0] = step.step

    record = run_steps(retrain_steps(task_of(parent, lessons), lambda: n_steps[0] >= 2), note)
    assert record.steps == 2


def test_pictures_without_verified_cells_teach_nothing(parent, lessons):
    import dataclasses

    unknown = dataclasses.replace(lessons.train[0], verified=np.zeros((128, 128), bool))
    with pytest.raises(DatasetError, match="no cell to learn from"):
        run_steps(retrain_steps(task_of(parent, Lessons((unknown,)))))
