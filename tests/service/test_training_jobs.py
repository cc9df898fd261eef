"""A service trains for its clients, if it may, and lets clicks go first."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from tests.training.teaching import disc_picture

from napari_cellsam.errors import (
    DatasetError,
    LimitExceededError,
    MessageError,
    ModelError,
    RequestCancelledError,
    UnsupportedTaskError,
)
from napari_cellsam.service.client import Client
from napari_cellsam.service.convert_lessons import lesson_data, lessons_of
from napari_cellsam.service.core import Service
from napari_cellsam.service.direct import DirectTransport
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import LessonData, TrainModel
from napari_cellsam.service.model_pool import ModelPool
from napari_cellsam.service.ticket import Ticket
from napari_cellsam.service.training_jobs import TrainingJobs
from napari_cellsam.service.transport import Call
from napari_cellsam.settings import training_dir
from napari_cellsam.training.release import save_release
from napari_cellsam.types import Prompt
from napari_cellsam.types.finetuning import FinetuneOptions

WAIT_S = 120
QUICK = FinetuneOptions(steps=4, side=64, batch=2, n_checks=2, replay=0.0)
LONG = FinetuneOptions(steps=100_000, side=64, batch=2, n_checks=1, replay=0.0)
TRAIN, VAL = (disc_picture(1), disc_picture(2)), (disc_picture(3),)


@pytest.fixture
def weights(tiny_compact, tmp_path, monkeypatch):
    for name in ("CACHE", "MODELS", "TRAINING"):
        monkeypatch.setenv(f"NAPARI_CELLSAM_{name}_DIR", str(tmp_path / name))
    path = tmp_path / "tiny.safetensors"
    save_release(tiny_compact, path)
    return path


@pytest.fixture
def make_client(weights):
    services = []

    def make(**options):
        pool = ModelPool([str(weights)], "cpu", "fp32")
        services.append(Service(pool, **({"private": True} | options)))
        return Client(DirectTransport(services[-1]))

    yield make
    for service in services:
        service.close(grace_s=0.0)


class Trainee:
    """Trains in a thread."""

    def __init__(self, client, name="mine-1", options=LONG):
        self.call, self.progress = Call(), []
        self.learning = threading.Event()
        self.result = self.error = None
        self._thread = threading.Thread(target=self._run, args=(client, name, options), daemon=True)
        self._thread.start()

    def _run(self, client, name, options):
        try:
            self.result = client.train(TRAIN, VAL, name, options, on_progress=self._hear, call=self.call)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error
            self.learning.set()

    def _hear(self, progress):
        self.progress.append(progress)
        if progress.step:
            self.learning.set()

    def join(self):
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


def test_a_trained_model_is_offered_and_answers(make_client):
    client, seen = make_client(), []
    trained = client.train(TRAIN, VAL, "mine-1", QUICK, on_progress=seen.append)
    assert trained.name == "mine-1"
    assert [p.stage for p in seen][:2] == ["before", "joint"]
    assert seen[-1].stage == "after"
    assert max(p.step for p in seen) == 4
    [_, info] = client.info().models
    assert (info.name, info.training) == ("mine-1", trained.record)
    client.model = "mine-1"
    assert client.segment(TRAIN[0].image).labels.shape == (128, 128)


def test_a_shared_service_trains_only_if_it_may(make_client):
    client = make_client(private=False)
    assert not client.info().trains
    with pytest.raises(UnsupportedTaskError, match="--allow-training"):
        client.train(TRAIN, VAL, "mine-1", QUICK)
    client = make_client(private=False, trains=True)
    assert client.info().trains
    assert client.train(TRAIN, VAL, "mine-1", QUICK).name == "mine-1"


def test_a_click_is_answered_while_a_model_is_trained(make_client):
    client = make_client()
    trainee = Trainee(client)
    assert trainee.learning.wait(WAIT_S)
    n_before = len(trainee.progress)
    [mask] = client.segment_prompts(TRAIN[0].image, [Prompt(inside=[(20, 20)])])
    assert mask.crop.ndim == 2
    assert len(trainee.progress) - n_before < 100
    trainee.call.cancel()
    trainee.join()
    assert isinstance(trainee.error, RequestCancelledError)


def test_a_training_that_is_stopped_keeps_its_best(make_client):
    client = make_client()
    trainee = Trainee(client)
    assert trainee.learning.wait(WAIT_S)
    assert client.stop_training("mine-1")
    trainee.join()
    assert trainee.error is None
    assert 0 < trainee.result.record.steps < LONG.steps
    assert not client.stop_training("mine-1")


def test_another_client_cannot_stop_it(make_client):
    client = make_client()
    trainee = Trainee(client)
    assert trainee.learning.wait(WAIT_S)
    other = Client(DirectTransport(client._transport._service))
    assert not other.stop_training("mine-1")
    trainee.call.cancel()
    trainee.join()


def test_a_cancelled_training_goes_on_where_it_was(make_client):
    client = make_client()
    trainee = Trainee(client)
    assert trainee.learning.wait(WAIT_S)
    trainee.call.cancel()
    trainee.join()
    checkpoint = training_dir() / "mine-1" / "checkpoint.pt"
    for _ in range(100):  # it is written after the step under way
        if checkpoint.is_file():
            break
        client.info()
        threading.Event().wait(0.05)
    n_steps = max(p.step for p in trainee.progress)
    again = Trainee(client)
    assert again.learning.wait(WAIT_S)
    assert next(p.step for p in again.progress if p.step) >= n_steps
    assert client.stop_training("mine-1")
    again.join()
    assert again.error is None


def test_who_asks_again_for_what_was_made_is_told_of_it(make_client):
    client, seen = make_client(), []
    trained = client.train(TRAIN, VAL, "mine-1", QUICK)
    assert client.train(TRAIN, VAL, "mine-1", QUICK, on_progress=seen.append) == trained and seen == []
    with pytest.raises(ModelError, match="there is a model 'mine-1' already"):
        client.train(TRAIN, VAL, "mine-1", replace(QUICK, steps=5))
    with pytest.raises(ModelError, match="there is a model 'mine-1' already"):
        client.train(TRAIN[:1], VAL, "mine-1", QUICK)
    assert client.train(TRAIN, VAL, "mine-1", QUICK) == trained
    other = Client(DirectTransport(client._transport._service))
    with pytest.raises(ModelError, match="there is a model 'mine-1' already"):
        other.train(TRAIN, VAL, "mine-1", QUICK)


def test_what_cannot_be_trained_says_why(make_client):
    client = make_client()
    with pytest.raises(ModelError, match="cannot name a model"):
        client.train(TRAIN, VAL, "No Name", QUICK)
    with pytest.raises(DatasetError, match="no cell to learn from"):
        client.train((), (), "mine-1", QUICK)


def test_the_request_of_a_training_is_not_kept_beside_its_pictures(weights):
    class Watched(TrainModel, frozen=True, kw_only=True, weakref=True):
        """A request of which can be seen whether it is still there."""

    request = Watched(name="mine-1", train=tuple(map(lesson_data, TRAIN)), val=(), options=QUICK)
    watch = weakref.ref(request)
    pool = ModelPool([str(weights)], "cpu", "fp32")
    job = TrainingJobs(pool, Limits(), allowed=True).make(request, Ticket("anna", "1", lambda frame: None))
    del request
    steps = job.begin(())
    unpacking = next(steps)
    assert watch() is not None
    unpacking.work()
    assert watch() is None
    steps.close()
    pool.close()


def test_a_training_that_was_refused_leaves_nothing_to_stop(weights):
    jobs = TrainingJobs(ModelPool([str(weights)], "cpu", "fp32"), Limits(), allowed=True)
    request = request_of(lesson_data(TRAIN[0]))
    first, second = (Ticket("anna", number, lambda frame: None) for number in "12")
    jobs.make(request, first)
    jobs.make(request, second)
    jobs.forget(second)  # a full queue refused it
    assert jobs.stop("anna", "mine-1")
    jobs.forget(first)
    assert not jobs.stop("anna", "mine-1")


def request_of(*lessons: LessonData) -> TrainModel:
    return TrainModel(name="mine-1", train=lessons)


def test_pictures_come_back_as_they_were():
    sent = replace(TRAIN[0], corner=(64, 128), whole=(4096, 4096))
    [picture] = lessons_of(request_of(lesson_data(sent)), Limits()).train
    assert (picture.corner, picture.whole_shape) == ((64, 128), (4096, 4096))
    assert picture.image.image_id == TRAIN[0].image.image_id
    assert np.array_equal(picture.labels, TRAIN[0].labels)
    assert np.array_equal(picture.verified, TRAIN[0].verified)
    assert (picture.name, picture.group) == (TRAIN[0].name, TRAIN[0].group)


def test_labels_of_another_shape_are_refused():
    small, large = lesson_data(disc_picture(1, side=64)), lesson_data(TRAIN[0])
    spoiled = LessonData(
        image=large.image, labels=small.labels, verified=large.verified, name=large.name, group=large.group
    )
    with pytest.raises(MessageError, match=r"\(64, 64\)"):
        lessons_of(request_of(spoiled), Limits())


def test_more_pictures_than_fit_are_refused():
    lessons = [lesson_data(disc_picture(i)) for i in range(4)]
    with pytest.raises(LimitExceededError, match="service"):
        lessons_of(request_of(*lessons), Limits(lesson_bytes=128 * 128 * 6 * 2))
