"""A local service in a real process that is killed, frozen and orphaned."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_cellsam.errors import AuthenticationError, ServiceTimeoutError, ServiceUnavailableError
from napari_cellsam.service.client import Client
from napari_cellsam.service.http_transport import HttpTransport, Timeouts
from napari_cellsam.service.local import LocalService, Patience
from napari_cellsam.types import Image

_FAKE = (sys.executable, "-P", str(Path(__file__).with_name("fake_child.py")))
_HANG_S = 60
_HURRIED = Patience(first_pause_s=0.01)


@pytest.fixture
def gate(monkeypatch, tmp_path):
    """Return a file that does not exist yet, without which the service does not segment."""
    path = tmp_path / "gate"
    monkeypatch.setenv("GATE", str(path))
    return path


@pytest.fixture
def image():
    """Return an image with one bright cell."""
    pixels = np.zeros((6, 5), np.uint8)
    pixels[1:4, 1:3] = 9
    return Image.from_array(pixels)


@contextmanager
def running(patience: Patience = _HURRIED, **options):
    """Run a service, and connect to it."""
    service = LocalService(patience=patience, command=_FAKE, **options)
    try:
        with Client(service.acquire()) as client:
            yield service, client
    finally:
        service.close()


def ended(pid: int) -> bool:
    """Wait for the end of a process; say whether it came."""
    try:
        psutil.Process(pid).wait(_HANG_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def test_a_request_under_which_the_service_is_killed_is_answered_all_the_same(gate, image):
    pids, cells = [], []

    def kill_the_first(done, total):
        pids.append(service.pid)
        if len(pids) == 1:
            psutil.Process(pids[0]).kill()
        else:
            gate.touch()

    with running() as (service, client):
        segmentation = client.segment(image, on_progress=kill_the_first, on_cells=cells.extend)
    assert len(set(pids)) == 2 and len(cells) == 1
    assert np.array_equal(segmentation.labels, image.pixels[..., 0] > 0)


def test_a_service_that_was_killed_between_requests_is_there_for_the_next(gate, image):
    with running() as (service, client):
        assert len(client.detect(image).scores) == 1
        psutil.Process(service.pid).kill()
        assert len(client.detect(image).scores) == 1


def test_a_service_that_loses_its_device_is_replaced_and_the_request_answered(gate, image, monkeypatch, tmp_path):
    monkeypatch.setenv("LOSE", str(tmp_path / "lost"))
    with running() as (service, client):
        pid = service.pid
        assert len(client.detect(image).scores) == 1
        assert service.pid != pid and (tmp_path / "lost").exists()


def test_an_image_of_which_every_service_dies_is_given_up_but_others_are_not(gate, image):
    with running() as (_, client):
        with pytest.raises(ServiceUnavailableError, match=r"died 3 times(?s:.*)SegmentImage(?s:.*)aargh"):
            client.segment(Image.from_array(np.zeros((4, 4), np.uint8)))
        assert len(client.detect(image).scores) == 1


def test_a_frozen_service_is_given_time_and_goes_on_when_it_thaws(gate, image):
    with running(Patience(probe_s=_HANG_S), timeouts=Timeouts(idle_s=1)) as (service, client):
        client.detect(image)
        process = psutil.Process(service.pid)
        process.suspend()
        with pytest.raises(ServiceTimeoutError):
            client.detect(image)
        process.resume()
        assert len(client.detect(image).scores) == 1 and service.pid == process.pid


def test_a_service_that_stays_frozen_is_replaced_at_the_next_request(gate, image):
    with running(Patience(first_pause_s=0.01, probe_s=0.2), timeouts=Timeouts(idle_s=1)) as (service, client):
        client.detect(image)
        frozen = service.pid
        psutil.Process(frozen).suspend()
        with pytest.raises(ServiceTimeoutError):
            client.detect(image)
        assert len(client.detect(image).scores) == 1
        assert service.pid != frozen and ended(frozen)


def test_a_frozen_service_can_be_ended(gate, image):
    with running(Patience(end_s=0.1)) as (service, client):
        client.detect(image)
        frozen = service.pid
        psutil.Process(frozen).suspend()
    assert ended(frozen)


def test_two_leases_of_one_process_talk_to_one_service(gate, image):
    with running() as (service, client), Client(service.acquire()) as other:
        client.detect(image)
        pid = service.pid
        other.detect(image)
        client.close()
        assert len(other.detect(image).scores) == 1 and service.pid == pid


def test_a_warmed_up_service_has_its_model_loaded(gate):
    with running() as (service, client):
        service.warm_up().result(_HANG_S)
        assert [model.loaded for model in client.info().models] == [True]


def test_a_warm_up_that_the_end_of_the_service_interrupts_is_over(gate):
    with running() as (service, _):
        warming = service.warm_up("no such model")
    assert warming.exception(_HANG_S) is not None


def test_only_who_has_the_token_gets_in(gate, image):
    with (
        running() as (service, _),
        Client(HttpTransport(service.url, "guessed")) as intruder,
        pytest.raises(AuthenticationError),
    ):
        intruder.detect(image)


def test_a_service_whose_package_is_missing_is_given_up_with_its_last_words():
    service = LocalService(
        patience=_HURRIED, command=(sys.executable, "-I", "-S", "-m", "napari_cellsam.service.child")
    )
    with Client(service.acquire()) as client, pytest.raises(ServiceUnavailableError, match="No module named"):
        client.info()


def test_a_service_ends_with_its_parent_however_that_ends():
    """The real one, which has imported nothing heavy by then."""
    code = """
import sys
from napari_cellsam.service.local import local_service
lease = local_service().acquire()
print(local_service().pid, flush=True)
sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as parent:
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    assert ended(pid)


@pytest.mark.slow
def test_the_compact_model_answers_although_its_service_is_killed_meanwhile(monkeypatch, tmp_path):
    from napari_cellsam import load_model, load_sample
    from napari_cellsam.service.local import ChildOptions

    monkeypatch.setenv("NAPARI_CELLSAM_CACHE_DIR", str(tmp_path))
    image = Image.from_array(np.tile(load_sample("fluorescent_nuclei").pixels, (2, 1, 1)))  # several tiles
    options = ChildOptions(models=("compact",), device="cpu", precision="fp32")
    service = LocalService(options, _HURRIED)
    killed = []

    def kill_once(done, total):
        if not killed:
            killed.append(service.pid)
            psutil.Process(service.pid).kill()

    with Client(service.acquire()) as client:
        service.warm_up().result(_HANG_S)
        segmentation = client.segment(image, on_progress=kill_once)
        assert killed and service.pid not in killed
    direct = load_model("compact", "cpu", "fp32").segment(image)
    assert np.array_equal(segmentation.labels > 0, direct.labels > 0) and segmentation.n_cells == direct.n_cells
