"""Leases on a local service, played by a small script that only shakes hands."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from napari_cellsam.errors import ServiceUnavailableError
from napari_cellsam.service import local
from napari_cellsam.service.local import LocalService, Patience, local_service

_STAY = (
    "import json, os, sys; sys.stdin.readline();"
    "print(json.dumps({'type': 'ready', 'port': 1, 'pid': os.getpid()}), flush=True); sys.stdin.read()"
)
_COMMAND = (sys.executable, "-S", "-E", "-c", _STAY)
_HANG_S = 60


@pytest.fixture
def service():
    """Return a service that has not started."""
    service = LocalService(command=_COMMAND)
    yield service
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


def test_nothing_runs_before_the_first_lease(service):
    assert not service.is_started
    with pytest.raises(ServiceUnavailableError, match="take a lease"):
        service.wait()


def test_two_leases_share_one_process_which_ends_with_the_last(service):
    first, second = service.acquire(), service.acquire()
    pid = service.pid
    first.close()
    assert service.pid == pid and psutil.pid_exists(pid)
    second.close()
    assert not service.is_started and ended(pid)


def test_a_lease_that_was_released_twice_does_not_end_another_one(service):
    first, second = service.acquire(), service.acquire()
    service.release(first)
    service.release(first)
    assert service.is_started
    second.close()


def test_a_lease_after_the_last_one_starts_a_new_process(service):
    service.acquire().close()
    lease = service.acquire()
    assert psutil.pid_exists(service.pid)
    lease.close()


def test_a_service_that_was_started_by_hand_outlives_its_leases(service):
    service.start()
    service.acquire().close()
    pid = service.pid
    assert psutil.pid_exists(pid)
    service.close()
    assert ended(pid)


def test_closing_the_service_closes_its_leases(service):
    lease = service.acquire()
    service.close()
    with pytest.raises(ServiceUnavailableError, match="given back"):
        lease.send(None)


def test_a_service_that_was_given_up_is_tried_again_after_a_rest(tmp_path):
    """The script fails until a file is there."""
    there = tmp_path / "there"
    code = f"import os, sys; os.path.exists({str(there)!r}) or sys.exit(7); " + _STAY
    patience = Patience(max_deaths=1, rest_s=0)
    service = LocalService(patience=patience, command=(sys.executable, "-S", "-E", "-c", code))
    lease = service.acquire()
    with pytest.raises(ServiceUnavailableError, match="exit code 7"):
        service.wait()
    there.touch()
    service.wait()
    lease.close()


def test_a_service_that_was_given_up_is_left_alone_until_it_has_rested():
    service = LocalService(patience=Patience(max_deaths=1, rest_s=_HANG_S), command=(sys.executable, "-c", "exit(7)"))
    lease = service.acquire()
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError, match="exit code 7"):
            service.wait()
    lease.close()


def test_all_of_a_process_share_one_service():
    assert local_service() is local_service()


def test_a_forked_copy_of_the_process_has_a_service_of_its_own(monkeypatch):
    mine = local_service()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    try:
        assert local_service() is not mine
    finally:
        local._shared.pop(-1)


def test_a_forked_copy_of_the_process_does_not_end_the_service(service, monkeypatch):
    lease = service.acquire()
    pid = service.pid
    with monkeypatch.context() as copy:
        copy.setattr(os, "getpid", lambda: -1)
        service.close()
    assert service.is_started and psutil.pid_exists(pid)
    lease.close()


def test_leaving_python_without_a_word_ends_the_process():
    code = f"""
import sys
from napari_cellsam.service.local import LocalService
service = LocalService(command={_COMMAND!r})
lease = service.acquire()
print(service.pid)
"""
    parent = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert ended(int(parent.stdout)) and not parent.stderr


def test_what_napari_imports_for_it_is_light():
    code = "import sys, napari_cellsam.service.local; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "httpx", "starlette", "uvicorn"} & set(loaded)
