"""Fine-tuning teaches, goes on where it was broken off as if nothing had been, and leaves room for clicks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.teaching import disc_picture

from napari_cellsam.engine import Model
from napari_cellsam.errors import CheckpointError, DeviceMemoryError, OutputError
from napari_cellsam.models.memory_limits import OutOfMemoryError
from napari_cellsam.models.network.compact import CompactCellSam
from napari_cellsam.models.steps import Aside, run_steps
from napari_cellsam.training import finetune, finetune_state
from napari_cellsam.training.finetune import Finetuning, FinetuningPlace, _schedule, _some
from napari_cellsam.training.finetune_state import FinetuneState
from napari_cellsam.training.judging import judge_steps
from napari_cellsam.training.learner import CompactLearner
from napari_cellsam.training.lessons import Lessons
from napari_cellsam.types.finetuning import FinetuneOptions, TrainingProgress

OPTIONS = FinetuneOptions(steps=4, batch=2, side=64, rate=3e-3, replay=0.0, n_checks=2, masks_from=0.5)
LESSONS = Lessons((disc_picture(1, side=96),), (disc_picture(2, side=96),))


def fresh(config, freeze_backbone=False):
    """Return a learner of a tiny model, always the same one."""
    torch.manual_seed(0)
    return CompactLearner(CompactCellSam(config), torch.device("cpu"), "fp32", freeze_backbone)


@pytest.fixture
def make(tiny_config, tmp_path):
    """Return what makes a fine-tuning of a fresh tiny model."""

    def make(options=OPTIONS, lessons=LESSONS, *, fingerprint="same", learner=None, **others):
        place = FinetuningPlace(tmp_path / "run", fingerprint)
        return Finetuning(learner or fresh(tiny_config), lessons, options, place, **others)

    return make


@pytest.fixture(scope="module")
def whole(tiny_config, tmp_path_factory):
    """Return the end of a run that nothing interrupted."""
    place = FinetuningPlace(tmp_path_factory.mktemp("whole"), "same")
    return run_steps(Finetuning(fresh(tiny_config), LESSONS, OPTIONS, place).steps())


def learner_of(run):
    return run._learner


def everything(state):
    """Return all numbers of a state that decide what becomes of it, by name."""
    tensors = {f"{part}.{name}": t for part in ("average", "best") for name, t in getattr(state, part).items()}
    tensors |= {f"now.{name}": t.clone() for name, t in state.learner.network.state_dict().items()}
    for i, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    numbers = {name: getattr(state, name) for name in ("step", "best_merit", "checked_step", "running")}
    return tensors, numbers


def assert_same(one, other):
    (tensors, numbers), (other_tensors, other_numbers) = everything(one), everything(other)
    assert numbers == other_numbers
    assert tensors.keys() == other_tensors.keys()
    assert [name for name, t in tensors.items() if not torch.equal(t, other_tensors[name])] == []


def steps_until(run, wanted):
    """Take the steps of a run up to the first one that is wanted, and break it off there."""
    steps, answer = run.steps(), None
    while not wanted(step := steps.send(answer)):
        answer = step.work() if isinstance(step, Aside) else None
    steps.close()
    return steps


def changed_by(network, before):
    now = network.state_dict()
    return {name.split(".")[0] for name, tensor in before.items() if not torch.equal(now[name], tensor)}


def test_a_model_learns_from_one_picture(make):
    options = replace(OPTIONS, steps=50, n_checks=2, batch=4, masks_from=0.9)
    run = make(options, Lessons(LESSONS.train, LESSONS.train))
    before = run_steps(judge_steps(Model(learner_of(run).twin({}).backend(), "before"), LESSONS.train))
    seen = []
    state = run_steps(run.steps(), seen.append)
    told = [step for step in seen if isinstance(step, TrainingProgress)]
    first, last = told[2].losses, told[-1].losses
    assert sum(last.values()) < 0.8 * sum(first.values())
    first, last = (step.val_losses for step in told if step.stage == "checking")
    assert sum(last.values()) < sum(first.values())
    after = run_steps(judge_steps(Model(learner_of(run).twin(state.best).backend(), "after"), LESSONS.train))
    assert after.click_iou > before.click_iou + 0.1


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (
            {"first_stage": "detector", "masks_from": 1.0},
            {"backbone", "proposals", "cellfinder", "query_wide", "query_token", "query_fine"},
        ),
        ({"masks_from": 0.0}, {"neck", "masks"}),
        (
            {"freeze_backbone": True, "masks_from": 1.0},
            {"neck", "masks", "proposals", "cellfinder", "query_wide", "query_token", "query_fine"},
        ),
    ],
)
def test_only_what_is_to_learn_changes(make, tiny_config, options, changed):
    options = replace(OPTIONS, steps=2, n_checks=1, **options)
    learner = fresh(tiny_config, options.freeze_backbone)
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    state = run_steps(make(options, learner=learner).steps())
    assert changed_by(learner.network, before) == changed
    assert {name.split(".")[0] for name in state.best if not torch.equal(state.best[name], before[name])} == changed


@pytest.mark.parametrize("judges_start", [True, False])
def test_what_a_run_begins_with_may_be_the_best(make, tiny_config, judges_start):
    learner, ruinous = fresh(tiny_config), replace(OPTIONS, steps=2, n_checks=1, rate=1.0)
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    seen = []
    state = run_steps(make(ruinous, learner=learner, judges_start=judges_start).steps(), seen.append)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.best.items()) == judges_start
    checked = [step.step for step in seen if isinstance(step, TrainingProgress) and step.stage == "checking"]
    assert checked == ([0, 2] if judges_start else [2])


@pytest.mark.parametrize(
    "wanted",
    [
        lambda step: isinstance(step, TrainingProgress) and step.step == 2,
        lambda step: isinstance(step, TrainingProgress) and step.stage == "checking",
    ],
    ids=["before a check", "behind a check"],
)
def test_a_run_that_was_broken_off_becomes_what_it_would_have_been(make, whole, wanted):
    steps_until(make(), wanted)
    assert_same(run_steps(make().steps()), whole)


@pytest.mark.parametrize("at", [0, 2, 3, 9, 16, 30])
def test_it_does_not_matter_where_a_run_is_broken_off(make, whole, at):
    """Here the same learner goes on, with whatever the middle of a step has left in it."""
    run, count = make(), iter(range(at))
    steps_until(run, lambda step: next(count, None) is None)
    assert_same(run_steps(make(learner=learner_of(run)).steps()), whole)


def test_a_training_of_something_else_is_not_gone_on_with(make, whole):
    steps_until(make(), lambda step: isinstance(step, TrainingProgress))
    assert_same(run_steps(make(fingerprint="other").steps()), whole)


def test_on_request_a_run_begins_anew(make):
    steps_until(make(), lambda step: isinstance(step, TrainingProgress))
    seen = []
    run_steps(make(replace(OPTIONS, resume=False)).steps(), seen.append)
    assert next(step for step in seen if isinstance(step, TrainingProgress)).step == 1


def test_a_finished_run_does_nothing_more(make):
    first, seen = run_steps(make().steps()), []
    again = run_steps(make().steps(), seen.append)
    assert seen == [] and again.step == 4
    assert all(torch.equal(again.best[name], tensor) for name, tensor in first.best.items())


def test_more_time_goes_on_from_a_finished_run(make):
    clock = Clock(0.2)
    timed = replace(OPTIONS, steps=None, minutes=0.1)
    first = run_steps(make(timed, clock=clock).steps())
    more = run_steps(make(replace(timed, minutes=0.2), clock=clock).steps())
    assert more.step > first.step and more.checked_step == more.step


def test_chance_is_the_same_in_every_process(make, whole, tmp_path, tiny_config):
    code = (
        "import json, sys, torch\n"
        "from pathlib import Path\n"
        "from napari_cellsam.models.network.compact import CompactConfig\n"
        "from tests.training import test_finetune as t\n"
        "config = CompactConfig.from_dict(json.loads(sys.argv[2]))\n"
        "place = t.FinetuningPlace(Path(sys.argv[1]), 'same')\n"
        "state = t.run_steps(t.Finetuning(t.fresh(config), t.LESSONS, t.OPTIONS, place).steps())\n"
        "print(t.sum_of(state))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(tiny_config.to_dict())]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONHASHSEED": "77"}
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert there.strip() == sum_of(whole)


def sum_of(state):
    return sum(float(tensor.double().sum()) for tensor in state.best.values()).hex()


def test_torchs_own_chance_is_left_alone(make):
    run = make(replace(OPTIONS, steps=1))
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    run_steps(run.steps())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip", "truncated", [1, 2], {"step": 3}]
)
def test_a_broken_checkpoint_is_named_and_kept(make, tmp_path, content):
    path = FinetuningPlace(tmp_path / "run", "same").checkpoint
    path.parent.mkdir()
    if content == "truncated":
        steps_until(make(), lambda step: isinstance(step, TrainingProgress))
        path.write_bytes(path.read_bytes()[:-2000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    kept = path.read_bytes()
    with pytest.raises(CheckpointError, match="delete it to train from the beginning") as caught:
        run_steps(make().steps())
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == kept


class Full:
    """A disk that is full from the second checkpoint on."""

    def __init__(self, save):
        self.save, self.n_saved = save, 0

    def __call__(self, content, path):
        self.n_saved += 1
        self.save(content, path)
        if self.n_saved > 1:
            raise OSError(28, "No space left on device")


def test_torchs_own_error_of_a_full_disk_is_told_of(make, monkeypatch):
    def save(content, file):
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 832 vs 726")

    monkeypatch.setattr(finetune_state.torch, "save", save)
    with pytest.raises(OutputError, match=r"checkpoint-same\.pt cannot be written .*unexpected pos"):
        run_steps(make().steps())


def test_a_minute_of_learning_is_lost_at_most(make, tmp_path):
    clock = iter(np.arange(0.0, 1e6, 70.0))
    steps, answer = make(replace(OPTIONS, n_checks=1), clock=lambda: next(clock)).steps(), None
    while not (isinstance(step := steps.send(answer), TrainingProgress) and step.step == 2):
        answer = step.work() if isinstance(step, Aside) else None
    assert FinetuningPlace(tmp_path / "run", "same").checkpoint.is_file()
    steps.close()


def test_another_training_of_that_name_leaves_the_checkpoint_alone(make, tmp_path):
    for fingerprint in ("first", "second"):
        steps_until(make(fingerprint=fingerprint), lambda step: isinstance(step, TrainingProgress) and step.step == 1)
    place = FinetuningPlace(tmp_path / "run", "first")
    assert place.checkpoint.is_file()
    place.clear()
    assert not list(place.folder.glob("*.pt"))


def test_a_full_disk_is_told_of_and_the_last_checkpoint_is_gone_on_from(make, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune_state.torch, "save", Full(torch.save))
    with pytest.raises(OutputError, match="No space left"):
        run_steps(make().steps())
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_file()) == [
        "checkpoint-same.pt",
        "curves.jsonl",
    ]
    monkeypatch.undo()
    seen = []
    again = run_steps(make().steps(), seen.append)
    assert next(step.step for step in seen if isinstance(step, TrainingProgress)) == 3, "the model was checked at 2"
    assert_same(again, whole)


class Means:
    """A learner whose loss is a mean over crops, so that it does not matter how they are divided."""

    can_detect, max_norm = True, 1e9

    def __init__(self, learner, most=99, n_at_once=8):
        self.inner, self.most, self.n_at_once, self.seen = learner, most, n_at_once, []
        self.network = learner.network
        self.set_stage, self.groups, self.crop_options = learner.set_stage, learner.groups, learner.crop_options

    def losses(self, pictures, labels, stage):
        self.seen.append(len(labels))
        if len(labels) > self.most:
            raise OutOfMemoryError("full")
        value = self.network.encode(pictures.float() / 255).embedding.flatten(1).mean(1)
        return {"mean": (value * (labels >= 0).flatten(1).float().mean(1)).mean()}

    def twin(self, weights):
        return self.inner.twin(weights)


def gradients_of(make, monkeypatch, learner):
    """Return the gradients of the first step."""
    kept = {}

    def clip(parameters, most):
        kept.update({name: p.grad.clone() for name, p in learner.network.named_parameters() if p.grad is not None})
        return torch.zeros(())

    monkeypatch.setattr(finetune.nn.utils, "clip_grad_norm_", clip)
    run = make(replace(OPTIONS, steps=1, batch=8, resume=False), learner=learner)
    steps_until(run, lambda step: isinstance(step, TrainingProgress))
    return run, kept


def test_where_memory_is_full_fewer_crops_at_once_give_the_same_gradients(make, monkeypatch, tiny_config):
    _, expected = gradients_of(make, monkeypatch, Means(fresh(tiny_config)))
    small = Means(fresh(tiny_config), most=2)
    run, found = gradients_of(make, monkeypatch, small)
    assert small.seen == [8, 4, 2, 2, 2, 2] and run.n_at_once == 2
    assert found.keys() == expected.keys() and expected
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_what_was_learned_before_memory_was_full_does_not_count_twice(make, monkeypatch, tiny_config):
    _, expected = gradients_of(make, monkeypatch, Means(fresh(tiny_config)))
    late = Means(fresh(tiny_config), n_at_once=4)
    compute = late.losses

    def losses(pictures, labels, stage):
        if len(late.seen) == 1:
            late.seen.append(0)
            raise OutOfMemoryError("full")
        return compute(pictures, labels, stage)

    late.losses = losses
    _, found = gradients_of(make, monkeypatch, late)
    assert late.seen == [4, 0, 2, 2, 2, 2]
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_where_not_even_a_single_crop_fits_the_error_says_what_to_do(make, tiny_config):
    learner = Means(fresh(tiny_config), most=0)
    with pytest.raises(DeviceMemoryError, match=r"learn from a single crop; a smaller side helps.*--device cpu"):
        run_steps(make(learner=learner).steps())
    assert learner.seen == [2, 1]


def test_where_the_model_cannot_be_judged_for_want_of_memory_the_error_says_so(make, monkeypatch):
    run = make(replace(OPTIONS, steps=1))

    def twin(weights):
        raise OutOfMemoryError("full")

    monkeypatch.setattr(learner_of(run), "twin", twin)
    with pytest.raises(DeviceMemoryError, match="judge the model beside the one that learns"):
        run_steps(run.steps())


def test_an_infinite_gradient_spoils_nothing(make, tiny_config):
    class Spoiled(Means):
        def losses(self, pictures, labels, stage):
            parts = super().losses(pictures, labels, stage)
            if len(self.seen) == 1:  # a finite loss, but the root of 0 has no slope
                parts["root"] = (parts["mean"] * 0).sqrt()
            return parts

    learner = Spoiled(fresh(tiny_config))
    state = run_steps(make(replace(OPTIONS, steps=2), learner=learner).steps())
    assert all(bool(tensor.isfinite().all()) for tensor in (state.weights() | state.best).values())
    assert state.step == 2


def test_no_step_computes_more_than_a_few_crops(make, tiny_config):
    learner = Means(fresh(tiny_config), n_at_once=2)
    steps, answer = make(replace(OPTIONS, steps=2, n_checks=1, batch=7), learner=learner).steps(), None
    asides = 0
    while True:
        before = sum(learner.seen)
        try:
            step = steps.send(answer)
        except StopIteration:
            break
        assert sum(learner.seen) - before <= 2
        asides += isinstance(step, Aside)
        answer = step.work() if isinstance(step, Aside) else None
    assert learner.seen == [2, 2, 2, 1] * 2
    assert asides > 3, "pictures are drawn and checkpoints written elsewhere"


def test_a_stop_ends_the_training_soon_and_the_last_weights_are_judged(make):
    seen = []
    run = make(replace(OPTIONS, steps=1000), is_stopped=lambda: len([s for s in seen if s]) >= 3)
    state = run_steps(run.steps(), seen.append)
    told = [step for step in seen if step]
    assert [step.stage for step in told] == ["joint"] * 3 + ["checking"]
    assert state.step == 3 and state.best and told[-1].val_losses and told[-1].f1 is not None


def test_a_stop_before_the_first_step_leaves_nothing_to_choose(make):
    state = run_steps(make(is_stopped=lambda: True).steps())
    assert state.step == 0 and state.best == {}


def test_the_best_weights_are_kept_not_the_last(make, monkeypatch):
    merits, judged = iter([0.5, 0.9, 0.9, 0.1]), []
    note = FinetuneState.note

    def judge(state, merit):
        judged.append({name: tensor.clone() for name, tensor in state.average.items()})
        note(state, next(merits))

    monkeypatch.setattr(FinetuneState, "note", judge)
    best = run_steps(make(replace(OPTIONS, n_checks=4)).steps()).best
    same = [all(torch.equal(best[name], tensor) for name, tensor in average.items()) for average in judged]
    assert same == [False, False, True, False], "of equal ones the later"


class Clock:
    """Goes on by so many seconds whenever it is read."""

    def __init__(self, tick):
        self.tick, self.now = tick, 0.0

    def __call__(self):
        self.now += self.tick
        return self.now


def timed_run(make, monkeypatch, check_s):
    """Run for one minute, where a step takes a second; return the stages by seconds."""
    clock, seen = Clock(0.0), []

    def learn(self, state, batch, stage):
        clock.now += 1
        state.step += 1
        return {"x": 1.0}
        yield

    def check(self, state, material):
        clock.now += check_s
        state.note(0.0)
        return self._progress(state, "checking")
        yield

    monkeypatch.setattr(Finetuning, "_learn", learn)
    monkeypatch.setattr(Finetuning, "_check", check)
    run = make(replace(OPTIONS, steps=None, minutes=1.0, n_checks=6), clock=clock)
    run_steps(run.steps(), lambda step: seen.append((clock.now, step)))
    return [at for at, step in seen if step.stage == "checking"], seen


def test_checks_are_spread_over_the_budget(make, monkeypatch):
    at, seen = timed_run(make, monkeypatch, check_s=0.1)
    assert len(at) == 6 and np.allclose(np.diff(at), 10, atol=1.2)
    assert seen[-1][1].stage == "checking" and 60 <= seen[-1][0] < 61.2


def test_the_time_in_which_others_go_first_is_not_spent(make, monkeypatch):
    clock = Clock(0.0)

    def learn(self, state, batch, stage):
        clock.now += 1
        state.step += 1
        return {"x": 1.0}
        yield

    monkeypatch.setattr(Finetuning, "_learn", learn)

    def others_go_first(step):
        clock.now += 400

    run = make(replace(OPTIONS, steps=None, minutes=0.5, n_checks=1), clock=clock)
    state = run_steps(run.steps(), others_go_first)
    assert state.step == 30
    assert state.spent_s == pytest.approx(30, abs=1)


def test_dear_checks_are_fewer_but_the_last_one_always_happens(make, monkeypatch):
    at, seen = timed_run(make, monkeypatch, check_s=4.0)
    assert len(at) == 4
    assert all(4 * (i + 1) <= 0.15 * after for i, after in enumerate(a - 4 for a in at[1:-1]))
    assert seen[-1][1].stage == "checking" and seen[-1][0] >= 60
    steps = [step.step for _, step in seen]
    assert steps[-1] == max(steps)


def test_time_left_is_what_is_left_of_the_budget(make, monkeypatch):
    _, seen = timed_run(make, monkeypatch, check_s=0.0)
    half = next(step for now, step in seen if now == 30)
    assert half.share == pytest.approx(0.5) and half.seconds_left == pytest.approx(30)


def test_synthetic_pictures_are_replayed_where_there_are_no_others(make):
    run = make(replace(OPTIONS, replay=0.5))
    material = run._prepare()
    assert len(material.batches.others) > 3 and material.batches.options.synthetic_share == 0.5
    others = make(replace(OPTIONS, replay=0.5), replace(LESSONS, replay=(disc_picture(9),)))._prepare()
    assert len(others.batches.others) == 1
    assert make(OPTIONS)._prepare().batches.others == []


def test_the_learning_rate_warms_up_and_falls_in_both_stages():
    rates = [_schedule(share, 0.8) for share in (0.0, 0.02, 0.05, 0.4, 0.79, 0.8, 0.9, 1.0)]
    assert 0 < rates[0] < rates[1] < rates[2] > rates[3] > rates[4] > 0.04
    assert rates[5] == pytest.approx(0.5) and rates[5] > rates[6] > rates[7] > 0
    alone = [_schedule(share, 0.0) for share in (0.0, 0.02, 0.05, 0.5, 1.0)]
    assert alone[0] < alone[1] < alone[2] > alone[3] > alone[4], "a model without a detector warms up, too"
    assert alone[2] > 0.9


def test_pictures_that_are_quickly_judged_are_chosen(monkeypatch):
    blank = replace(disc_picture(1), labels=np.zeros((128, 128), np.uint32))
    pictures = (blank, disc_picture(2), disc_picture(3), disc_picture(4))
    monkeypatch.setattr(finetune, "_MOST_CHECKED_PX", 3 * 128**2)
    assert _some(pictures) == pictures[1:3]
    monkeypatch.setattr(finetune, "_MOST_CHECKED_PX", 1)
    assert _some(pictures) == pictures[1:2]
