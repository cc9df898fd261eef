"""Worker threads: kept, reused, and gone when they are closed."""

from __future__ import annotations

import threading

import pytest

from napari_cellsam.widgets._workers import Workers

HANG_S = 20.0


@pytest.fixture
def workers():
    made = Workers("test worker")
    yield made
    made.close(HANG_S)


def ended(workers, n):
    """Run tasks one after the other, and return the threads that did them."""
    threads = []
    for _ in range(n):
        done = threading.Event()

        def task(done=done):
            threads.append(threading.current_thread())
            done.set()

        workers.run(task)
        assert done.wait(HANG_S)
    return threads


def test_threads_are_used_again(workers):
    assert len(set(ended(workers, 20))) <= 4


def test_a_task_does_not_wait_for_another_one(workers):
    gate, done = threading.Event(), threading.Barrier(6)
    for _ in range(5):
        workers.run(lambda: (gate.wait(HANG_S), done.wait(HANG_S)))
    gate.set()
    done.wait(HANG_S)


def test_no_thread_is_left_after_closing():
    workers = Workers("closing worker")
    ended(workers, 3)
    workers.close(HANG_S)
    assert not [thread for thread in threading.enumerate() if thread.name == "closing worker"]


def test_a_task_under_way_is_waited_for_only_so_long():
    workers, gate = Workers("busy worker"), threading.Event()
    workers.run(lambda: gate.wait(HANG_S))
    workers.close(0.05)
    assert [thread for thread in threading.enumerate() if thread.name == "busy worker"]
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "busy worker":
            thread.join(HANG_S)
    assert not [thread for thread in threading.enumerate() if thread.name == "busy worker"]
