"""``napari-cellsam segment --server`` lets a service do the work."""

import imageio.v3 as iio
import numpy as np
import pytest

from napari_cellsam.cli import patience
from napari_cellsam.errors import AuthenticationError, ServiceUnavailableError
from napari_cellsam.export.label_tiff import read_labels
from napari_cellsam.service import connect as module
from napari_cellsam.service.messages import LimitsInfo, ModelInfo, ServiceInfo


class FakeClient:
    """A service with two models, which segments as the model of these tests does."""

    def __init__(self, model):
        self.segment = model.segment
        self.connected = []
        self.closed = 0
        self.error = None

    def info(self):
        if self.error:
            raise self.error
        models = [
            ModelInfo(name=name, title=name, licence="MIT", weights_id="", loaded=False, can_detect=None)
            for name in ("first", "second")
        ]
        limits = LimitsInfo(max_body_bytes=1, max_pixels=1, max_prompts=1, max_waiting=1)
        return ServiceInfo(
            version="1",
            protocol=1,
            device="cpu",
            memory_bytes=1,
            memory_used_bytes=1,
            models=tuple(models),
            limits=limits,
            private=False,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed += 1


@pytest.fixture
def client(model, monkeypatch):
    fake = FakeClient(model)

    def connect(server, token_file, name):
        fake.connected.append((server, token_file, name))
        return fake

    monkeypatch.setattr(module, "connect", connect)
    return fake


@pytest.fixture
def file(picture, tmp_path):
    iio.imwrite(tmp_path / "a.png", picture)
    return tmp_path / "a.png"


def test_a_server_does_the_work_and_no_model_is_loaded(run, client, model, picture, file, tmp_path):
    ended = run("segment", file, "--server", "http://127.0.0.1:1", "--token-file", tmp_path / "token", "--json")
    assert ended.code == 0
    np.testing.assert_array_equal(read_labels(tmp_path / "a_labels.tif") > 0, picture > 0)
    assert client.connected == [("http://127.0.0.1:1", tmp_path / "token", "")]
    assert (ended.document["model"], model.loaded, client.closed) == ("first", [], 1)


def test_a_model_of_the_server_is_chosen_by_name(run, client, file):
    ended = run("segment", file, "--server", "http://127.0.0.1:1", "--model", "second", "--json")
    assert (ended.code, ended.document["model"]) == (0, "second")
    assert client.connected == [("http://127.0.0.1:1", None, "second")]


def test_a_model_that_the_server_lacks_is_one_line_with_what_it_offers(run, client, model, file):
    ended = run("segment", file, "--server", "http://127.0.0.1:1", "--model", "third")
    assert (ended.code, ended.err) == (1, "error: the server offers first, second; got --model third\n")
    assert not model.images


@pytest.mark.parametrize("error", [AuthenticationError("the token is\n wrong"), ServiceUnavailableError("gone")])
def test_a_server_that_does_not_answer_is_one_line_before_any_work(run, client, model, file, error):
    client.error = error
    ended = run("segment", file, "--server", "http://127.0.0.1:1")
    assert (ended.code, ended.err) == (1, f"error: {' '.join(str(error).split())}\n")
    assert not model.images
    assert client.closed == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--server", "http://127.0.0.1:1", "--device", "cuda"],
        ["--server", "http://127.0.0.1:1", "--precision", "bf16"],
        ["--token-file", "token"],
    ],
)
def test_options_that_do_not_go_together_end_with_2(run, client, model, file, arguments):
    assert run("segment", file, *arguments).code == 2
    assert not client.connected
    assert not model.loaded


def test_a_server_without_a_token_is_one_line(run, model, file, monkeypatch):
    monkeypatch.delenv("NAPARI_CELLSAM_TOKEN", raising=False)
    ended = run("segment", file, "--server", "http://127.0.0.1:1")
    assert ended.code == 1
    assert "NAPARI_CELLSAM_TOKEN" in ended.err


@pytest.fixture
def pauses(monkeypatch):
    made = []
    monkeypatch.setattr(patience, "sleep", made.append)
    return made


def failing(model, n_times):
    """Return a way to segment that fails so often."""
    left, real = [n_times], model.segment

    def segment(*args, **options):
        if left[0]:
            left[0] -= 1
            raise ServiceUnavailableError("the service is shutting down")
        return real(*args, **options)

    return segment


def test_a_server_that_is_started_anew_is_waited_for(run, client, model, file, pauses):
    client.segment = failing(model, 3)
    ended = run("segment", file, "--server", "http://127.0.0.1:1")
    assert ended.code == 0
    assert pauses == [1, 2, 4]
    assert ended.err.count("waited for") == 1


def test_a_server_that_does_not_come_back_is_waited_for_once(run, client, model, file, pauses, tmp_path):
    client.segment = failing(model, 10**9)
    ended = run("segment", file, file, "--server", "http://127.0.0.1:1", "-o", tmp_path / "out")
    assert ended.code == 1
    assert 60 <= sum(pauses) < 80
    assert ended.err.count("error:") == 2
