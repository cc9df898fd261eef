"""Fine-tuning: a few corrected pictures make a model better at their kind, in steps that let clicks go first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_cellsam.engine import Model
from napari_cellsam.models.memory_limits import OutOfMemoryError, free_memory, no_more_memory
from napari_cellsam.models.steps import Aside, Steps
from napari_cellsam.training.curves import Curves
from napari_cellsam.training.finetune_batches import FinetuneBatches, lesson, synthetic_pictures
from napari_cellsam.training.finetune_state import FinetuneState
from napari_cellsam.training.judging import judge_steps
from napari_cellsam.training.learner import Learner, Stage
from napari_cellsam.training.lessons import Lessons, n_known_cells
from napari_cellsam.types.finetuning import FinetuneOptions, TrainingProgress

__all__ = ["CHECKPOINT", "Finetuning", "FinetuningPlace"]

CHECKPOINT = "checkpoint.pt"
_WARM_UP = 0.05  # share of the budget
_N_VAL_CROPS = 8
_MOST_CHECKED_PX = 4_000_000
_FEW_CELLS = 10  # of which F1 says too little to choose by it
_LOSS_WEIGHS = 0.02  # a validation loss, against F1
_SMOOTH = 0.95

Micro = Generator[Any, Any, dict[str, float]]


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
    clock
        Seconds from some moment on.
    """

    def __init__(
        self,
        learner: Learner,
        lessons: Lessons,
        options: FinetuneOptions,
        place: FinetuningPlace,
        *,
        is_stopped: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._learner, self._lessons, self._options, self._place = learner, lessons, options, place
        self._is_stopped, self._clock = is_stopped, clock
        self._running: dict[str, float] = {}
        self.n_at_once = min(learner.n_at_once, options.batch)

    def steps(self) -> Steps[FinetuneState]:
        """Train until the budget is spent, or until it is stopped; closing the steps leaves a checkpoint.

        Raises
        ------
        DeviceMemoryError
            If not even a single crop fits into memory.
        CheckpointError
            If there is a checkpoint that is broken.
        """
        batches, val = yield Aside(self._prepare)
        state = FinetuneState.begin(self._learner, self._options.rate)
        path = self._place.folder / CHECKPOINT
        went_on = self._options.resume and state.load(path, self._place.fingerprint)
        curves = Curves(self._place.folder, keep=went_on)
        try:
            yield from self._train(state, batches, val, curves)
        except GeneratorExit:
            state.save(path, self._place.fingerprint)
            raise
        finally:
            curves.close()
        return state

    def _prepare(self) -> tuple[FinetuneBatches, tuple[Tensor, Tensor]]:
        """Return what crops are drawn from, and those that are validated on."""
        options, lessons = self._options, self._lessons
        crops = replace(self._learner.crop_options(options), synthetic_share=options.replay)
        others = [lesson(picture) for picture in lessons.replay]
        if options.replay and not others:
            others = synthetic_pictures(options.seed)
        batches = FinetuneBatches([lesson(p) for p in lessons.train], others, crops, options.batch)
        plain = replace(crops, synthetic_share=0.0, augment=replace(crops.augment, damaged_share=0.0))
        val = FinetuneBatches([lesson(p) for p in lessons.val], [], plain, _N_VAL_CROPS)
        return batches, val.draw(0)

    def _train(
        self, state: FinetuneState, batches: FinetuneBatches, val: tuple[Tensor, Tensor], curves: Curves
    ) -> Steps[None]:
        begun = self._clock() - state.spent_s
        while (share := self._share(state)) < 1 and not self._is_stopped():
            stage = self._stage(share)
            pictures, labels = yield Aside(lambda: batches.draw(state.step))
            losses = yield from self._learn(state, (pictures, labels), stage)
            state.spent_s = self._clock() - begun
            self._note(losses)
            progress = self._progress(state, stage)
            if self._share(state) * self._options.n_checks >= state.n_checks + 1:
                progress = yield from self._check(state, val, progress)
                state.spent_s = self._clock() - begun
            curves.add(progress)
            yield progress
        if not state.best and state.step:
            yield from self._check(state, val, self._progress(state, "checking"))

    def _share(self, state: FinetuneState) -> float:
        """Return the share of the budget that is spent."""
        options = self._options
        return state.step / options.steps if options.steps else state.spent_s / (60 * options.minutes)

    def _stage(self, share: float) -> Stage:
        if not self._learner.can_detect:
            return "masks"
        return self._options.first_stage if share < self._options.masks_from else "masks"

    def _learn(self, state: FinetuneState, batch: tuple[Tensor, Tensor], stage: Stage) -> Micro:
        """Take one step, with as many crops at once as fit into memory; return the losses."""
        self._learner.set_stage(stage)
        while True:
            try:
                losses = yield from self._gradients(state, batch, stage)
                break
            except OutOfMemoryError as error:
                state.optimizer.zero_grad(set_to_none=True)
                free_memory()
                if self.n_at_once == 1:
                    raise no_more_memory("learn from a single crop; a smaller side helps, too") from error
                self.n_at_once //= 2
        for group in state.optimizer.param_groups:
            group["lr"] = group["base_lr"] * _schedule(self._share(state), self._options.masks_from)
        nn.utils.clip_grad_norm_(self._learner.network.parameters(), self._learner.max_norm)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.follow(self._options.average)
        return losses

    def _gradients(self, state: FinetuneState, batch: tuple[Tensor, Tensor], stage: Stage) -> Micro:
        """Add up the gradients of a batch, some crops at a time."""
        pictures, labels = batch
        means: dict[str, float] = {}
        for first in range(0, len(labels), self.n_at_once):
            yield None
            some = slice(first, first + self.n_at_once)
            weight = len(labels[some]) / len(labels)
            seed = hash((self._options.seed, state.step, first)) % 2**63
            for name, value in self._part(pictures[some], labels[some], stage, weight, seed).items():
                means[name] = means.get(name, 0.0) + weight * value
        return means

    def _part(
        self, pictures: Tensor, labels: Tensor, stage: Stage, weight: float, seed: int, *, learns: bool = True
    ) -> dict[str, float]:
        """Compute the losses of some crops, and their gradients. Nothing of torch's state is left changed."""
        with torch.set_grad_enabled(learns), torch.random.fork_rng(_gpus(self._learner)):
            torch.manual_seed(seed)
            parts = self._learner.losses(pictures, labels, stage)
            total = sum(parts.values(), torch.zeros(()))
            if learns and total.requires_grad and bool(total.isfinite()):
                (total * weight).backward()
            return {name: value.item() for name, value in parts.items()}

    def _check(self, state: FinetuneState, val: tuple[Tensor, Tensor], progress: TrainingProgress) -> Any:
        """Judge the averaged weights, keep the best, and write a checkpoint."""
        twin = Finetuning(self._learner.twin(state.average), self._lessons, self._options, self._place)
        losses = yield from twin.val_losses(val)
        total = sum(losses.values())
        figures, f1 = None, None
        if self._learner.can_detect:
            pictures = _some(self._lessons.val)
            figures = yield from judge_steps(Model(twin._learner.backend(), "candidate"), pictures, clicks=False)
            f1 = figures.f1
        few = figures is None or figures.n_cells < _FEW_CELLS
        state.note(-total if few or f1 is None else f1 - _LOSS_WEIGHS * total)
        state.n_checks += 1
        state.save(self._place.folder / CHECKPOINT, self._place.fingerprint)
        return replace(progress, val_losses=losses, f1=f1)

    def val_losses(self, val: tuple[Tensor, Tensor]) -> Micro:
        """Return the losses on held-out crops, by name, in steps."""
        stage: Stage = "joint" if self._learner.can_detect else "masks"
        sums: dict[str, float] = {}
        for i, (picture, labels) in enumerate(zip(*val, strict=True)):
            yield None
            for name, value in self._part(picture[None], labels[None], stage, 1.0, i, learns=False).items():
                sums[name] = sums.get(name, 0.0) + value / len(val[0])
        return sums

    def _note(self, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            if math.isfinite(value):
                self._running[name] = _SMOOTH * self._running.get(name, value) + (1 - _SMOOTH) * value

    def _progress(self, state: FinetuneState, stage: str) -> TrainingProgress:
        share = min(self._share(state), 1.0)
        left = state.spent_s * (1 - share) / share if share > 0 else 0.0
        return TrainingProgress(stage, state.step, share, dict(self._running), seconds_left=left)


def _schedule(share: float, masks_from: float) -> float:
    """Return the factor of the learning rate: a short warm-up, then a cosine down to 5 % in each stage."""
    first = share < masks_from
    at = share / masks_from if first else (share - masks_from) / max(1 - masks_from, 1e-6)
    start = min(1.0, (share + 1e-3) / _WARM_UP) if first else 0.5
    return start * (0.05 + 0.95 * (0.5 + 0.5 * math.cos(math.pi * min(at, 1.0))))


def _some(pictures: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the first pictures that are quickly judged, but at least one with a cell."""
    chosen, n_pixels = [], 0
    for picture in pictures:
        n_pixels += picture.labels.size
        if chosen and n_pixels > _MOST_CHECKED_PX and n_known_cells(chosen):
            break
        chosen.append(picture)
    return tuple(chosen)


def _gpus(learner: Learner) -> list[torch.device]:
    device = next(learner.network.parameters()).device
    return [device] if device.type == "cuda" else []
