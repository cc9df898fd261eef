"""Retraining from end to end: judge the model, fine-tune it, judge what came of it, and register that as a new one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import torch
from filelock import FileLock, Timeout

from napari_cellsam.engine import Model
from napari_cellsam.errors import DatasetError, ModelError, OutputError
from napari_cellsam.export.output import make_folder
from napari_cellsam.models.registry import (
    add_model,
    check_free,
    find_model,
    find_weights,
    is_registered,
)
from napari_cellsam.models.spec import ModelNotes
from napari_cellsam.models.steps import Aside, Steps
from napari_cellsam.models.weights import inspect_checkpoint, load_network
from napari_cellsam.settings import training_dir
from napari_cellsam.training.finetune import Finetuning, FinetuningPlace
from napari_cellsam.training.finetune_state import FinetuneState
from napari_cellsam.training.judging import judge_steps
from napari_cellsam.training.learner import Learner
from napari_cellsam.training.learners import learner_of
from napari_cellsam.training.lessons import Lessons, picture_hash, with_judges
from napari_cellsam.training.tightness import tightness_steps
from napari_cellsam.types import SegmentOptions
from napari_cellsam.types.finetuning import Figures, FinetuneOptions, TrainingProgress, TrainingRecord

__all__ = ["Retraining", "retrain_steps"]

_TIMES = ("minutes", "resume")  # options that may differ when a training goes on


@dataclass(frozen=True, eq=False)
class Retraining:
    """What is asked of a retraining.

    Attributes
    ----------
    name
        Of the new model, not taken yet.
    parent
        Name of the model that it is made from, or path to its weights.
    lessons
        Pictures to learn from and to be judged on.
    options
        How.
    device, precision
        As for `napari_cellsam.load_model`.
    """

    name: str
    parent: str
    lessons: Lessons
    options: FinetuneOptions = field(default_factory=FinetuneOptions)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "auto"


@dataclass(frozen=True, eq=False)
class _Parent:
    """A model as it is before."""

    name: str
    weights_id: str
    learner: Learner
    defaults: SegmentOptions | None
    licence: str
    licence_url: str
    images: tuple[str, ...] = ()

    def model(self, learner: Learner, name: str) -> Model:
        """Return a model with the weights of a learner, used as this one is."""
        return Model(learner.backend(), name, self.defaults)


def retrain_steps(task: Retraining, is_stopped: Callable[[], bool] = lambda: False) -> Steps[TrainingRecord]:
    """Make a new model out of one that is there, in steps.

    Both are judged on the same held-out cells, by the same code and in the same precision. The parent stays as it is;
    the new model is registered under its own name, with a `TrainingRecord`.

    Parameters
    ----------
    task
        What is asked.
    is_stopped
        Asked between steps whether to end the training with the best so far. To break it off and go on another time,
        close the steps instead: the same task then goes on from a checkpoint.

    Returns
    -------
    TrainingRecord
        Where the new model comes from, and how good both are.

    Raises
    ------
    ModelError
        If the name is taken, is being trained or cannot be one, or the parent cannot be used.
        `ModelNotFoundError` if it is not there.
    DatasetError
        If nothing can be learned from the pictures, or nothing was learned before the training was stopped.
    DeviceMemoryError
        If not even a single crop fits into memory.
    CheckpointError
        If an interrupted training left a broken checkpoint.
    OutputError
        If the new model cannot be written.
    """
    check_free(task.name)
    folder = training_dir() / task.name
    with _alone(folder):
        return (yield from _retrain_steps(task, folder, is_stopped))


def _retrain_steps(task: Retraining, folder: Path, is_stopped: Callable[[], bool]) -> Steps[TrainingRecord]:
    yield TrainingProgress("before")
    lessons = yield Aside(lambda: with_judges(task.lessons))
    parent: _Parent = yield Aside(partial(_load, task))
    hashes = yield Aside(lambda: _hashes(lessons))
    before = yield from _judged(parent.model(parent.learner.twin({}), parent.name), lessons)
    shift = yield from _tightened(parent, lessons)
    place = FinetuningPlace(folder, _fingerprint(task, parent, hashes))
    # Outlines that were fitted are a change by themselves, which training may not make better.
    training = Finetuning(parent.learner, lessons, task.options, place, is_stopped=is_stopped, judges_start=bool(shift))
    state = yield from training.steps()
    if not state.best:
        raise DatasetError("the training was stopped before anything was learned; give it more time")
    yield TrainingProgress("after", state.step, 1.0)
    best = parent.learner.twin(state.best)
    after = yield from _judged(parent.model(best.twin({}), task.name), lessons)
    record = _record(task, parent, hashes, (before, after), state, shift)
    yield Aside(lambda: _register(task, parent, best, record, place))
    return record


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let nobody else train in a folder, in this process or another.

    Raises
    ------
    ModelError
        If somebody does.
    OutputError
        If nothing can be written there.
    """
    make_folder(folder)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ModelError(
            f"a model {folder.name!r} is being trained already, in another window or program; wait for it, or choose "
            "another name"
        ) from error
    except OSError as error:
        raise OutputError(f"nothing can be written into {folder.parent} ({error.strerror or error})") from error
    try:
        yield
    finally:
        lock.release()


def _load(task: Retraining) -> _Parent:
    """Load the model that is fine-tuned, in full precision."""
    weights = find_weights(task.parent)
    with weights.open("rb") as file:
        weights_id = hashlib.file_digest(file, "sha256").hexdigest()
    learner = learner_of(load_network(weights), task.device, task.precision, task.options.freeze_backbone)
    if not is_registered(task.parent):
        return _Parent(task.parent, weights_id, learner, None, "unknown", "")
    spec = find_model(task.parent)
    images = spec.training.images if spec.training is not None else ()
    return _Parent(spec.name, weights_id, learner, spec.defaults, spec.licence, spec.licence_url, images)


def _judged(model: Model, lessons: Lessons) -> Steps[Figures]:
    return (yield from judge_steps(model, lessons.val))


def _tightened(parent: _Parent, lessons: Lessons) -> Steps[float]:
    """Let outlines begin as tight as people draw them, which training alone takes long for; return by how much."""
    if not parent.learner.can_tighten:
        return 0.0
    shift = yield from tightness_steps(parent.model(parent.learner.twin({}), parent.name), lessons.train)
    parent.learner.tighten(shift)
    return shift


def _hashes(lessons: Lessons) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the hashes of what is learned from, and of what judges."""
    return tuple(map(picture_hash, lessons.train)), tuple(map(picture_hash, lessons.val))


def _fingerprint(task: Retraining, parent: _Parent, hashes: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
    """Return a name of a training; it is the same one when it gets more time."""
    options = {key: value for key, value in asdict(task.options).items() if key not in _TIMES}
    replay = [picture_hash(picture) for picture in task.lessons.replay]
    return hashlib.sha256(msgspec.json.encode([parent.weights_id, hashes, replay, options])).hexdigest()


def _record(
    task: Retraining,
    parent: _Parent,
    hashes: tuple[tuple[str, ...], tuple[str, ...]],
    figures: tuple[Figures, Figures],
    state: FinetuneState,
    shift: float,
) -> TrainingRecord:
    n_replayed = len(task.lessons.replay)
    others = f"{n_replayed} pictures" if n_replayed else "synthetic pictures"
    return TrainingRecord(
        parent=parent.name,
        parent_weights=parent.weights_id,
        data=hashes[0],
        judged_on=hashes[1],
        replay=others if task.options.replay else "nothing",
        before=figures[0],
        after=figures[1],
        options=replace(task.options, resume=True),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        steps=state.step,
        seconds=round(state.spent_s, 1),
        outline_shift=shift,
        images=tuple(dict.fromkeys([*parent.images, *(picture.image.image_id for picture in task.lessons.train)])),
        n_judges_known=sum(picture.image.image_id in parent.images for picture in task.lessons.val),
    )


def _register(task: Retraining, parent: _Parent, best: Learner, record: TrainingRecord, place: FinetuningPlace) -> None:
    """Write the new model, and take away what only the training needed; the learning curves stay."""
    weights = place.folder / "model.safetensors"
    best.save(weights)
    title = f"{task.name}, learned from {parent.name} on {time.strftime('%Y-%m-%d')}"
    notes = ModelNotes(
        description=title,
        licence=parent.licence,
        licence_url=parent.licence_url,
        defaults=parent.defaults or SegmentOptions(),
        training=record,
    )
    add_model(weights, task.name, inspect_checkpoint, notes)
    weights.unlink(missing_ok=True)
    place.clear()
