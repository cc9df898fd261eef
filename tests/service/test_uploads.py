"""An image is sent once, however many threads find it missing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from napari_cellsam.errors import RequestCancelledError, ServiceUnavailableError
from napari_cellsam.service.transport import Call
from napari_cellsam.service.uploads import Uploads

HANG_S = 60


def nothing():
    pass


def test_an_image_that_was_forgotten_is_sent_again():
    uploads = Uploads()
    for n_before in range(3):
        assert uploads.count("a") == n_before
        assert uploads.send("a", n_before, nothing, None)


def test_two_threads_that_miss_an_image_send_it_once():
    uploads, sending, go_on = Uploads(), threading.Event(), threading.Event()

    def send():
        sending.set()
        assert go_on.wait(HANG_S)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(uploads.send, "a", 0, send, None)
        assert sending.wait(HANG_S)
        second = threads.submit(uploads.send, "a", 0, send, None)
        go_on.set()
        assert (first.result(HANG_S), second.result(HANG_S)) == (True, False)


def test_an_upload_that_fails_does_not_count():
    uploads = Uploads()

    def fail():
        raise ServiceUnavailableError("gone")

    with pytest.raises(ServiceUnavailableError):
        uploads.send("a", 0, fail, None)
    assert uploads.count("a") == 0
    assert uploads.send("a", 0, nothing, None)


def test_the_wait_for_another_upload_can_be_cancelled():
    uploads, call, sending, go_on = Uploads(), Call(), threading.Event(), threading.Event()

    def send():
        sending.set()
        assert go_on.wait(HANG_S)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(uploads.send, "a", 0, send, None)
        assert sending.wait(HANG_S)
        second = threads.submit(uploads.send, "b", 0, nothing, call)
        call.cancel()
        assert isinstance(second.exception(HANG_S), RequestCancelledError)
        go_on.set()
        assert first.result(HANG_S)


def test_only_the_newest_images_are_known():
    uploads = Uploads()
    for number in range(100):
        uploads.send(str(number), 0, nothing, None)
    assert (uploads.count("0"), uploads.count("99")) == (0, 1)
