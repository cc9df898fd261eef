"""The frames of a request, of which exactly one is the last."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from napari_cellsam.errors import RequestCancelledError, ServiceInternalError
from napari_cellsam.service.messages import Cancelled, Failure, Progress, Reply
from napari_cellsam.service.ticket import Ticket

PROGRESS = Progress(stage="looking", done=1, total=2)
REPLY = Reply(result=Cancelled(found=True))


@pytest.fixture
def frames():
    return []


@pytest.fixture
def ticket(frames):
    return Ticket("anna", "1", frames.append)


def test_frames_come_in_order(ticket, frames):
    ticket.tell(PROGRESS)
    assert ticket.reply(REPLY)
    assert frames == [PROGRESS, REPLY] and ticket.is_over and ticket.last is REPLY


def test_nothing_follows_the_last_frame(ticket, frames):
    assert ticket.fail(RequestCancelledError("no more"))
    ticket.tell(PROGRESS)
    assert not ticket.reply(REPLY) and not ticket.fail(ServiceInternalError("too late"))
    assert frames == [Failure(error="RequestCancelledError", message="no more")]


def test_the_end_is_told_once_and_after_the_last_frame(ticket, frames):
    seen = []
    ticket.on_end(lambda one: seen.append((one, list(frames))))
    ticket.reply(REPLY)
    ticket.fail(ServiceInternalError("too late"))
    assert seen == [(ticket, [REPLY])]


def test_who_asks_late_hears_of_the_end_at_once(ticket):
    seen = []
    ticket.reply(REPLY)
    ticket.on_end(seen.append)
    assert seen == [ticket]


def test_all_who_ask_hear_of_the_end(ticket):
    seen = []
    ticket.on_end(lambda _: seen.append(1))
    ticket.on_end(lambda _: seen.append(2))
    ticket.reply(REPLY)
    assert seen == [1, 2]


def test_a_receiver_that_fails_ends_the_request_without_harm(caplog):
    seen = []

    def broken(frame):
        raise RuntimeError("event loop is closed")

    ticket = Ticket("anna", "1", broken)
    ticket.on_end(seen.append)
    ticket.tell(PROGRESS)
    assert ticket.is_over and seen == [ticket]
    assert not ticket.reply(REPLY)
    assert "event loop is closed" in caplog.text


def test_a_receiver_may_cancel_from_within_a_frame():
    frames = []

    def take(frame):
        frames.append(frame)
        if isinstance(frame, Progress):
            ticket.fail(RequestCancelledError("enough"))

    ticket = Ticket("anna", "1", take)
    ticket.tell(PROGRESS)
    ticket.tell(PROGRESS)
    assert [type(frame) for frame in frames] == [Progress, Failure]


def test_many_threads_that_end_it_send_one_last_frame(frames):
    for _ in range(50):
        frames.clear()
        ticket = Ticket("anna", "1", frames.append)
        start = threading.Barrier(4)

        def end(number, ticket=ticket, start=start):
            start.wait(60)
            ticket.tell(PROGRESS)
            return ticket.reply(REPLY) if number % 2 else ticket.fail(RequestCancelledError("stop"))

        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(end, range(4))) == 1
        assert isinstance(frames[-1], Reply | Failure)
        assert sum(isinstance(frame, Reply | Failure) for frame in frames) == 1


def test_a_pause_begins_once():
    now = [10.0]
    ticket = Ticket("anna", "1", lambda frame: None, clock=lambda: now[0])
    ticket.pause(True)
    now[0] = 15.0
    ticket.pause(True)
    assert ticket.is_paused and ticket.paused_at == 10.0
    ticket.pause(False)
    assert not ticket.is_paused and ticket.paused_at is None
