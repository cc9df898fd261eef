"""The way to a service in this process, where it differs from the other ways."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from napari_cellsam.errors import PromptError, RequestCancelledError, ServiceUnavailableError
from napari_cellsam.service.direct import DirectTransport
from napari_cellsam.service.messages import Cancelled, Failure, GetInfo, Progress, Reply
from napari_cellsam.service.transport import Call

HANG_S = 60
ANSWER = Reply(result=Cancelled(found=True))


class Work:
    """A service that answers when it is told, and notes what is done to the request."""

    def __init__(self):
        self.emit, self.asked = None, threading.Event()
        self.done, self.named = [], []

    def ask(self, request, emit, **named):
        self.emit = emit
        self.named.append(named)
        self.asked.set()
        return self

    def cancel(self):
        self.done.append("cancel")
        self.emit(Failure(error="RequestCancelledError", message="stop"))

    def pause(self):
        self.done.append("pause")

    def resume(self):
        self.done.append("resume")


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def transport(work):
    return DirectTransport(work)


@pytest.fixture
def sending(transport, work):
    """Return a function that sends on another thread, and waits until the service has the request."""
    with ThreadPoolExecutor(1) as thread:

        def send(**options):
            answer = thread.submit(transport.send, GetInfo(), **options)
            assert work.asked.wait(HANG_S)
            return answer

        yield send


def test_frames_are_handed_over_in_the_thread_that_asks(transport, work):
    seen = []
    frames = [Progress(stage="looking", done=n, total=3) for n in range(3)]

    def ask(request, emit, **named):
        for frame in (*frames, ANSWER):
            emit(frame)
        work.emit = emit
        return work

    work.ask = ask
    result = transport.send(GetInfo(), on_frame=lambda frame: seen.append((frame, threading.current_thread())))
    assert result == ANSWER.result
    assert seen == [(frame, threading.current_thread()) for frame in frames]


def test_a_failure_is_raised(sending, work):
    answer = sending()
    work.emit(Failure(error="PromptError", message="outside"))
    assert isinstance(answer.exception(HANG_S), PromptError)


def test_requests_have_names_of_their_own_and_one_client(transport, work):
    def ask(request, emit, **named):
        work.named.append(named)
        emit(ANSWER)
        work.emit = emit
        return work

    work.ask = ask
    for _ in range(2):
        transport.send(GetInfo(), slot="hover")
    one, other = work.named
    assert one["client_id"] == other["client_id"] and one["request_id"] != other["request_id"]
    assert one["slot"] == "hover"


def test_a_slow_caller_holds_up_the_work_until_it_has_caught_up(sending, work):
    gate, begun = threading.Event(), threading.Event()

    def slow(frame):
        begun.set()
        assert gate.wait(HANG_S)

    answer = sending(on_frame=slow)
    work.emit(Progress(stage="looking", done=0, total=100))
    assert begun.wait(HANG_S)
    for number in range(1, 100):
        work.emit(Progress(stage="looking", done=number, total=100))
    gate.set()
    work.emit(ANSWER)
    answer.result(HANG_S)
    assert work.done[:2] == ["pause", "resume"]


def test_what_the_caller_raises_cancels_the_request(sending, work):
    def fail(frame):
        raise KeyError("a bug of the caller")

    answer = sending(on_frame=fail)
    work.emit(Progress(stage="looking", done=0, total=1))
    assert isinstance(answer.exception(HANG_S), KeyError)
    assert work.done == ["cancel"]


def test_closing_cancels_what_is_under_way_and_refuses_more(sending, transport, work):
    answer = sending()
    transport.close()
    assert isinstance(answer.exception(HANG_S), RequestCancelledError)
    with pytest.raises(ServiceUnavailableError, match="closed"):
        transport.send(GetInfo())


def test_a_call_cancels_its_request(sending, work):
    call = Call()
    answer = sending(call=call)
    call.cancel()
    assert isinstance(answer.exception(HANG_S), RequestCancelledError)


def test_a_call_that_was_cancelled_is_not_sent(transport, work):
    call = Call()
    call.cancel()
    with pytest.raises(RequestCancelledError):
        transport.send(GetInfo(), call=call)
    assert not work.asked.is_set()
