"""Fine-tuning: a few corrected pictures make a model better at their kind, in steps that let clicks go first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.engine import Model
from napari_cellsam.models.memory_limits import OutOfMemoryError, free_memory, no_more_memory, one_step
from napari_cellsam.models.steps import Aside, Steps
from napari_cellsam.training.crop_losses import CropBatch, LossSteps, gradient_steps, loss_steps
from napari_cellsam.training.curves import Curves
from napari_cellsam.training.finetune_batches import FinetuneBatches, lesson, synthetic_pictures
from napari_cellsam.training.finetune_state import FinetuneState
from napari_cellsam.training.judging import judge_steps
from napari_cellsam.training.learner import Learner, Stage
from napari_cellsam.training.lessons import Lessons, n_known_cells
from napari_cellsam.training.stopwatch import Stopwatch
from napari_cellsam.types.finetuning import Figures, FinetuneOptions, TrainingProgress

__all__ = ["Finetuning", "FinetuningPlace"]

_SAVE_S = 60.0  # of learning that is lost at most when the process ends at once
_WARM_UP = 0.05  # share of the budget
_N_VAL_CROPS = 8
_MOST_CHECKED_PX = 2_000_000
_MOST_CHECKING = 0.15  # share of the time spent; checks wait until they cost less than that
_FEW_CELLS = 50  # of which F1 says too little to choose by it: it is off by 0.04 and more by chance
_LOSS_WEIGHS = 0.02  # a validation loss, against F1


@dataclass(frozen=True)
class FinetuningPlace:
    """Where a fine-tuning keeps what it needs to go on.

    Attributes
    ----------
    folder
        For the checkpoint and the curves.
    fingerprint
        Of parent, pictures and options: only the same training goes on from a checkpoint.
    """

    folder: Path
    fingerprint: str

    @property
    def checkpoint(self) -> Path:
        """File of the training's state; another training of that name has another one."""
        return self.folder / f"checkpoint-{self.fingerprint[:8]}.pt"

    def clear(self) -> None:
        """Remove the checkpoints of all trainings of that name, and what was left when one could not be written."""
        for pattern in ("checkpoint*.pt", ".checkpoint*.pt"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class _Material:
    """What crops are drawn from, those that are validated on, and the pictures that are judged in between."""

    batches: FinetuneBatches
    val: CropBatch
    judges: tuple[RetrainingPicture, ...]


class Finetuning:
    """A fine-tuning run.

    Parameters
    ----------
    learner
        What learns.
    lessons
        With something to judge on.
    options
        How.
    place
        Where its checkpoint is.
    is_stopped
        Asked between steps whether to end with the best so far.
    judges_start
        Whether the weights before the first step are judged, and may be the best ones.
    clock
        Seconds from some moment on; only those count in which it is worked on.

    Attributes
    ----------
    n_at_once
        Crops that are computed together; halved whenever memory is full.
    """

    def __init__(
        self,
        learner: Learner,
        lessons: Lessons,
        options: FinetuneOptions,
        place: FinetuningPlace,
        *,
        is_stopped: Callable[[], bool] = lambda: False,
        judges_start: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._learner, self._lessons, self._options, self._place = learner, lessons, options, place
        self._is_stopped, self._judges_start, self._clock = is_stopped, judges_start, Stopwatch(clock)
        self.n_at_once = min(learner.n_at_once, options.batch)

    def steps(self) -> Steps[FinetuneState]:
        """Train until the budget is spent, or until it is stopped; closing the steps leaves a checkpoint.

        The weights of the last step are always judged. There are no best ones if it was stopped before the first step.

        Raises
        ------
        DeviceMemoryError
            If not even a single crop fits into memory.
        CheckpointError
            If there is a checkpoint that is broken.
        OutputError
            If no checkpoint or curve can be written; the last checkpoint that could be is still there.
        """
        return (yield from self._clock.time(self._steps()))

    def _steps(self) -> Steps[FinetuneState]:
        material: _Material = yield Aside(self._prepare)
        state = FinetuneState.begin(self._learner, self._options.rate)
        if self._options.resume:
            state.load(self._place.checkpoint, self._place.fingerprint)
        with Curves(self._place.folder, after=state.step) as curves:
            try:
                yield from self._train(state, material, curves)
            except (GeneratorExit, KeyboardInterrupt):
                self._save(state)
                raise
        return state

    def _prepare(self) -> _Material:
        options, lessons = self._options, self._lessons
        crops = replace(self._learner.crop_options(options), synthetic_share=options.replay)
        others = [lesson(picture) for picture in lessons.replay]
        if options.replay and not others:
            others = synthetic_pictures(options.seed)
        batches = FinetuneBatches([lesson(p) for p in lessons.train], others, crops, options.batch)
        plain = replace(crops, synthetic_share=0.0, augment=replace(crops.augment, damaged_share=0.0))
        val = FinetuneBatches([lesson(p) for p in lessons.val], [], plain, _N_VAL_CROPS)
        return _Material(batches, val.draw(0), _some(lessons.val))

    def _train(self, state: FinetuneState, material: _Material, curves: Curves) -> Steps[None]:
        begun = self._clock() - state.spent_s
        saved = self._clock()
        while not self._is_over(state) or state.checked_step < state.step:
            if self._is_check_due(state):
                before = self._clock()
                progress: TrainingProgress = yield from self._check(state, material)
                state.checking_s += self._clock() - before
                state.spent_s = self._clock() - begun
                state.checked_step, state.checked_at_s = state.step, state.spent_s
                curves.add(progress)
                yield Aside(partial(self._save, state))
                saved = self._clock()
            else:
                stage = self._stage(state)
                batch: CropBatch = yield Aside(partial(material.batches.draw, state.step))
                losses = yield from self._learn(state, batch, stage)
                state.spent_s = self._clock() - begun
                state.follow_losses(losses)
                progress = self._progress(state, stage)
                curves.add(progress)
                if self._clock() - saved > _SAVE_S:
                    yield Aside(partial(self._save, state))
                    saved = self._clock()
            yield progress

    def _is_over(self, state: FinetuneState) -> bool:
        return self._share(state) >= 1 or self._is_stopped()

    def _is_check_due(self, state: FinetuneState) -> bool:
        """Tell whether the model is to be judged before it learns on."""
        options = self._options
        if self._is_over(state):
            return state.checked_step < state.step
        if self._judges_start and not state.step and not state.best:
            return True
        if options.steps:  # regardless of time, so that the same run again chooses the same weights
            return (state.step - state.checked_step) * options.n_checks >= options.steps
        is_cheap = state.checking_s <= _MOST_CHECKING * state.spent_s
        return is_cheap and (state.spent_s - state.checked_at_s) * options.n_checks >= 60 * options.minutes

    def _share(self, state: FinetuneState) -> float:
        """Return the share of the budget that is spent."""
        options = self._options
        return state.step / options.steps if options.steps else state.spent_s / (60 * options.minutes)

    def _stage(self, state: FinetuneState) -> Stage:
        return self._options.first_stage if self._share(state) < self._masks_from else "masks"

    @property
    def _masks_from(self) -> float:
        return self._options.masks_from if self._learner.can_detect else 0.0

    def _learn(self, state: FinetuneState, batch: CropBatch, stage: Stage) -> LossSteps:
        """Take one step, with as many crops at once as fit into memory; return the losses."""
        self._learner.set_stage(stage)
        losses = yield from self._gradients(state, batch, stage)
        for group in state.optimizer.param_groups:
            group["lr"] = group["base_lr"] * _schedule(self._share(state), self._masks_from)
        norm = nn.utils.clip_grad_norm_(self._learner.network.parameters(), self._learner.max_norm)
        if bool(norm.isfinite()):
            with one_step("take a step of training"):
                state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1
        state.follow(self._options.average)
        return losses

    def _gradients(self, state: FinetuneState, batch: CropBatch, stage: Stage) -> LossSteps:
        """Add up the gradients of a batch; with fewer crops at once from then on where memory is full."""
        seed = (self._options.seed, state.step)
        while True:
            try:
                return (yield from gradient_steps(self._learner, batch, stage, self.n_at_once, seed))
            except OutOfMemoryError as error:
                if self.n_at_once == 1:
                    raise no_more_memory("learn from a single crop; a smaller side helps, too") from error
            self.n_at_once //= 2  # behind the error, which keeps what did not fit alive
            state.optimizer.zero_grad()
            free_memory()

    def _check(self, state: FinetuneState, material: _Material) -> Generator[Any, Any, TrainingProgress]:
        """Judge the averaged weights, and keep them if they are the best."""
        with one_step("judge the model beside the one that learns"):
            twin = self._learner.twin(state.average)
        losses = yield from loss_steps(twin, material.val)
        merit, f1 = -sum(losses.values()), None
        if self._learner.can_detect:
            model = Model(twin.backend(), "candidate")
            figures: Figures = yield from judge_steps(model, material.judges, clicks=False)
            f1 = figures.f1
            merit = merit if figures.n_cells < _FEW_CELLS else f1 + _LOSS_WEIGHS * merit
        state.note(merit)
        return replace(self._progress(state, "checking"), val_losses=losses, f1=f1)

    def _save(self, state: FinetuneState) -> None:
        state.save(self._place.checkpoint, self._place.fingerprint)

    def _progress(self, state: FinetuneState, stage: str) -> TrainingProgress:
        share = min(self._share(state), 1.0)
        left = state.spent_s * (1 - share) / share if share > 0 else 0.0
        return TrainingProgress(stage, state.step, share, dict(state.running), seconds_left=left)


def _schedule(share: float, masks_from: float) -> float:
    """Return the factor of the learning rate: a short warm-up, then a cosine down to 5 % in each stage."""
    first = share < masks_from
    at = share / masks_from if first else (share - masks_from) / max(1 - masks_from, 1e-6)
    warm = min(1.0, (share + 1e-3) / _WARM_UP)
    top = 1.0 if first or masks_from == 0 else 0.5
    return warm * top * (0.05 + 0.95 * (0.5 + 0.5 * math.cos(math.pi * min(at, 1.0))))


def _some(pictures: tuple[RetrainingPicture, ...]) -> tuple[RetrainingPicture, ...]:
    """Return pictures with cells that are quickly judged, at least one."""
    chosen: list[RetrainingPicture] = []
    n_pixels = 0
    for picture in pictures:
        n_pixels += picture.labels.size
        if chosen and n_pixels > _MOST_CHECKED_PX:
            break
        if n_known_cells([picture]):
            chosen.append(picture)
    return tuple(chosen)
