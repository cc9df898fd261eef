"""The signs of life of a service."""

from __future__ import annotations

import threading

import pytest

from napari_cellsam.service.messages import Cancelled, Failure, Progress, Reply, Waiting
from napari_cellsam.service.pulse import Pulse
from napari_cellsam.service.ticket import Ticket


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def frames():
    return []


@pytest.fixture
def ticket(frames, clock):
    return Ticket("anna", "1", frames.append, clock=clock)


@pytest.fixture
def pulse(ticket, clock):
    return Pulse(lambda: [ticket], lambda _: 3, every_s=2.0, patience_s=30.0, clock=clock)


def test_who_hears_nothing_for_a_while_gets_a_sign_of_life(pulse, clock, frames):
    clock.now += 1.9
    pulse.beat()
    assert frames == []
    clock.now += 0.1
    pulse.beat()
    pulse.beat()
    assert frames == [Waiting(n_ahead=3)]
    clock.now += 2.0
    pulse.beat()
    assert len(frames) == 2


def test_who_hears_of_progress_needs_no_sign_of_life(pulse, clock, ticket, frames):
    clock.now += 1.9
    ticket.tell(Progress(stage="looking", done=1, total=2))
    clock.now += 1.9
    pulse.beat()
    assert len(frames) == 1


def test_who_takes_nothing_is_sent_nothing_and_given_up_at_last(pulse, clock, ticket, frames):
    ticket.pause(True)
    clock.now += 29.9
    pulse.beat()
    assert frames == []
    clock.now += 0.1
    pulse.beat()
    assert [type(frame) for frame in frames] == [Failure]
    assert frames[0].error == "ServiceTimeoutError" and "30 s" in frames[0].message


def test_who_goes_on_in_time_is_not_given_up(pulse, clock, ticket, frames):
    for _ in range(5):
        ticket.pause(True)
        clock.now += 20
        pulse.beat()
        ticket.pause(False)
    assert not ticket.is_over


def test_what_is_over_stays_silent(pulse, clock, ticket, frames):
    ticket.reply(Reply(result=Cancelled(found=True)))
    clock.now += 60
    pulse.beat()
    assert len(frames) == 1


def test_who_goes_on_at_that_moment_is_not_given_up_and_stops_nothing(clock, frames):
    class Resumed(Ticket):
        @property
        def paused_at(self):
            before = super().paused_at
            self.pause(False)  # as another thread may, between any two looks
            return before

    ticket = Resumed("anna", "1", frames.append, clock=clock)
    ticket.pause(True)
    pulse = Pulse(lambda: [ticket], lambda _: 3, every_s=2.0, clock=clock)
    pulse.beat()
    clock.now += 2.0
    pulse.beat()
    assert frames == [Waiting(n_ahead=3)]


def test_the_failure_of_one_request_silences_no_other(clock, ticket, frames, caplog):
    broken = Ticket("ben", "2", frames.append, clock=clock)
    ahead = {ticket: 3}
    pulse = Pulse(lambda: [broken, ticket], ahead.__getitem__, every_s=2.0, clock=clock)
    clock.now += 2.0
    pulse.beat()
    assert frames == [Waiting(n_ahead=3)]
    assert "request 2 gets no sign of life" in caplog.text


def test_it_beats_by_itself_until_it_is_stopped():
    beaten = threading.Event()
    ticket = Ticket("anna", "1", lambda frame: beaten.set())
    pulse = Pulse(lambda: [ticket], lambda _: 0, every_s=0.01)
    pulse.start()
    assert beaten.wait(60)
    pulse.stop()
    assert "pulse of the service" not in {thread.name for thread in threading.enumerate()}
