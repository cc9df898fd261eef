"""A supervised process, played by small scripts that only shake hands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from napari_cellsam.errors import DeviceError, OptionError, RequestCancelledError, ServiceUnavailableError
from napari_cellsam.service.handshake import ChildOptions
from napari_cellsam.service.supervisor import Patience, Supervisor
from napari_cellsam.service.transport import Call

_HURRIED = Patience(first_pause_s=0.01, max_pause_s=0.02)
_GREET = "import json, os, sys, time; hello = json.loads(sys.stdin.readline()); "
_READY = _GREET + "print(json.dumps({'type': 'ready', 'port': 1, 'pid': os.getpid()}), flush=True); "
_STAY = "sys.stdin.read()"
_HANG_S = 60
_DEFAULTS = ChildOptions()


@pytest.fixture
def supervise():
    """Return a function that supervises a script, until the test ends."""
    supervisors = []

    def start(code: str, patience: Patience = _HURRIED, options: ChildOptions = _DEFAULTS) -> Supervisor:
        supervisors.append(Supervisor((sys.executable, "-S", "-E", "-c", code), options, patience))
        return supervisors[-1]

    yield start
    for supervisor in supervisors:
        supervisor.stop()


def ended(pid: int) -> bool:
    """Wait for the end of a process; say whether it came."""
    try:
        psutil.Process(pid).wait(_HANG_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def test_a_child_that_is_ready_is_handed_out(supervise):
    child = supervise(_READY + _STAY).child()
    assert child.url == "http://127.0.0.1:1" and psutil.pid_exists(child.pid) and len(child.token) >= 32


def test_stopping_ends_the_child_and_refuses_requests(supervise):
    supervisor = supervise(_READY + _STAY)
    child = supervisor.child()
    supervisor.stop()
    assert child.has_died(0) and ended(child.pid)
    with pytest.raises(ServiceUnavailableError, match="closed"):
        supervisor.child()


def test_stopping_kills_a_child_that_does_not_end_by_itself(supervise):
    supervisor = supervise(_READY + "time.sleep(600)", Patience(end_s=0.1))
    child = supervisor.child()
    supervisor.stop()
    assert ended(child.pid)


def test_stopping_does_not_wait_for_a_child_that_is_starting(supervise):
    supervisor = supervise("import sys; sys.stdin.readline(); " + "sys.stdin.read()")
    supervisor.stop()
    with pytest.raises(ServiceUnavailableError, match="closed"):
        supervisor.child()


def test_a_child_that_dies_is_replaced_by_one_with_another_token(supervise):
    supervisor = supervise(_READY + _STAY)
    first = supervisor.child()
    first.kill()
    assert supervisor.has_died(first, _HANG_S)
    second = supervisor.child()
    assert second.pid != first.pid and second.token != first.token


def test_the_child_is_told_what_to_offer(supervise):
    options = ChildOptions(models=("compact",), device="cpu", precision="fp32")
    code = _GREET + "print(hello['options'], hello['parent_pid'], file=sys.stderr, flush=True); "
    supervisor = supervise(code + _READY.removeprefix(_GREET) + _STAY, options=options)
    child = supervisor.child()
    supervisor.stop()
    assert child.last_words == str({"models": ["compact"], "device": "cpu", "precision": "fp32"}) + f" {os.getpid()}"


def test_what_is_printed_before_the_port_does_no_harm(supervise):
    assert supervise("print('welcome'); " + _READY + _STAY).child().url.endswith(":1")


def test_a_child_that_dies_again_and_again_is_given_up_with_its_last_words(supervise):
    supervisor = supervise("import sys; print('no module named luck', file=sys.stderr); sys.exit(3)")
    with pytest.raises(ServiceUnavailableError, match=r"exit code 3(?s:.*)4 times(?s:.*)no module named luck"):
        supervisor.child()


def test_a_program_that_does_not_exist_is_named():
    supervisor = Supervisor(("no-such-python",), ChildOptions(), _HURRIED)
    with pytest.raises(ServiceUnavailableError, match="no-such-python"):
        supervisor.child()
    supervisor.stop()


def test_a_child_that_knows_why_it_cannot_start_is_not_started_again(supervise):
    failure = "print(json.dumps({'type': 'failure', 'error': 'DeviceError', 'message': 'no such device'}), flush=True)"
    supervisor = supervise(_GREET + failure, Patience(first_pause_s=_HANG_S))
    with pytest.raises(DeviceError, match="no such device"):
        supervisor.child()


def test_a_child_that_does_not_get_ready_is_killed(supervise):
    supervisor = supervise("import time; time.sleep(600)", Patience(start_s=0.2, max_deaths=1))
    with pytest.raises(ServiceUnavailableError, match=r"not ready within 0\.2 s"):
        supervisor.child()


def test_a_child_that_closes_its_output_without_a_word_is_given_up(supervise):
    supervisor = supervise(_GREET + "os.close(1); time.sleep(600)", Patience(max_deaths=1))
    with pytest.raises(ServiceUnavailableError, match="before it was ready"):
        supervisor.child()


def test_one_that_was_given_up_is_spent_after_a_rest(supervise):
    supervisor = supervise("raise SystemExit(1)", Patience(first_pause_s=0.01, rest_s=0))
    with pytest.raises(ServiceUnavailableError):
        supervisor.child()
    assert supervisor.is_spent


def test_a_request_that_waits_for_the_start_can_be_cancelled(supervise):
    supervisor = supervise("import time; time.sleep(600)", Patience(end_s=0.1))
    call = Call()
    threading.Timer(0.05, call.cancel).start()
    with pytest.raises(RequestCancelledError):
        supervisor.child(call)


@pytest.mark.parametrize("wrong", [{"max_deaths": 0}, {"start_s": -1.0}, {"rest_s": float("nan")}])
def test_patience_without_sense_is_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Patience(**wrong)


def test_a_suspect_that_does_not_answer_is_replaced(supervise):
    supervisor = supervise(_READY + _STAY, Patience(first_pause_s=0.01, probe_s=0.1))
    first = supervisor.child()
    first.suspect = True
    second = supervisor.child()
    assert second is not first and first.has_died(_HANG_S) and ended(first.pid)


def test_a_suspect_that_answers_is_kept(supervise):
    serve = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Well(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/healthz' else 404)
        self.end_headers()
server = HTTPServer(('127.0.0.1', 0), Well)
print(json.dumps({'type': 'ready', 'port': server.server_port, 'pid': os.getpid()}), flush=True)
server.serve_forever()
"""
    supervisor = supervise(_GREET + serve, Patience(end_s=0.1, probe_s=_HANG_S))
    child = supervisor.child()
    child.suspect = True
    assert supervisor.child() is child and not child.suspect


def test_a_flood_of_words_is_read_and_the_newest_are_kept(supervise):
    code = "print('x' * 5_000_000, file=sys.stderr); print(*range(10_000), sep='\\n', file=sys.stderr); "
    supervisor = supervise(_GREET + code + _READY.removeprefix(_GREET) + _STAY)
    child = supervisor.child()
    supervisor.stop()
    assert child.last_words.splitlines()[-1] == "9999" and len(child.last_words) < 1000


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_a_forked_copy_of_the_parent_does_not_hold_the_child(supervise):
    """Only the pipe can tell this child, since it does not look at its parent's process."""
    code = f"""
import os, sys, time
from napari_cellsam.service.handshake import ChildOptions
from napari_cellsam.service.supervisor import Patience, Supervisor
supervisor = Supervisor((sys.executable, "-S", "-E", "-c", {_READY + _STAY!r}), ChildOptions(), Patience())
child = supervisor.child()
copy = os.fork()
if copy == 0:
    os.close(1)
    time.sleep(600)
print(child.pid, copy, flush=True)
os.kill(os.getpid(), 9)
"""
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    pid, copy = map(int, parent.stdout.split())
    try:
        assert ended(pid)
    finally:
        os.kill(copy, signal.SIGKILL)
