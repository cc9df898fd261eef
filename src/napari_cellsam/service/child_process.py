"""The process of a local service, as its parent holds it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, Any

from napari_cellsam.errors import ServiceUnavailableError
from napari_cellsam.service.failures import error_of
from napari_cellsam.service.handshake import VERSION, ChildOptions, Hello, Ready, decode_answer, encode
from napari_cellsam.service.last_words import LastWords

__all__ = ["ChildProcess", "default_command"]

_HOST = "127.0.0.1"
_LINE_BYTES = 65536
_DRAIN_S = 1.0

_children: weakref.WeakSet[ChildProcess] = weakref.WeakSet()


def default_command() -> tuple[str, ...]:
    """Return how this interpreter starts a service.

    ``-P`` keeps the current folder out of the search for modules: a user's own ``random.py`` must not become ours.
    ``faulthandler`` turns a crash inside a library into last words.
    """
    program = Path(sys.executable)
    if program.name.lower() == "pythonw.exe":  # which has no pipes to talk through; we let no window open ourselves
        program = program.with_name("python.exe")
    return (str(program), "-P", "-X", "utf8", "-X", "faulthandler", "-m", "napari_cellsam.service.child")


class ChildProcess:
    """Start a service in a process of its own, which ends with this one however that ends.

    Its standard input stays open and silent; that it closes tells the child that its parent is gone.

    Parameters
    ----------
    command
        Program and arguments.
    options
        What the service is to offer.

    Raises
    ------
    ServiceUnavailableError
        If there is no such program.
    """

    def __init__(self, command: Sequence[str], options: ChildOptions) -> None:
        self.token = secrets.token_urlsafe(32)
        self.suspect = False
        """Whether a request to it timed out."""
        self._port = 0
        self._pid = 0
        self._died = threading.Event()
        self._ending = threading.Lock()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, or what the caller asks for
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                **_apart(),
            )
        except OSError as error:
            raise ServiceUnavailableError(f"cannot start a local model service with {command[0]}: {error}") from error
        _children.add(self)
        self._words = LastWords(_pipe(self._process.stderr))
        self._greet(Hello(token=self.token, parent_pid=os.getpid(), version=VERSION, options=options))

    @property
    def url(self) -> str:
        """Where it listens, once it is ready."""
        return f"http://{_HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid or self._process.pid

    @property
    def last_words(self) -> str:
        """The newest lines of its standard error."""
        return self._words.text()

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until it listens; end it if it does not.

        Raises
        ------
        CellsamError
            What the child itself says that it cannot start for.
        ServiceUnavailableError
            If it dies, says nonsense, or does not get ready in time.
        """
        line, in_time = self._first_words(timeout_s)
        if not in_time:
            raise ServiceUnavailableError(f"the local model service was not ready within {timeout_s:g} s")
        if not line:
            self.end(_DRAIN_S)
            raise ServiceUnavailableError(f"the local model service {self.wait()} before it was ready")
        answer = decode_answer(line)
        if not isinstance(answer, Ready):
            raise error_of(answer)
        self._port, self._pid = answer.port, answer.pid

    def wait(self) -> str:
        """Wait for its end; return how it ended, as in ``"ended with exit code 1"``."""
        code = self._process.wait()
        self._died.set()
        self._words.wait(_DRAIN_S)
        self._close_pipes()
        return _how(code)

    def has_died(self, timeout_s: float) -> bool:
        """Wait so long for its end; say whether it has come."""
        return self._died.wait(timeout_s)

    def answers(self, timeout_s: float) -> bool:
        """Ask whether it is alive and well; a frozen one accepts connections, but says nothing."""
        connection = HTTPConnection(_HOST, self._port, timeout=timeout_s)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """End it at once, also when it is frozen."""
        self._process.kill()

    def end(self, grace_s: float) -> None:
        """Let it end, and kill it if it has not done so in time. Whoever waits for its end is told."""
        with self._ending:
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def forget(self) -> None:
        """Let go of it in a forked copy of its parent, which would keep its standard input open otherwise."""
        self._process.returncode = 0  # it is no child of this process: nothing to wait for, nothing to kill
        _pipe(self._process.stdin).close()

    def _greet(self, hello: Hello) -> None:
        """Say hello; a child that died before it could read has its say in `wait_until_ready`."""
        try:
            _pipe(self._process.stdin).write(encode(hello))
        except OSError:
            self.kill()

    def _first_words(self, timeout_s: float) -> tuple[bytes, bool]:
        """Return the child's first line, empty if it has none, and whether it came in time."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.kill()

        timer = threading.Timer(timeout_s, give_up)
        timer.daemon = True
        timer.start()
        output = _pipe(self._process.stdout)
        try:
            line = output.readline(_LINE_BYTES)
            while line and not line.startswith(b"{"):  # what a user's sitecustomize prints
                line = output.readline(_LINE_BYTES)
        finally:
            timer.cancel()
            timer.join()
        return line, not late.is_set()

    def _close_pipes(self) -> None:
        """Close our ends of the pipes."""
        with self._ending:
            for pipe in (self._process.stdin, self._process.stdout):
                _pipe(pipe).close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    """Return the pipe, which is there because `Popen` was asked for it."""
    if pipe is None:
        raise TypeError("the process was started without this pipe")
    return pipe


def _apart() -> dict[str, Any]:
    """Return what keeps a child from sharing our Ctrl-C, and from opening a console window."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _how(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (by the system, if its memory ran out)" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


def _forget_children() -> None:
    """Let go of the parent's children in a forked copy of it."""
    for child in list(_children):
        child.forget()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_children)
