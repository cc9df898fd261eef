"""The worker threads: they wait for work, so that nobody waits for a thread to start."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Workers"]

Task = Callable[[], None]


class Workers:
    """Runs tasks in threads, each in one that is idle; another one is started where all are busy.

    The threads are daemons: a request that hangs does not keep the program from ending.

    Parameters
    ----------
    name
        Of the threads.
    n_ready
        Threads that are started at once.
    """

    def __init__(self, name: str, n_ready: int = 2) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._n_idle = 0
        self._closed = False
        for _ in range(n_ready):
            self._start(None)

    def run(self, task: Task) -> None:
        """Run a task; it must not raise."""
        with self._lock:
            if self._n_idle > 0:
                self._n_idle -= 1
                self._tasks.put(task)
                return
        self._start(task)

    def close(self, timeout_s: float) -> None:
        """Let all threads end; wait for those that are busy, all together as long as said."""
        with self._lock:
            self._closed = True
            threads, n_idle, self._n_idle = tuple(self._threads), self._n_idle, 0
        for _ in range(n_idle):
            self._tasks.put(None)
        for thread in threads:
            thread.join(timeout_s / max(len(threads), 1))

    def _start(self, task: Task | None) -> None:
        thread = threading.Thread(target=self._work, args=(task,), name=self._name, daemon=True)
        with self._lock:
            self._threads.add(thread)
            self._n_idle += task is None
        thread.start()

    def _work(self, task: Task | None) -> None:
        """Run tasks one after the other."""
        if task is None:
            task = self._tasks.get()
        while task is not None:
            task()
            task = None  # what it holds is let go of
            if not self._rest():
                break
            task = self._tasks.get()
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _rest(self) -> bool:
        """Be idle from now on; return whether there may be more to do."""
        with self._lock:
            self._n_idle += not self._closed
            return not self._closed
