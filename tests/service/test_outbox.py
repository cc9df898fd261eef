"""The outbox: frames in order, and work that is held up while a client is slow."""

from __future__ import annotations

import asyncio
import threading

import pytest

from napari_cellsam.service.codec import encode_frame
from napari_cellsam.service.messages import Cancelled, Progress, Reply
from napari_cellsam.service.outbox import Outbox

LAST = Reply(result=Cancelled(found=True))


def big(number):
    return Progress(stage="x" * 3 * 2**20, done=number, total=9)


class Work:
    """Notes when it is held up."""

    def __init__(self):
        self.done = []

    def pause(self):
        self.done.append("pause")

    def resume(self):
        self.done.append("resume")


@pytest.fixture
def work():
    return Work()


async def put(outbox, *frames):
    """Put frames in from another thread."""
    thread = threading.Thread(target=lambda: [outbox.put(frame) for frame in frames])
    thread.start()
    await asyncio.to_thread(thread.join)


def test_frames_come_out_as_they_went_in_and_the_last_is_known():
    async def run():
        outbox = Outbox(asyncio.get_running_loop())
        coming = asyncio.ensure_future(outbox.get())
        frames = [Progress(stage="looking", done=n, total=3) for n in range(3)]
        await put(outbox, *frames, LAST)
        got = [await coming] + [await outbox.get() for _ in range(3)]
        assert got == [*((encode_frame(frame), False) for frame in frames), (encode_frame(LAST), True)]

    asyncio.run(run())


def test_work_is_held_up_while_much_waits_and_goes_on_when_little_does(work):
    async def run():
        outbox = Outbox(asyncio.get_running_loop())
        outbox.belong_to(work)
        await put(outbox, big(1), big(2))
        assert work.done == []
        await put(outbox, big(3), big(4))
        assert work.done == ["pause"]
        for _ in range(3):
            await outbox.get()
            assert work.done == ["pause"]
        await outbox.get()
        assert work.done == ["pause", "resume"]

    asyncio.run(run())


def test_work_that_sends_much_before_it_is_known_is_held_up_as_soon_as_it_is(work):
    async def run():
        outbox = Outbox(asyncio.get_running_loop())
        await put(outbox, big(1), big(2), big(3))
        outbox.belong_to(work)
        assert work.done == ["pause"]

    asyncio.run(run())


def test_frames_for_a_server_that_has_ended_are_dropped():
    async def make():
        return Outbox(asyncio.get_running_loop())

    asyncio.run(make()).put(LAST)
