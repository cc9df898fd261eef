"""The child process that runs a local service: ``python -m napari_cellsam.service.child``, started by its parent.

It reads one line of JSON (`Hello`) from its standard input, listens on a free port of 127.0.0.1, writes one line
(`Ready`) to its standard output, and ends when its standard input does, which is when its parent is gone. Its standard
error is for people.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from napari_cellsam.errors import CellsamError
from napari_cellsam.models.idling import wait_briefly
from napari_cellsam.service.failures import failure_of
from napari_cellsam.service.handshake import ChildOptions, Ready, check_version, decode_hello, encode

if TYPE_CHECKING:
    from napari_cellsam.service.core import Service
    from napari_cellsam.service.messages import Failure

__all__ = ["main", "run"]

_LINE_BYTES = 65536
_LOOK_S = 1.0
_BROKEN = 3  # exit code


def main() -> None:
    """Run the service of all models of this machine."""
    wait_briefly()
    sys.exit(run(_build))


def run(build: Callable[[ChildOptions], Service]) -> int:
    """Run a service until the parent is gone.

    Parameters
    ----------
    build
        Makes the service from what the parent wants.

    Returns
    -------
    int
        Exit code: 0 if it listened, 1 if it could not, which the parent was told. It ends with 3 where it is, whatever
        is under way, when only a new process can go on.
    """
    told, answer = _private_pipes()
    try:
        hello = decode_hello(_read_line(told))
        check_version(hello)
        _end_with_parent(told, hello.parent_pid)
        _serve(build(hello.options), hello.token, lambda port: _say(answer, Ready(port=port, pid=os.getpid())))
    except CellsamError as error:
        _say(answer, failure_of(error))
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a parent that is no program of ours sees it too
        return 1
    return 0


def _build(options: ChildOptions) -> Service:
    """Make the service of this machine's models, which takes features that a server computed."""
    import psutil

    from napari_cellsam.service.core import Service
    from napari_cellsam.service.limits import Limits
    from napari_cellsam.service.model_pool import ModelPool

    least = Limits()
    large = max(least.image_bytes, psutil.virtual_memory().total // 4)  # it is the user's own machine
    limits = Limits(
        lesson_bytes=large, image_bytes=large, max_body_bytes=large, max_pixels=max(least.max_pixels, large)
    )
    # torch decides on how many threads it computes: lowering that here would slow down every click
    pool = ModelPool(options.models, options.device, options.precision, limits)
    return Service(pool, limits, private=True)


def _serve(service: Service, token: str, ready: Callable[[int], None]) -> None:
    """Serve for as long as the parent lives, on a port that the system chooses."""
    from napari_cellsam.service.serve import listening

    threading.Thread(target=_end_when_set, args=(service.broken,), daemon=True).start()
    with listening(service, tokens=(token,)) as server:
        ready(server.port)
        server.wait()


def _private_pipes() -> tuple[int, int]:
    """Take standard input and output away from everyone else, and return them.

    Libraries print, and processes that they start inherit these: what they print goes to standard error. On Windows, a
    library that looks at its standard input while it loads would wait for the thread that reads it.
    """
    told, answer = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return told, answer


def _read_line(pipe: int) -> bytes:
    """Return what comes before the first line feed or the end."""
    line = b""
    while b"\n" not in line and len(line) < _LINE_BYTES and (part := os.read(pipe, _LINE_BYTES)):
        line += part
    return line.partition(b"\n")[0]


def _say(pipe: int, answer: Ready | Failure) -> None:
    """Write the one line that the parent waits for."""
    with suppress(OSError):  # nobody listens any more; the threads that watch the parent end this process
        os.write(pipe, encode(answer))
        os.close(pipe)


def _end_with_parent(told: int, parent_pid: int) -> None:
    """End this process when the parent is gone: at once, whatever is under way.

    The pipe tells it, but for a copy of the parent that holds its other end open too, as programs that fork make them.
    """
    for is_gone in (partial(_wait_for_close, told), partial(_wait_for_death, parent_pid)):
        threading.Thread(target=_end_after, args=(is_gone,), daemon=True).start()


def _end_after(wait: Callable[[], None]) -> None:
    """End this process after a wait, without what would take time."""
    wait()
    os._exit(0)


def _end_when_set(broken: threading.Event) -> None:
    """End this process when only a new one can use the device, which the parent starts."""
    broken.wait()
    sys.stderr.write("error: the device has failed; this process ends, and a new one can take its place\n")
    sys.stderr.flush()
    os._exit(_BROKEN)


def _wait_for_close(pipe: int) -> None:
    """Wait until nobody holds the other end of a pipe."""
    with suppress(OSError):  # Windows may say so in this way
        while os.read(pipe, _LINE_BYTES):
            pass


def _wait_for_death(parent_pid: int) -> None:
    """Wait until the parent is gone; where a dead one leaves its children to another process, that is seen first."""
    import psutil

    adopted_by = os.getppid()
    while psutil.pid_exists(parent_pid) and os.getppid() == adopted_by:
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    main()
