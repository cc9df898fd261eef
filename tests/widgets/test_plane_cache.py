"""The cache of the newest plane: what is read, what is kept, and what nobody wants any more."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tests.widgets.conftest import discs

from napari_cellsam.errors import RequestCancelledError
from napari_cellsam.service.transport import Call
from napari_cellsam.types import Image
from napari_cellsam.widgets._plane_cache import PlaneCache
from napari_cellsam.widgets._source import ImageSource

HANG_S = 20


@pytest.fixture
def cache():
    return PlaneCache()


@pytest.fixture
def reading():
    """Return which planes were read, in order."""
    return []


def reader_of(cache, reading, name):
    def read():
        reading.append(name)
        return Image.from_array(np.zeros((4, 5), np.uint8))

    return cache.reader(name, read)


def cancelled():
    call = Call()
    call.cancel()
    return call


def test_the_newest_plane_is_read_once(cache, reading):
    read = reader_of(cache, reading, "a")
    assert read(Call()) is read()
    assert read(Call()) is reader_of(cache, reading, "a")()
    assert reading == ["a"]


def test_another_plane_takes_its_place(cache, reading):
    for name in ("a", "b", "a"):
        reader_of(cache, reading, name)(Call())
    assert reading == ["a", "b", "a"]


def test_a_plane_that_is_not_wanted_any_more_is_not_read_and_the_kept_one_stays(cache, reading):
    reader_of(cache, reading, "shown")(Call())
    with pytest.raises(RequestCancelledError):
        reader_of(cache, reading, "passed")(cancelled())
    reader_of(cache, reading, "shown")(Call())
    assert reading == ["shown"]


def test_an_image_that_was_left_while_it_was_read_is_given_all_the_same(cache):
    def read():
        cache.clear()
        return Image.from_array(np.zeros((4, 5), np.uint8))

    assert cache.reader("a", read)().shape == (4, 5)


def test_planes_that_the_slider_passes_while_one_is_read_are_never_read(viewer, make_session, client, monkeypatch):
    viewer.add_image(np.stack([np.roll(discs(), step, 0) for step in range(6)]), name="stack")
    viewer.dims.set_current_step(0, 0)
    others = set(threading.enumerate())
    session = make_session(viewer)
    read, begun, gate = [], threading.Event(), threading.Event()
    whole = ImageSource.reader

    def reader(source, plane):
        def slow():
            read.append(plane)
            begun.set()
            assert gate.wait(HANG_S)
            return whole(source, plane)()

        return slow

    monkeypatch.setattr(ImageSource, "reader", reader)
    session.start()
    assert begun.wait(HANG_S)
    for step in range(1, 6):
        viewer.dims.set_current_step(0, step)
    gate.set()
    session.settle()
    threads = {t for t in threading.enumerate() if t.name == "napari-cellsam job"} - others
    session.close()  # threads end then, when they are done with jobs that were cancelled
    for thread in threads:
        thread.join(HANG_S)
        assert not thread.is_alive()
    assert read == [(0,), (5,)]
    assert sum(kind == "prefetch" for kind, _ in client.asked) <= 2
