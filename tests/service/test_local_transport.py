"""Requests to a process that dies, played by a transport that fails on command."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from napari_cellsam.errors import (
    ImageNotCachedError,
    PromptError,
    RequestCancelledError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from napari_cellsam.service.local_transport import LocalTransport
from napari_cellsam.service.messages import ArrayData, Cancelled, GetInfo, ImageKept, ImageRef, Prefetch, PutImage
from napari_cellsam.service.transport import Call, ImageNotSentError

_ANSWER = Cancelled(found=True)
_HANG_S = 60
_IMAGE = Prefetch(image=ImageRef(image_id="one", shape=(2, 2)))
_PUT = PutImage(pixels=ArrayData(dtype="uint8", shape=(1, 1, 1), data=b"\0"))


@dataclass(eq=False)
class FakeChild:
    """A process that is dead or not."""

    is_dead: bool = False
    suspect: bool = False
    last_words: str = "argh"


class FakeChildren:
    """Hands out the first process that is not dead."""

    def __init__(self, *children: FakeChild) -> None:
        self.children = children

    def child(self, call=None):
        for child in self.children:
            if not child.is_dead:
                return child
        raise ServiceUnavailableError("no child is left")

    def has_died(self, child, timeout_s):
        return child.is_dead


@dataclass(eq=False)
class FakeHttp:
    """Answers, or raises what it is told to."""

    child: FakeChild
    answer: object
    is_closed: bool = False
    sent: list = field(default_factory=list)

    def send(self, request, *, slot=None, call=None, on_frame=None):
        self.sent.append((request, slot, call))
        answer = self.answer(self) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.is_closed = True


def die(http: FakeHttp) -> Exception:
    """Die of a request."""
    http.child.is_dead = True
    return ServiceUnavailableError("connection broken")


class Connections(list):
    """Makes transports whose answers were decided before, one per process."""

    def __init__(self, *answers: object) -> None:
        self.answers = iter(answers)

    def __call__(self, child):
        self.append(FakeHttp(child, next(self.answers)))
        return self[-1]


def test_a_request_under_which_the_service_died_is_sent_again_to_the_next_one():
    connect = Connections(die, _ANSWER)
    transport = LocalTransport(FakeChildren(FakeChild(), FakeChild()), connect)
    assert transport.send(GetInfo(), slot="preview") == _ANSWER
    assert [http.sent[0][:2] for http in connect] == [(GetInfo(), "preview")] * 2
    assert connect[0].is_closed and not connect[1].is_closed


def test_a_request_of_which_every_service_dies_is_given_up_with_the_last_words():
    transport = LocalTransport(FakeChildren(*(FakeChild() for _ in range(5))), Connections(*[die] * 5))
    with pytest.raises(ServiceUnavailableError, match=r"died 3 times(?s:.*)GetInfo(?s:.*)argh"):
        transport.send(GetInfo())


def test_requests_share_the_connection_to_a_process():
    connect = Connections(_ANSWER)
    transport = LocalTransport(FakeChildren(FakeChild()), connect)
    transport.send(GetInfo())
    transport.send(GetInfo())
    assert len(connect) == 1


def test_a_service_that_is_alive_but_unavailable_is_not_asked_again():
    connect = Connections(ServiceUnavailableError("shutting down"))
    with pytest.raises(ServiceUnavailableError, match="shutting down"):
        LocalTransport(FakeChildren(FakeChild()), connect).send(GetInfo())
    assert len(connect[0].sent) == 1


def test_an_error_of_the_request_comes_through():
    connect = Connections(PromptError("no prompt"))
    with pytest.raises(PromptError):
        LocalTransport(FakeChildren(FakeChild()), connect).send(GetInfo())


def test_a_service_that_was_silent_is_suspect():
    child = FakeChild()
    with pytest.raises(ServiceTimeoutError):
        LocalTransport(FakeChildren(child), Connections(ServiceTimeoutError("silence"))).send(GetInfo())
    assert child.suspect


def test_an_image_that_a_new_service_was_never_sent_is_told_from_one_that_it_forgot():
    answers = iter([ImageNotCachedError("what?"), ImageKept(image_id="one"), ImageNotCachedError("what?")])
    transport = LocalTransport(FakeChildren(FakeChild()), Connections(lambda _: next(answers)))
    with pytest.raises(ImageNotSentError):
        transport.send(_IMAGE)
    transport.send(_PUT)
    with pytest.raises(ImageNotCachedError) as forgotten:
        transport.send(_IMAGE)
    assert not isinstance(forgotten.value, ImageNotSentError)


def test_an_image_that_a_dead_service_had_counts_as_never_sent_to_the_next_one():
    first = iter([ImageKept(image_id="one"), die])

    def answer(http):
        given = next(first)
        return given(http) if callable(given) else given

    connect = Connections(answer, ImageNotCachedError("what?"))
    transport = LocalTransport(FakeChildren(FakeChild(), FakeChild()), connect)
    transport.send(_PUT)
    with pytest.raises(ImageNotSentError):
        transport.send(_IMAGE)


def test_closing_gives_the_lease_back_once_and_refuses_requests():
    released = []
    connect = Connections(_ANSWER)
    transport = LocalTransport(FakeChildren(FakeChild()), connect, released.append)
    transport.send(GetInfo())
    transport.close()
    transport.close()
    assert released == [transport] and connect[0].is_closed
    with pytest.raises(ServiceUnavailableError, match="given back"):
        transport.send(GetInfo())


def test_closing_cancels_a_request_that_waits_for_the_service_to_start():
    class Starting(FakeChildren):
        def child(self, call=None):
            waiting.set()
            cancelled = threading.Event()
            call.on_cancel(cancelled.set)
            assert cancelled.wait(_HANG_S)
            raise RequestCancelledError("cancelled")

    waiting = threading.Event()
    transport = LocalTransport(Starting(), Connections())
    errors = []

    def ask():
        try:
            transport.send(GetInfo(), call=Call())
        except RequestCancelledError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert waiting.wait(_HANG_S)
    transport.close()
    thread.join(_HANG_S)
    assert len(errors) == 1


def test_a_connection_to_a_dead_service_is_closed_by_the_last_request_on_it():
    both_in, let_go = threading.Barrier(3), threading.Event()

    def answer(http):
        if http.child is children.children[0]:
            both_in.wait(_HANG_S)
            assert let_go.wait(_HANG_S)
            return die(http)
        return _ANSWER

    children = FakeChildren(FakeChild(), FakeChild())
    connect = Connections(answer, answer)
    transport = LocalTransport(children, connect)
    threads = [threading.Thread(target=transport.send, args=(GetInfo(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    both_in.wait(_HANG_S)
    assert not connect[0].is_closed
    let_go.set()
    for thread in threads:
        thread.join(_HANG_S)
    assert len(connect) == 2 and connect[0].is_closed and len(connect[1].sent) == 2
