"""The last words of a process: the newest lines that it wrote to a pipe, and no more."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import IO

__all__ = ["LastWords"]

_log = logging.getLogger(__name__)
_CHUNK = 65536


class LastWords:
    """Read a pipe until its end, in a thread, and keep the newest lines.

    Parameters
    ----------
    pipe
        Unbuffered; closed at its end.
    max_lines, max_bytes
        Lines that are kept, and bytes of each.
    """

    def __init__(self, pipe: IO[bytes], max_lines: int = 40, max_bytes: int = 1000) -> None:
        self._pipe = pipe
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque(maxlen=max_lines)
        self._thread = threading.Thread(target=self._read, name="last words of the local service", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of the pipe, which another process may hold open for longer than that."""
        self._thread.join(timeout_s)

    def text(self, n_lines: int = 12) -> str:
        """Return the newest lines."""
        lines = list(self._lines)[-n_lines:]
        return b"\n".join(lines).decode("utf-8", errors="replace")

    def _read(self) -> None:
        """Take bytes as they come, so that the writer never waits."""
        rest = b""
        with self._pipe as pipe:
            while chunk := pipe.read(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._keep(line)
                rest = rest[: self._max_bytes]
        if rest:
            self._keep(rest)

    def _keep(self, line: bytes) -> None:
        """Keep a line, and pass it on to whoever listens to our log."""
        line = line.rstrip(b"\r")[: self._max_bytes]
        self._lines.append(line)
        _log.debug("%s", line.decode("utf-8", errors="replace"))
