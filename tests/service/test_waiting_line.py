"""Jobs that have not begun."""

from __future__ import annotations

import pytest

from napari_cellsam.errors import RequestCancelledError, ServiceBusyError
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.running import Job
from napari_cellsam.service.ticket import Ticket
from napari_cellsam.service.turns import Urgency
from napari_cellsam.service.waiting_line import WaitingLine


@pytest.fixture
def lengths():
    return []


@pytest.fixture
def line(lengths):
    return WaitingLine(Limits(max_waiting=5, max_waiting_per_client=3), lengths.append)


def job(client="anna", slot=None, urgency=Urgency.PROMPT, **options):
    return Job(Ticket(client, "1", lambda frame: None, slot=slot), urgency, lambda asks: iter(()), **options)


def test_jobs_keep_their_order(line):
    jobs = [job(), job("ben"), job()]
    assert [line.add(one) for one in jobs] == [[], [], []]
    assert list(line) == jobs and [one.number for one in jobs] == [1, 2, 3]


def test_a_newer_job_replaces_that_of_its_client_and_slot(line):
    older, other, foreign, newer = job(slot="hover"), job(slot="box"), job("ben", slot="hover"), job(slot="hover")
    for one in (older, other, foreign):
        assert line.add(one) == []
    assert line.add(newer) == [older]
    assert list(line) == [other, foreign, newer]


def test_jobs_without_a_slot_replace_nothing(line):
    assert line.add(job()) == [] and line.add(job()) == [] and len(line) == 2


def test_a_client_may_not_fill_the_line(line):
    for _ in range(3):
        line.add(job())
    with pytest.raises(ServiceBusyError, match="3 of this client's"):
        line.add(job())
    assert line.add(job("ben")) == []


def test_few_trainings_may_wait(line):
    for number in range(3):
        line.add(job(str(number), urgency=Urgency.TRAINING))
    with pytest.raises(ServiceBusyError, match="3 trainings"):
        line.add(job("ben", urgency=Urgency.TRAINING))
    assert line.add(job("ben")) == []


def test_all_clients_together_may_not_overfill_the_line(line):
    for number in range(5):
        line.add(job(str(number)))
    with pytest.raises(ServiceBusyError, match="5 of the service's"):
        line.add(job("ben"))
    assert len(line) == 5


def test_a_newer_job_of_a_slot_finds_room_in_a_full_line(line):
    for number in range(5):
        line.add(job(str(number), slot="hover"))
    assert len(line.add(job("3", slot="hover"))) == 1 and len(line) == 5


def test_jobs_of_one_group_are_taken_together(line):
    jobs = [job(group="a"), job("ben", group="b"), job("ben", group="a"), job(group=None), job("cleo", group="a")]
    for one in jobs:
        line.add(one)
    assert line.take(jobs[2]) == [jobs[2], jobs[0], jobs[4]]
    assert list(line) == [jobs[1], jobs[3]]


def test_jobs_without_a_group_are_taken_alone(line):
    jobs = [job(), job()]
    for one in jobs:
        line.add(one)
    assert line.take(jobs[0]) == [jobs[0]]


def test_what_weighs_a_lot_is_not_done_together_with_a_click(line):
    heavy, click, other = job(group="a", weight=10_000), job("ben", group="a"), job("cleo", group="a")
    for one in (heavy, click, other):
        line.add(one)
    assert line.take(click) == [click, other]
    assert line.take(heavy) == [heavy]


def test_what_is_over_is_not_done_together_with_others(line):
    jobs = [job(group="a"), job("ben", group="a")]
    for one in jobs:
        line.add(one)
    jobs[1].ticket.fail(RequestCancelledError("stop"))
    assert line.take(jobs[0]) == [jobs[0]]


def test_jobs_go_back_to_their_place(line):
    jobs = [job(group="a"), job("ben"), job(group="a")]
    for one in jobs:
        line.add(one)
    line.put_back(line.take(jobs[0]))
    assert list(line) == jobs


def test_it_knows_who_goes_first(line):
    run, prompt, other = job(urgency=Urgency.RUN), job(), job("ben")
    for one in (run, prompt, other):
        line.add(one)
    assert [line.n_ahead(one.ticket) for one in (run, prompt, other)] == [2, 0, 1]
    assert line.n_ahead(job().ticket) is None


def test_every_change_of_the_length_is_told(line, lengths):
    one, other = job(), job()
    line.add(one)
    line.add(other)
    line.remove(one.ticket)
    line.remove(one.ticket)
    assert line.clear() == [other]
    assert lengths == [1, 2, 1, 0]
