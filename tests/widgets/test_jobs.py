"""Jobs: other threads work, the GUI thread hears."""

from __future__ import annotations

import threading

import pytest

from napari_cellsam.errors import PromptError, RequestCancelledError
from napari_cellsam.widgets._jobs import Jobs

HANG_MS = 10_000


@pytest.fixture
def jobs(qtbot):
    made = Jobs()
    yield made
    made.close()


@pytest.fixture
def heard():
    """What was heard, and by which thread."""
    return []


def listen(heard):
    def said(kind):
        return lambda value: heard.append((kind, value, threading.current_thread() is threading.main_thread()))

    return {"on_done": said("done"), "on_error": said("error"), "on_report": said("report")}


def test_work_is_done_elsewhere_and_heard_of_here(jobs, heard, qtbot):
    jobs.submit(lambda call, report: threading.current_thread() is threading.main_thread(), **listen(heard))
    qtbot.waitUntil(lambda: bool(heard), timeout=HANG_MS)
    assert heard == [("done", False, True)]
    assert jobs.n_running == 0


def test_reports_come_in_order_and_before_the_result(jobs, heard, qtbot):
    def work(call, report):
        for i in range(5):
            report(i)
        return "end"

    jobs.submit(work, **listen(heard))
    qtbot.waitUntil(lambda: len(heard) == 6, timeout=HANG_MS)
    assert [value for _, value, _ in heard] == [0, 1, 2, 3, 4, "end"]


def test_an_error_of_ours_is_told(jobs, heard, qtbot):
    def work(call, report):
        raise PromptError("no cell")

    jobs.submit(work, **listen(heard))
    qtbot.waitUntil(lambda: bool(heard), timeout=HANG_MS)
    assert [(kind, str(error)) for kind, error, _ in heard] == [("error", "no cell")]


def test_a_fault_of_ours_is_raised_on_the_gui_thread(jobs, heard, qtbot):
    def work(call, report):
        raise KeyError("a fault")

    with qtbot.captureExceptions() as raised:
        jobs.submit(work, **listen(heard))
        qtbot.waitUntil(lambda: bool(raised), timeout=HANG_MS)
    assert raised[0][0] is KeyError
    assert heard == []
    assert jobs.n_running == 0


def test_of_a_cancelled_job_nothing_is_heard_and_its_call_is_cancelled(jobs, heard, qtbot):
    begun, ended = threading.Event(), threading.Event()

    def work(call, report):
        stopped = threading.Event()
        call.on_cancel(stopped.set)
        begun.set()
        assert stopped.wait(10)
        report("too late")
        ended.set()
        raise RequestCancelledError("cancelled")

    job = jobs.submit(work, **listen(heard))
    assert begun.wait(10)
    job.cancel()
    assert ended.wait(10)
    qtbot.wait(20)  # whatever was on its way has arrived then
    assert heard == []


def test_the_newest_job_of_a_topic_is_the_only_one_that_counts(jobs, heard, qtbot):
    release = threading.Event()

    def slow(call, report):
        assert release.wait(10)
        return "old"

    jobs.submit(slow, **listen(heard), topic="hover")
    jobs.submit(lambda call, report: "new", **listen(heard), topic="hover")
    jobs.submit(lambda call, report: "other", **listen(heard), topic="click")
    qtbot.waitUntil(lambda: len(heard) == 2, timeout=HANG_MS)
    release.set()
    qtbot.wait(20)
    assert sorted(value for _, value, _ in heard) == ["new", "other"]


def test_a_result_that_was_on_its_way_when_the_job_was_cancelled_is_dropped(jobs, heard, qtbot):
    ended = threading.Event()

    def work(call, report):
        ended.set()

    job = jobs.submit(work, **listen(heard))
    assert ended.wait(10)
    job.cancel()
    qtbot.wait(20)
    assert heard == []


def test_what_runs_is_told(jobs, heard, qtbot):
    told, release = [], threading.Event()
    jobs.changed.connect(lambda: told.append(jobs.n_running))
    jobs.submit(lambda call, report: release.wait(10), **listen(heard), topic="click")
    assert jobs.running("click")
    assert not jobs.running("hover")
    release.set()
    qtbot.waitUntil(lambda: bool(heard), timeout=HANG_MS)
    assert told == [1, 0]


def test_closing_cancels_all_jobs_and_starts_no_more(qtbot, heard):
    jobs = Jobs()
    stopped = threading.Event()

    def work(call, report):
        call.on_cancel(stopped.set)
        stopped.wait(10)

    jobs.submit(work, **listen(heard))
    jobs.close()
    assert stopped.is_set()
    assert not jobs.submit(lambda call, report: 1, **listen(heard)).running
    qtbot.wait(20)
    assert heard == []


def test_cancelling_all_jobs_passes_over_what_must_not_be_cut_off(jobs, heard, qtbot):
    release = threading.Event()
    jobs.submit(lambda call, report: release.wait(5), **listen(heard), topic="save", whole=True)
    jobs.submit(lambda call, report: release.wait(5), **listen(heard), topic="look")
    jobs.cancel()
    assert jobs.running("save")
    assert not jobs.running("look")
    release.set()
    qtbot.waitUntil(lambda: bool(heard), timeout=HANG_MS)
    jobs.submit(lambda call, report: release.wait(5), **listen(heard), topic="save", whole=True)
    jobs.cancel("save")
    assert heard == [("done", True, True)]
    assert jobs.n_running == 0
