"""One device, many jobs: who goes when, and that each is answered exactly once.

Nothing here runs by itself: the tests take the device's turns, and do the work aside when they choose.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from itertools import count

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from napari_cellsam.errors import (
    PromptError,
    RequestCancelledError,
    ServiceBusyError,
    ServiceUnavailableError,
)
from napari_cellsam.models.steps import Advance, Aside, Found
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import Cancelled, CellsFound, Failure, ImageKept, Progress, Reply
from napari_cellsam.service.running import Job
from napari_cellsam.service.scheduler import Scheduler
from napari_cellsam.service.ticket import Ticket
from napari_cellsam.service.turns import Turns, Urgency
from napari_cellsam.types import Cell, Mask

HANG_S = 60


class Later(Executor):
    """Does work when it is told to."""

    def __init__(self):
        self.waiting = []

    def submit(self, work, *arguments, **named):
        future = Future()
        self.waiting.append((future, work, arguments, named))
        return future

    def do(self, number=0):
        """Do the work that has waited longest, or another."""
        future, work, arguments, named = self.waiting.pop(number)
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        else:
            future.set_result(result)


class Told:
    """An observer that takes note."""

    def __init__(self):
        self.lengths, self.stages = [], []

    def queue_length(self, n):
        self.lengths.append(n)

    def stage_done(self, stage, seconds):
        assert seconds >= 0
        self.stages.append(stage)


class Bench:
    """A scheduler with jobs that write down their turns."""

    def __init__(self, limits=None, **turns):
        self.executor, self.observer = Later(), Told()
        self.scheduler = Scheduler(self.executor, limits, self.observer, Turns(**turns))
        self.log, self.closed, self.frames, self.tickets = [], [], {}, {}
        self._names = count()

    def submit(self, name, steps=1, urgency=Urgency.RUN, *, client="anna", slot=None, group=None, weight=1):
        """Add a job of so many steps, or of these."""
        self.frames[name] = []
        ticket = self.tickets[name] = Ticket(client, name, self.frames[name].append, slot=slot)
        script = [None] * steps if isinstance(steps, int) else list(steps)

        def begin(asks):
            title = "+".join(asks)
            try:
                for step in script:
                    self.log.append(title)
                    if isinstance(step, Exception):
                        raise step
                    answer = yield step(asks) if callable(step) else step
                    if answer is not None:
                        self.log.append((title, answer))
                return [ImageKept(image_id=f"answer to {ask}") for ask in asks]
            finally:
                self.closed.append(title)

        self.scheduler.submit(Job(ticket, urgency, begin, ask=name, group=group, weight=weight))
        return ticket

    def turn(self, n=1):
        """Take so many turns; return whose they were."""
        before = len(self.log)
        for _ in range(n):
            self.scheduler.turn(wait=False)
        return self.log[before:]

    def run(self):
        """Take turns and do work aside until nothing is left."""
        while self.scheduler.turn(wait=False) or self.executor.waiting:
            if self.executor.waiting:
                self.executor.do()
        return self.log

    def error(self, name):
        """Return the name of the error with which a job ended."""
        [last] = [frame for frame in self.frames[name] if isinstance(frame, Reply | Failure)]
        return last.error if isinstance(last, Failure) else None


@pytest.fixture
def bench():
    return Bench(in_a_row=1)


def answer_to(name):
    return Reply(result=ImageKept(image_id=f"answer to {name}"))


def fail(error):
    def raise_it(*_):
        raise error

    return raise_it


class TestOrder:
    """The most urgent first, clients in turn."""

    def test_a_job_is_done_step_by_step_and_answered(self, bench):
        bench.submit("a", 2)
        assert bench.turn(2) == ["a", "a"] and bench.frames["a"] == []
        assert bench.scheduler.turn(wait=False) and bench.frames["a"] == [answer_to("a")]
        assert not bench.scheduler.turn(wait=False)

    def test_prompts_go_between_the_steps_of_a_run(self, bench):
        bench.submit("run", 4)
        bench.turn(2)
        bench.submit("click", 2, Urgency.PROMPT)
        bench.submit("prefetch", 1, Urgency.SOON)
        assert bench.run()[2:] == ["click", "click", "prefetch", "run", "run"]

    def test_training_goes_last(self, bench):
        for urgency in reversed(Urgency):
            bench.submit(urgency.name, 2, urgency)
        assert bench.run() == [name for name in ("PROMPT", "SOON", "RUN", "TRAINING") for _ in range(2)]

    def test_runs_of_two_clients_go_side_by_side(self, bench):
        bench.submit("a", 3)
        bench.submit("b", 3, client="ben")
        assert bench.run() == ["a", "b", "a", "b", "a", "b"]

    def test_runs_of_one_client_go_one_after_the_other(self, bench):
        bench.submit("a", 3)
        bench.submit("b", 3)
        assert bench.run() == ["a"] * 3 + ["b"] * 3

    def test_a_client_with_many_requests_does_not_hold_up_another(self, bench):
        for number in range(20):
            bench.submit(f"a{number}", 1, Urgency.PROMPT)
        bench.turn()
        bench.submit("b", 1, Urgency.PROMPT, client="ben")
        assert bench.turn(2) == ["b"]

    def test_a_run_is_not_starved_by_clicks(self):
        bench = Bench(patience=3)
        bench.submit("run", 2)
        for number in range(8):
            bench.submit(f"click{number}", 1, Urgency.PROMPT)
        bench.run()
        assert "run" in bench.log[:4]

    def test_only_a_few_runs_begin_so_that_memory_holds_their_images(self, bench):
        for client in "abcdefgh":
            bench.submit(client, 3, client=client)
        assert set(bench.turn(8)) == set("abcd")
        bench.run()
        assert {frame for frames in bench.frames.values() for frame in frames} == {answer_to(one) for one in "abcdefgh"}

    def test_it_is_known_how_many_go_before(self, bench):
        run, other = bench.submit("run", 3), bench.submit("other", 1)
        click = bench.submit("click", 1, Urgency.PROMPT)
        assert [bench.scheduler.n_ahead(one) for one in (click, run, other)] == [0, 1, 2]
        bench.turn(3)
        assert [bench.scheduler.n_ahead(one) for one in (click, run, other)] == [0, 0, 1]

    def test_the_queue_and_the_times_are_observed(self, bench):
        bench.submit("a", [Aside(lambda: "done")])
        bench.submit("b")
        bench.run()
        assert bench.observer.lengths == [1, 2, 1, 0]
        assert bench.observer.stages.count("wait") == 2 and bench.observer.stages.count("aside") == 1
        assert bench.observer.stages.count("device") == 4


class TestSteps:
    """What steps say is sent, what they ask for is done."""

    def test_progress_and_cells_are_sent_as_they_come(self, bench):
        cell = Cell(Mask(np.ones((2, 3), bool), (4, 5), 0.5), 0.75)
        bench.submit("a", [Advance("looking", 1, 2), None, Found((cell,)), Found(())])
        bench.run()
        progress, cells, last = bench.frames["a"]
        assert progress == Progress(stage="looking", done=1, total=2)
        assert isinstance(cells, CellsFound) and cells.cells[0].mask.corner == (4, 5)
        assert last == answer_to("a")

    def test_others_go_on_while_work_is_done_aside(self, bench):
        bench.submit("a", [Aside(lambda: "prepared"), None])
        bench.submit("b", 2, client="ben")
        assert bench.turn(4) == ["a", "b", "b"]
        bench.executor.do()
        assert bench.turn(2) == [("a", "prepared"), "a"]

    def test_a_second_job_of_the_client_goes_on_meanwhile(self, bench):
        bench.submit("a", [Aside(lambda: "prepared")])
        bench.submit("b")
        bench.turn(3)
        assert bench.frames["b"] == [answer_to("b")] and bench.frames["a"] == []

    def test_a_future_is_waited_for(self, bench):
        future = Future()
        bench.submit("a", [future])
        assert bench.turn(3) == ["a"]
        future.set_result("loaded")
        assert bench.turn(1) == [("a", "loaded")] and bench.frames["a"] == [answer_to("a")]

    def test_a_future_that_is_done_is_not_waited_for(self, bench):
        future = Future()
        future.set_result("loaded")
        bench.submit("a", [future])
        assert bench.turn(2) == ["a", ("a", "loaded")]

    def test_what_fails_aside_is_raised_in_the_steps(self, bench):
        bench.submit("a", [Aside(fail(PromptError("no such place")))])
        bench.run()
        assert bench.frames["a"] == [Failure(error="PromptError", message="no such place")]
        assert bench.closed == ["a"]

    def test_a_future_that_is_cancelled_ends_the_job(self, bench):
        future = Future()
        bench.submit("a", [future])
        bench.turn()
        future.cancel()
        bench.run()
        assert bench.error("a") == "ServiceUnavailableError"


class TestTogether:
    """Jobs of a group that wait together are done at once."""

    def test_jobs_of_a_group_are_done_at_once_and_each_has_its_answer(self, bench):
        for name, client in (("a", "anna"), ("b", "ben"), ("c", "anna")):
            bench.submit(name, 1, Urgency.PROMPT, client=client, group="picture")
        bench.submit("d", 1, Urgency.PROMPT, group="other picture")
        assert bench.run() == ["a+b+c", "d"]
        assert all(bench.frames[name] == [answer_to(name)] for name in "abcd")

    def test_what_comes_after_the_beginning_is_done_by_itself(self, bench):
        bench.submit("a", 2, Urgency.PROMPT, group="picture")
        bench.turn()
        bench.submit("b", 1, Urgency.PROMPT, group="picture")
        bench.run()
        assert "a+b" not in bench.log and bench.frames["b"] == [answer_to("b")]

    def test_what_would_compute_the_same_waits_for_what_runs(self, bench):
        bench.submit("a", [Aside(lambda: "prepared")], Urgency.PROMPT, group="picture")
        bench.turn()
        for name in "bc":
            bench.submit(name, 1, Urgency.PROMPT, client=name, group="picture")
        bench.submit("d", 1, Urgency.PROMPT, client="d", group="other picture")
        assert bench.turn(3) == ["d"]
        assert bench.run()[2:] == [("a", "prepared"), "b+c"]

    def test_a_click_does_not_wait_for_thousands_of_prompts(self, bench):
        bench.submit("many", 9, Urgency.PROMPT, group="picture", weight=10_000)
        bench.turn()
        bench.submit("click", 1, Urgency.PROMPT, client="ben", group="picture")
        assert bench.turn() == ["click"]

    def test_nobody_waits_for_one_that_is_paused(self, bench):
        ticket = bench.submit("a", 2, Urgency.PROMPT, group="picture")
        bench.turn()
        ticket.pause(True)
        bench.submit("b", 1, Urgency.PROMPT, client="ben", group="picture")
        assert bench.turn(2) == ["b"]

    def test_one_that_is_cancelled_does_not_end_the_others(self, bench):
        tickets = [bench.submit(name, 2, Urgency.PROMPT, group="picture") for name in "ab"]
        bench.turn()
        tickets[0].fail(RequestCancelledError("stop"))
        bench.run()
        assert bench.error("a") == "RequestCancelledError" and bench.frames["b"] == [answer_to("b")]

    def test_when_all_are_cancelled_the_work_ends(self, bench):
        tickets = [bench.submit(name, 5, Urgency.PROMPT, group="picture") for name in "ab"]
        bench.turn()
        for ticket in tickets:
            ticket.fail(RequestCancelledError("stop"))
        assert bench.run() == ["a+b"] and bench.closed == ["a+b"]

    def test_one_that_fails_does_not_fail_the_others(self, bench):
        def only_if_without_b(asks):
            if "b" in asks:
                raise PromptError("b is wrong")

        for name in "abc":
            bench.submit(name, [only_if_without_b], Urgency.PROMPT, group="picture")
        bench.run()
        assert [bench.error(name) for name in "abc"] == [None, "PromptError", None]
        assert bench.log == ["a+b+c", "a", "b", "c"]

    def test_a_wrong_number_of_results_is_an_error(self, bench):
        ticket = Ticket("anna", "1", bench.frames.setdefault("a", []).append)

        def begin(asks):
            yield None
            return []

        bench.scheduler.submit(Job(ticket, Urgency.RUN, begin))
        bench.run()
        assert bench.error("a") == "ServiceInternalError"


class TestSlots:
    """The newest request of a slot takes the place of the one that waits."""

    def test_the_newest_replaces_what_waits(self, bench):
        bench.submit("busy", 3, Urgency.PROMPT)
        bench.turn()
        for name in "abc":
            bench.submit(name, 1, Urgency.PROMPT, slot="hover")
        assert [bench.error(name) for name in "ab"] == ["RequestReplacedError"] * 2
        assert bench.run() == ["busy"] * 3 + ["c"]

    def test_what_has_begun_is_not_replaced(self, bench):
        bench.submit("a", 2, slot="hover")
        bench.turn()
        bench.submit("b", 1, slot="hover")
        bench.run()
        assert bench.frames["a"] == [answer_to("a")] and bench.frames["b"] == [answer_to("b")]


class TestCancelling:
    """Nobody waits for the end of what nobody wants."""

    def test_a_job_that_waits_leaves_at_once(self, bench):
        bench.submit("a", 1)
        ticket = bench.submit("b", 1)
        ticket.fail(RequestCancelledError("stop"))
        assert bench.error("b") == "RequestCancelledError" and bench.observer.lengths[-1] == 1
        assert bench.run() == ["a"]

    def test_a_job_that_runs_is_closed_at_its_next_step(self, bench):
        ticket = bench.submit("a", 5)
        bench.turn(2)
        ticket.fail(RequestCancelledError("stop"))
        assert bench.error("a") == "RequestCancelledError" and bench.closed == []
        assert bench.run() == ["a", "a"] and bench.closed == ["a"]

    def test_a_job_is_closed_before_anything_else_goes_on(self, bench):
        ticket = bench.submit("a", 5)
        bench.turn()
        bench.submit("click", 1, Urgency.PROMPT)
        ticket.fail(RequestCancelledError("stop"))
        bench.turn()
        assert bench.closed == ["a"] and bench.frames["click"] == []

    def test_a_job_is_cancelled_while_its_work_is_done_aside(self, bench):
        ticket = bench.submit("a", [Aside(lambda: "prepared"), None])
        bench.turn()
        ticket.fail(RequestCancelledError("stop"))
        bench.turn()
        assert bench.closed == ["a"]
        bench.executor.do()
        assert bench.run() == ["a"] and len(bench.frames["a"]) == 1

    def test_work_aside_that_has_begun_is_waited_for_before_a_job_is_closed(self, bench):
        ticket = bench.submit("a", [Aside(lambda: "prepared"), None])
        bench.turn()
        [(future, *_)] = bench.executor.waiting
        future.set_running_or_notify_cancel()
        ticket.fail(RequestCancelledError("stop"))
        assert bench.turn() == [] and bench.closed == []
        future.set_result("prepared")
        bench.turn()
        assert bench.closed == ["a"] and bench.log == ["a"] and len(bench.frames["a"]) == 1

    def test_work_aside_that_has_not_begun_is_given_up_with_its_job(self, bench):
        done = []
        ticket = bench.submit("a", [Aside(lambda: done.append("a"))])
        bench.turn()
        ticket.fail(RequestCancelledError("stop"))
        bench.run()
        assert done == [] and bench.closed == ["a"]

    def test_what_a_prompt_does_aside_does_not_wait_for_a_run(self):
        bench, urgent = Bench(), Later()
        bench.scheduler = Scheduler(bench.executor, urgent=urgent)
        bench.submit("run", [Aside(lambda: "run")])
        bench.submit("click", [Aside(lambda: "click")], Urgency.PROMPT)
        bench.turn(2)
        urgent.do()
        bench.turn(1)
        assert bench.frames["click"] == [answer_to("click")] and len(bench.executor.waiting) == 1

    def test_a_job_may_be_cancelled_from_within_its_step(self, bench):
        bench.submit("a", [lambda asks: bench.tickets["a"].fail(RequestCancelledError("stop")) and None, None])
        bench.run()
        assert bench.error("a") == "RequestCancelledError" and bench.closed == ["a"]

    def test_a_job_that_fails_as_it_is_closed_harms_no_other(self, bench, caplog):
        frames = []
        ticket = Ticket("anna", "1", frames.append)

        def begin(asks):
            try:
                yield None
                yield None
            finally:
                raise ZeroDivisionError("in its end")

        bench.scheduler.submit(Job(ticket, Urgency.RUN, begin))
        bench.turn()
        ticket.fail(RequestCancelledError("stop"))
        bench.submit("b")
        bench.run()
        assert bench.frames["b"] == [answer_to("b")] and len(frames) == 1
        assert "in its end" in caplog.text


class TestPausing:
    """Whose receiver cannot keep up waits, and nobody else does."""

    def test_a_job_that_is_paused_has_no_turns(self, bench):
        ticket = bench.submit("a", 3)
        bench.submit("b", 2, client="ben")
        bench.turn()
        ticket.pause(True)
        assert bench.turn(4) == ["b", "b"]
        ticket.pause(False)
        assert bench.run()[-2:] == ["a", "a"]

    def test_those_that_are_paused_do_not_keep_others_from_beginning(self, bench):
        tickets = [bench.submit(client, 3, client=client) for client in "abcd"]
        bench.turn(4)
        for ticket in tickets:
            ticket.pause(True)
        for client in "efghi":
            bench.submit(client, 3, client=client)
        assert set(bench.turn(12)) == set("efgh")
        assert bench.run()[-1] == "i" and {frame for name in "efghi" for frame in bench.frames[name]} == {
            answer_to(name) for name in "efghi"
        }

    def test_those_that_are_paused_are_not_begun_without_end(self, bench):
        for client in "abcdefgh":
            ticket = bench.submit(client, 3, client=client)
            bench.turn()
            ticket.pause(True)
        bench.submit("i", client="i")
        assert bench.turn() == []
        ticket.pause(False)
        assert bench.run()[-1] == "i"

    def test_a_job_that_is_paused_does_not_begin(self, bench):
        ticket = bench.submit("a", 1)
        ticket.pause(True)
        assert bench.turn() == []
        ticket.pause(False)
        assert bench.run() == ["a"]

    def test_a_job_that_is_paused_can_be_cancelled(self, bench):
        ticket = bench.submit("a", 3)
        bench.turn()
        ticket.pause(True)
        ticket.fail(RequestCancelledError("stop"))
        assert bench.run() == ["a"] and bench.closed == ["a"]

    def test_jobs_done_together_do_not_wait_for_one_that_is_paused(self, bench):
        tickets = [bench.submit(name, 2, Urgency.PROMPT, group="picture") for name in "ab"]
        bench.turn()
        tickets[0].pause(True)
        bench.run()
        assert bench.frames["b"] == [answer_to("b")]


class TestFailing:
    """A job that raises kills only itself."""

    def test_an_error_of_ours_is_told(self, bench):
        bench.submit("a", [PromptError("outside")])
        bench.submit("b", client="ben")
        bench.run()
        assert bench.frames["a"] == [Failure(error="PromptError", message="outside")]
        assert bench.frames["b"] == [answer_to("b")]

    def test_of_a_bug_only_the_kind_is_told(self, bench, caplog):
        bench.submit("a", [None, ZeroDivisionError("/home/anna/secret")])
        bench.run()
        [failure] = bench.frames["a"]
        assert failure.error == "ServiceInternalError" and "ZeroDivisionError" in failure.message
        assert "secret" not in failure.message and "secret" in caplog.text

    def test_a_result_that_cannot_be_sent_is_told(self, bench):
        bench.submit("a", [Found((None,))])
        bench.submit("b", client="ben")
        bench.run()
        assert bench.error("a") == "ServiceInternalError" and bench.frames["b"] == [answer_to("b")]
        assert bench.closed == ["a", "b"]


class TestLimits:
    """More than it takes on is refused."""

    def test_a_full_queue_refuses(self):
        bench = Bench(Limits(max_waiting=2))
        bench.submit("a")
        bench.submit("b", client="ben")
        with pytest.raises(ServiceBusyError):
            bench.submit("c", client="cleo")
        bench.run()
        assert bench.frames["c"] == [] and bench.frames["a"] == [answer_to("a")]

    def test_what_runs_does_not_count_as_waiting(self):
        bench = Bench(Limits(max_waiting=1))
        bench.submit("a", 3)
        bench.turn()
        bench.submit("b")
        bench.run()
        assert bench.frames["b"] == [answer_to("b")]


class TestClosing:
    """In the end everybody is told."""

    def test_what_waits_is_refused_and_what_runs_may_end(self, bench):
        bench.submit("a", 2)
        bench.turn()
        bench.submit("b")
        bench.scheduler.refuse()
        assert bench.error("b") == "ServiceUnavailableError"
        with pytest.raises(ServiceUnavailableError):
            bench.submit("c")
        bench.run()
        assert bench.frames["a"] == [answer_to("a")] and bench.scheduler.wait_until_idle(0)

    def test_stopping_ends_what_runs(self, bench):
        bench.submit("a", 5)
        bench.submit("b", [Aside(lambda: None)], client="ben")
        bench.turn(2)
        assert not bench.scheduler.wait_until_idle(0)
        bench.scheduler.stop()
        assert bench.error("a") == bench.error("b") == "ServiceUnavailableError"
        bench.run()
        assert sorted(bench.closed) == ["a", "b"] and bench.scheduler.wait_until_idle(0)

    def test_jobs_that_were_to_be_tried_again_are_refused(self, bench):
        def refuse_then_fail(asks):
            bench.scheduler.refuse()
            raise PromptError("wrong")

        for name in "ab":
            bench.submit(name, [refuse_then_fail], Urgency.PROMPT, group="picture")
        bench.run()
        assert bench.error("a") == bench.error("b") == "ServiceUnavailableError"

    def test_work_aside_that_is_refused_ends_the_job(self, bench):
        def refuse(*_, **__):
            raise RuntimeError("cannot schedule new futures after shutdown")

        bench.executor.submit = refuse
        bench.submit("a", [Aside(lambda: None)])
        bench.run()
        assert bench.error("a") == "ServiceUnavailableError"

    def test_the_thread_of_the_device_ends(self, bench):
        bench.submit("a")
        thread = threading.Thread(target=lambda: all(iter(bench.scheduler.turn, False)))
        thread.start()
        assert bench.scheduler.wait_until_idle(HANG_S)
        bench.scheduler.stop()
        thread.join(HANG_S)
        assert not thread.is_alive() and bench.frames["a"] == [answer_to("a")]

    def test_the_thread_of_the_device_hears_of_new_jobs(self, bench):
        thread = threading.Thread(target=lambda: all(iter(bench.scheduler.turn, False)))
        thread.start()
        answered = threading.Event()
        ticket = bench.submit("a", [None], Urgency.PROMPT)
        ticket.on_end(lambda _: answered.set())
        assert answered.wait(HANG_S)
        bench.scheduler.stop()
        thread.join(HANG_S)


class Schedules(RuleBasedStateMachine):
    """Any order of what can happen leaves every job with exactly one last frame."""

    jobs = Bundle("jobs")

    def __init__(self):
        super().__init__()
        self.bench = Bench(Limits(max_waiting=6, max_waiting_per_client=4), patience=3, in_a_row=2)
        self.number = count()
        self.refused = set()
        self.closing = False

    @rule(
        target=jobs,
        client=st.sampled_from("ab"),
        urgency=st.sampled_from(list(Urgency)),
        slot=st.sampled_from([None, None, "hover"]),
        group=st.sampled_from([None, "picture", "other"]),
        script=st.lists(
            st.sampled_from(["none", "advance", "found", "aside", "aside fails", "future", "bug", "error"]), max_size=4
        ),
    )
    def submit(self, client, urgency, slot, group, script):
        steps = {
            "none": None,
            "advance": Advance("looking", 1, 1),
            "found": Found(()),
            "aside": Aside(lambda: 1),
            "aside fails": Aside(fail(KeyError("aside"))),
            "future": lambda asks: self.bench.executor.submit(lambda: 1),
            "bug": ZeroDivisionError("bug"),
            "error": PromptError("error"),
        }
        name = f"job{next(self.number)}"
        try:
            self.bench.submit(name, [steps[step] for step in script], urgency, client=client, slot=slot, group=group)
        except ServiceUnavailableError:
            self.refused.add(name)
            self.check(self.closing)
        except ServiceBusyError:
            self.refused.add(name)
        return name

    def check(self, condition):
        assert condition

    @rule()
    def turn(self):
        self.bench.turn()

    @rule(n=st.integers(1, 20))
    def turns(self, n):
        self.bench.turn(n)

    @rule(number=st.integers(0, 10))
    def aside(self, number):
        if self.bench.executor.waiting:
            self.bench.executor.do(number % len(self.bench.executor.waiting))

    @rule(job=jobs)
    def cancel(self, job):
        if job not in self.refused:
            self.bench.tickets[job].fail(RequestCancelledError("stop"))
            self.refused_or_last(job)

    @rule(job=jobs, paused=st.booleans())
    def pause(self, job, paused):
        self.bench.tickets[job].pause(paused)

    @rule()
    def refuse(self):
        self.closing = True
        self.bench.scheduler.refuse()

    def refused_or_last(self, job):
        assert isinstance(self.bench.frames[job][-1], Reply | Failure)

    @invariant()
    def nothing_follows_a_last_frame(self):
        for job, frames in self.bench.frames.items():
            assert not any(isinstance(frame, Reply | Failure) for frame in frames[:-1])
            assert not (job in self.refused and frames)

    def teardown(self):
        for ticket in self.bench.tickets.values():
            ticket.pause(False)
        if self.closing:
            self.bench.scheduler.stop()
        self.bench.run()
        for job, frames in self.bench.frames.items():
            last = [frame for frame in frames if isinstance(frame, Reply | Failure)]
            assert len(last) == (0 if job in self.refused else 1)
            if last and isinstance(last[0], Reply):
                assert last[0] == answer_to(job)  # never another one's
        assert self.bench.scheduler.wait_until_idle(0)
        if self.bench.observer.lengths:
            assert self.bench.observer.lengths[-1] == 0


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("seed", range(3))
def test_threads_that_submit_and_cancel_at_once_all_hear_the_end(seed):
    """The same with real threads, whose order nobody knows."""
    many = Limits(max_waiting=10_000, max_waiting_per_client=10_000, max_waiting_trainings=10_000)
    scheduler = Scheduler(Later(), many)
    device = threading.Thread(target=lambda: all(iter(scheduler.turn, False)))
    device.start()
    lasts = []
    rng = np.random.default_rng(seed)
    fates = rng.integers(0, 3, (4, 50))

    def begin(asks):
        yield None
        yield Advance("looking", 1, 1)
        return [Cancelled(found=True) for _ in asks]

    def use(client):
        for number, fate in enumerate(fates[client]):
            frames = []
            ticket = Ticket(str(client), str(number), frames.append, slot="hover" if fate == 2 else None)
            ticket.on_end(lambda _, frames=frames: lasts.append(frames))
            scheduler.submit(Job(ticket, Urgency(number % 4), begin, group="g" if number % 4 == 0 else None))
            if fate == 1:
                ticket.fail(RequestCancelledError("stop"))

    threads = [threading.Thread(target=use, args=(client,)) for client in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
    assert scheduler.wait_until_idle(HANG_S)
    scheduler.stop()
    device.join(HANG_S)
    assert len(lasts) == 200
    for frames in lasts:
        assert [isinstance(frame, Reply | Failure) for frame in frames].count(True) == 1
        assert isinstance(frames[-1], Reply | Failure)
