"""The child process, started by hand; what it would serve is left out where only its beginning and end count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import msgspec
import pytest

from napari_cellsam.errors import MessageError
from napari_cellsam.service.child import _build
from napari_cellsam.service.handshake import VERSION, ChildOptions, Hello, Ready, decode_answer, decode_hello, encode
from napari_cellsam.service.messages import Failure

_HANG_S = 60
_HELLO = Hello(token="t" * 32, parent_pid=os.getpid(), version=VERSION)
_GREETING = encode(_HELLO)


@contextmanager
def child(*command: str):
    """Run a child with pipes; its standard input closes at the end."""
    arguments = [sys.executable, "-P", *command]
    pipes = {"bufsize": 0, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def building(body: str) -> tuple[str, str]:
    """Return the command of a child that does this instead of making a service."""
    return "-c", (
        "import os, subprocess, sys, time\n"
        "from napari_cellsam import errors\n"
        "from napari_cellsam.service.child import run\n"
        f"def build(options):\n    {body}\n"
        "sys.exit(run(build))"
    )


def last_words(process: subprocess.Popen, first: bytes = _GREETING) -> tuple[bytes, bytes]:
    """Say something, wait until the child ends by itself, and return what it said to parent and people."""
    process.stdin.write(first)
    process.wait(_HANG_S)
    return process.stdout.read(), process.stderr.read()


def say(process: subprocess.Popen, hello: Hello = _HELLO) -> None:
    """Say hello."""
    process.stdin.write(encode(hello))


def test_a_child_that_is_told_nothing_says_how_it_is_meant_to_be_started():
    with child("-m", "napari_cellsam.service.child") as process:
        out, words = process.communicate(timeout=_HANG_S)
    assert process.returncode == 1 and b"napari-cellsam serve" in words
    assert decode_answer(out).error == "MessageError"


@pytest.mark.parametrize(
    "line", [b"hello\n", b"{}\n", b'{"token": 5, "parent_pid": 1}\n', b"\xff\xfe\n", b"x" * 100_000]
)
def test_a_hello_that_is_none_is_refused_without_being_shown(line):
    with pytest.raises(MessageError) as error:
        decode_hello(line)
    assert "xx" not in str(error.value) and "5" not in str(error.value)


@pytest.mark.parametrize("told", [{}, {"version": "0.0.1", "of another": "version"}])
def test_a_parent_of_another_version_is_told_to_start_anew(told):
    line = json.dumps({"token": "t" * 32, "parent_pid": os.getpid(), **told}).encode()
    with child("-m", "napari_cellsam.service.child") as process:
        out, _ = process.communicate(line + b"\n", timeout=_HANG_S)
    answer = decode_answer(out)
    assert answer.error == "ServiceUnavailableError" and "start it again" in answer.message


def test_hello_and_answer_are_lines_that_are_read_as_they_were_written():
    hello = Hello(token="a\nb", parent_pid=7, options=ChildOptions(models=("compact",), device="cpu"))
    failure = Failure(error="DeviceError", message="no\nsuch device")
    assert encode(hello).count(b"\n") == 1 and decode_hello(encode(hello)) == hello
    assert [decode_answer(encode(answer)) for answer in (Ready(port=5, pid=6), failure)] == [
        Ready(port=5, pid=6),
        failure,
    ]


def test_an_answer_that_is_none_is_shown():
    with pytest.raises(MessageError, match="welcome"):
        decode_answer(b"welcome to your new shell")


def test_a_child_ends_when_its_standard_input_does_whatever_it_is_at():
    with child(*building("print('building', file=sys.stderr, flush=True); time.sleep(600)")) as process:
        say(process)
        assert b"building" in process.stderr.readline()
        process.stdin.close()
        assert process.wait(_HANG_S) == 0


def test_a_child_whose_parent_is_gone_ends_although_someone_holds_its_standard_input():
    with subprocess.Popen([sys.executable, "-c", ""]) as parent:
        parent.wait(_HANG_S)
    with child(*building("time.sleep(600)")) as process:
        say(process, Hello(token="t", parent_pid=parent.pid, version=VERSION))
        assert process.wait(_HANG_S) == 0


def test_why_a_service_cannot_be_made_is_told_to_parent_and_people():
    with child(*building("raise errors.DeviceError('there is no cuda here')")) as process:
        out, words = last_words(process)
    assert process.returncode == 1 and b"there is no cuda here" in words
    assert decode_answer(out) == Failure(error="DeviceError", message="there is no cuda here")


def test_on_a_large_machine_large_images_are_taken(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=64 * 2**30))
    with _build(ChildOptions()) as service:
        limits = service.limits
    assert limits.image_bytes == limits.max_body_bytes == limits.lesson_bytes == 16 * 2**30
    assert limits.max_pixels == 16 * 2**30


def test_what_a_library_prints_is_for_people_and_what_it_starts_reads_nothing():
    noise = (
        "print('noise', flush=True); os.write(1, b'more noise'); "
        "subprocess.run([sys.executable, '-c', 'import sys; print(len(sys.stdin.read()))'], check=True); "
        "raise errors.ModelError('end')"
    )
    with child(*building(noise)) as process:
        out, words = last_words(process, _GREETING + b"not for others")
    assert msgspec.json.decode(out)["message"] == "end"
    assert words.startswith(b"noise\nmore noise0\n")


def test_an_error_that_nobody_foresaw_is_among_the_last_words():
    with child(*building("raise RuntimeError('out of luck')")) as process:
        out, words = last_words(process)
    assert process.returncode == 1 and not out and b"RuntimeError: out of luck" in words
