"""The transport over HTTP, against servers that break off, freeze, send garbage or something else."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_cellsam.errors import (
    AuthenticationError,
    LimitExceededError,
    MessageError,
    OptionError,
    PromptError,
    RequestCancelledError,
    ServiceBusyError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from napari_cellsam.service import convert
from napari_cellsam.service.codec import encode_frame
from napari_cellsam.service.http_transport import HttpTransport, Timeouts
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import (
    Cancel,
    Cancelled,
    Failure,
    FeaturesKept,
    GetInfo,
    ImageKept,
    Progress,
    Reply,
    Waiting,
)
from napari_cellsam.service.transport import Call
from napari_cellsam.types import Image

HANG_S = 60
DONE = Reply(result=FeaturesKept(n_entries=7))  # an answer as good as any other
TOKEN = "a-token"


def done(conversation):
    conversation.reply(DONE)


def hang_up(conversation):
    conversation.body()
    conversation.hang_up()


@pytest.fixture
def open_transport():
    """Return a function that makes a transport; it is closed after the test."""
    made = []

    def start(server, **options):
        made.append(HttpTransport(getattr(server, "url", server), TOKEN, **options))
        return made[-1]

    yield start
    for transport in made:
        transport.close()


@pytest.fixture
def cancelled_while_running(open_transport):
    """Return a function that cancels a request once its first frame has come, and returns the error it gets."""

    def run(server, **options):
        transport, call, running = open_transport(server, **options), Call(), threading.Event()
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(transport.send, GetInfo(), call=call, on_frame=lambda frame: running.set())
            assert running.wait(HANG_S)
            call.cancel()
            return answer.exception(HANG_S)

    return run


def test_the_answer_is_what_the_service_sent(scripted, open_transport):
    assert open_transport(scripted(done)).send(GetInfo()) == DONE.result


def test_the_token_travels_in_the_header_alone(scripted, open_transport):
    bodies = []

    def look(conversation):
        bodies.append(conversation.body())
        conversation.answer(encode_frame(DONE))

    server = scripted(look)
    open_transport(server).send(GetInfo())
    assert server.heads[0].startswith("POST /v1/requests HTTP/1.1")
    assert f"authorization: bearer {TOKEN}" in server.heads[0].lower()
    assert TOKEN.encode() not in bodies[0]


def test_frames_come_in_order_before_the_answer(scripted, open_transport):
    frames = [Waiting(n_ahead=2), Progress(stage="cells", done=1, total=2), Progress(stage="cells", done=2, total=2)]
    got = []
    server = scripted(lambda conversation: conversation.reply(*frames, DONE))
    assert open_transport(server).send(GetInfo(), on_frame=got.append) == DONE.result
    assert got == frames


def test_frames_cut_anywhere_are_put_together(scripted, open_transport):
    def trickle(conversation):
        conversation.body()
        conversation.hang_up()
        data = encode_frame(Waiting(n_ahead=1)) + encode_frame(DONE)
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-msgpack\r\n\r\n")
        for i in range(len(data)):
            conversation.send(data[i : i + 1])

    got = []
    assert open_transport(scripted(trickle)).send(GetInfo(), on_frame=got.append) == DONE.result
    assert got == [Waiting(n_ahead=1)]


def test_one_connection_serves_requests_one_after_the_other(scripted, open_transport):
    server = scripted(done)
    transport = open_transport(server)
    for _ in range(3):
        transport.send(GetInfo())
    assert (server.n_connections, len(server.heads)) == (1, 3)


def test_requests_at_the_same_time_do_not_wait_for_each_other(scripted, open_transport):
    meeting = threading.Barrier(3)

    def meet(conversation):
        meeting.wait(HANG_S)
        conversation.reply(DONE)

    transport = open_transport(scripted(meet))
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(transport.send, GetInfo()) for _ in range(3)]
        assert [answer.result(HANG_S) for answer in answers] == [DONE.result] * 3


def test_a_failure_is_raised_as_what_it_was(scripted, open_transport):
    failure = Failure(error="PromptError", message="a click at (-9, 3)")
    with pytest.raises(PromptError, match=r"a click at \(-9, 3\)"):
        open_transport(scripted(lambda conversation: conversation.reply(failure))).send(GetInfo())


def test_a_failure_tells_more_than_its_status(scripted, open_transport):
    def refuse(conversation):
        conversation.body()
        failure = Failure(error="LimitExceededError", message="the body has 9 bytes; at most 8 are allowed")
        conversation.answer(encode_frame(failure), status="413 Content Too Large")

    with pytest.raises(LimitExceededError, match="at most 8"):
        open_transport(scripted(refuse)).send(GetInfo())


@pytest.mark.parametrize("limits", [Limits(max_pixels=10)], indirect=True)
def test_a_request_that_came_whole_is_refused_at_once(make_service, backend, open_transport, monkeypatch):
    from napari_cellsam.service import body
    from napari_cellsam.service.serve import listening

    monkeypatch.setattr(body, "_DISCARD_S", HANG_S)  # for which a service would wait if it took more to be coming
    image = Image.from_array(np.zeros((4, 4), np.uint8))
    with listening(make_service(backend), (TOKEN,)) as service:
        transport = open_transport(service, timeouts=Timeouts(idle_s=15))
        with pytest.raises(LimitExceededError):
            transport.send(convert.image_data(image))
        transport.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("401 Unauthorized", AuthenticationError),
        ("403 Forbidden", AuthenticationError),
        ("413 Content Too Large", LimitExceededError),
        ("429 Too Many Requests", ServiceBusyError),
        ("502 Bad Gateway", ServiceUnavailableError),
        ("404 Not Found", MessageError),
        ("307 Temporary Redirect", MessageError),
        ("200 OK", MessageError),
    ],
)
def test_the_status_of_another_program_is_told_as_our_error(scripted, open_transport, status, error):
    def refuse(conversation):
        conversation.body()
        conversation.answer(b"<html>", status=status, kind="text/html")

    with pytest.raises(error, match=status[:3]):
        open_transport(scripted(refuse), retries=0).send(GetInfo())


@pytest.mark.parametrize("garbage", [b"\x00\x00\x00\x02\xc1\xc1", b"\xff\xff\xff\xff", b"once upon a time, a service"])
def test_garbage_is_an_error_of_ours(scripted, open_transport, garbage):
    def babble(conversation):
        conversation.body()
        conversation.answer(garbage)
        conversation.hang_up()

    with pytest.raises((MessageError, ServiceUnavailableError)):
        open_transport(scripted(babble), retries=0).send(GetInfo())


def test_what_follows_the_last_frame_is_not_read(scripted, open_transport):
    def babble(conversation):
        conversation.body()
        conversation.stream(DONE)
        conversation.stream(*[Waiting(n_ahead=1)] * 3)
        conversation.until_gone()

    transport = open_transport(scripted(babble, done))
    assert transport.send(GetInfo()) == DONE.result
    assert transport.send(GetInfo()) == DONE.result


def test_a_connection_that_was_closed_while_idle_is_replaced(scripted, open_transport):
    def answer_and_close(conversation):
        done(conversation)
        conversation.hang_up()

    server = scripted(answer_and_close, done)
    transport = open_transport(server)
    assert transport.send(GetInfo()) == transport.send(GetInfo()) == DONE.result
    assert server.n_connections == 2


@pytest.mark.parametrize("n_faults", [1, 3])
def test_a_request_whose_connection_breaks_is_sent_again(scripted, open_transport, n_faults):
    server = scripted(*[hang_up] * n_faults, done)
    assert open_transport(server).send(GetInfo()) == DONE.result
    assert len(server.heads) == n_faults + 1


def test_an_answer_that_breaks_off_is_asked_for_again_from_its_beginning(scripted, open_transport):
    def break_off(conversation):
        conversation.body()
        conversation.stream(Progress(stage="cells", done=1, total=2))

    got = []
    progress = Progress(stage="cells", done=2, total=2)
    server = scripted(break_off, lambda conversation: conversation.reply(progress, DONE))
    assert open_transport(server).send(GetInfo(), on_frame=got.append) == DONE.result
    assert [frame.done for frame in got] == [1, 2]


def test_each_attempt_has_a_name_of_its_own(scripted, open_transport):
    envelopes = []

    def note(conversation):
        envelopes.append(conversation.envelope()[0])
        if len(envelopes) < 2:
            conversation.hang_up()
        else:
            conversation.answer(encode_frame(DONE))

    open_transport(scripted(note)).send(GetInfo(), slot="preview")
    assert len({envelope.request_id for envelope in envelopes}) == 2
    assert len({envelope.client_id for envelope in envelopes}) == 1
    assert {envelope.slot for envelope in envelopes} == {"preview"}


def test_an_upload_that_is_cut_is_sent_again(scripted, open_transport):
    image = Image.from_array(np.zeros((2048, 2048), np.uint16))
    got = []

    def cut(conversation):
        conversation.hang_up()

    def keep(conversation):
        got.append(conversation.request())
        conversation.answer(encode_frame(Reply(result=ImageKept(image_id="a"))))

    assert open_transport(scripted(cut, keep)).send(convert.image_data(image)) == ImageKept(image_id="a")
    assert len(got[0].pixels.data) == image.pixels.nbytes


def test_a_service_that_always_breaks_off_is_unavailable(scripted, open_transport):
    server = scripted(hang_up)
    with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
        open_transport(server, retries=2).send(GetInfo())
    assert len(server.heads) == 3


def test_a_port_without_a_service_is_unavailable(open_transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServiceUnavailableError, match=f"127.0.0.1:{port} cannot be reached"):
        open_transport(f"http://127.0.0.1:{port}", retries=1).send(GetInfo())


def test_a_frozen_service_is_a_time_out_and_the_next_request_works(scripted, open_transport):
    server = scripted(lambda conversation: conversation.freeze(), done)
    transport = open_transport(server, timeouts=Timeouts(idle_s=0.2))
    with pytest.raises(ServiceTimeoutError, match=r"no sign of life for 0\.2 s"):
        transport.send(GetInfo())
    assert transport.send(GetInfo()) == DONE.result
    assert len(server.heads) == 2  # not sent again by itself: it may be at work


def test_signs_of_life_put_off_the_idle_time_out(scripted, open_transport):
    beats = threading.Semaphore(0)

    def beat(conversation):
        conversation.body()
        for i in range(18):
            conversation.stream(Waiting(n_ahead=i))
            beats.acquire(timeout=0.1)
        conversation.stream(DONE)

    got = []
    transport = open_transport(scripted(beat), timeouts=Timeouts(idle_s=1.5))
    assert transport.send(GetInfo(), on_frame=got.append) == DONE.result
    assert len(got) == 18


def test_signs_of_life_do_not_put_off_the_total_time_out(scripted, open_transport):
    def beat(conversation):
        conversation.body()
        while not conversation.released.wait(0.05):
            conversation.stream(Waiting(n_ahead=1))

    with pytest.raises(ServiceTimeoutError, match=r"no answer within 0\.3 s"):
        open_transport(scripted(beat), timeouts=Timeouts(total_s=0.3)).send(GetInfo())


def test_the_total_time_out_ends_a_silent_request(scripted, open_transport):
    server = scripted(lambda conversation: conversation.freeze())
    with pytest.raises(ServiceTimeoutError, match=r"no answer within 0\.2 s"):
        open_transport(server, timeouts=Timeouts(total_s=0.2)).send(GetInfo())


def test_a_cancel_reaches_the_service_by_the_name_of_the_request(scripted, cancelled_while_running):
    envelopes, cancelled = [], threading.Event()

    def work(conversation):
        envelopes.append(conversation.envelope()[0])
        conversation.stream(Waiting(n_ahead=0))
        assert cancelled.wait(HANG_S)
        conversation.stream(Failure(error="RequestCancelledError", message="cancelled"))

    def cancel(conversation):
        envelope, request = conversation.envelope()
        assert request == Cancel(request_id=envelopes[0].request_id)
        assert envelope.client_id == envelopes[0].client_id
        conversation.answer(encode_frame(Reply(result=Cancelled(found=True))))
        cancelled.set()

    assert isinstance(cancelled_while_running(scripted(work, cancel)), RequestCancelledError)


def test_a_service_that_ignores_a_cancel_loses_the_connection(scripted, cancelled_while_running):
    gone = threading.Event()

    def ignore(conversation):
        conversation.body()
        conversation.stream(Waiting(n_ahead=0))
        conversation.until_gone()
        gone.set()

    error = cancelled_while_running(scripted(ignore, lambda conversation: conversation.freeze()))
    assert isinstance(error, RequestCancelledError)
    assert gone.wait(HANG_S)


def test_an_answer_that_comes_after_the_cancel_is_not_given(scripted, cancelled_while_running):
    cancelled = threading.Event()

    def work(conversation):
        conversation.body()
        conversation.stream(Waiting(n_ahead=0))
        assert cancelled.wait(HANG_S)
        conversation.stream(DONE)

    def cancel(conversation):
        conversation.reply(Reply(result=Cancelled(found=False)))
        cancelled.set()

    assert isinstance(cancelled_while_running(scripted(work, cancel)), RequestCancelledError)


def test_a_call_that_was_cancelled_before_sends_nothing(scripted, open_transport):
    server, call = scripted(done), Call()
    call.cancel()
    with pytest.raises(RequestCancelledError):
        open_transport(server).send(GetInfo(), call=call)
    assert server.heads == []


def test_cancelling_ends_the_wait_before_the_next_attempt(scripted, open_transport):
    call = Call()

    def cancel_and_hang_up(conversation):
        call.cancel()
        conversation.hang_up()

    server = scripted(cancel_and_hang_up)
    with pytest.raises(RequestCancelledError):
        open_transport(server).send(GetInfo(), call=call)


def test_cancelling_ends_an_upload_that_nobody_reads(scripted, open_transport):
    image = Image.from_array(np.zeros((4096, 4096), np.uint16))  # more than sockets buffer
    call, uploading = Call(), threading.Event()

    def ignore(conversation):
        uploading.set()
        conversation.freeze()

    transport = open_transport(scripted(ignore, lambda conversation: conversation.freeze()))
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(transport.send, convert.image_data(image), call=call)
        assert uploading.wait(HANG_S)
        call.cancel()
        assert isinstance(answer.exception(HANG_S), RequestCancelledError)


def test_a_call_that_was_answered_can_be_cancelled_without_harm(scripted, open_transport):
    server, call = scripted(done), Call()
    transport = open_transport(server)
    transport.send(GetInfo(), call=call)
    call.cancel()
    assert transport.send(GetInfo()) == DONE.result
    assert len(server.heads) == 2


def test_what_the_callback_raises_ends_the_request(scripted, open_transport):
    gone = threading.Event()

    def work(conversation):
        conversation.body()
        conversation.stream(Waiting(n_ahead=0))
        conversation.until_gone()
        gone.set()

    def fail(frame):
        raise KeyError("a bug of the caller")

    with pytest.raises(KeyError, match="a bug of the caller"):
        open_transport(scripted(work)).send(GetInfo(), on_frame=fail)
    assert gone.wait(HANG_S)


def test_closing_ends_what_is_under_way(scripted, open_transport):
    running = threading.Event()

    def work(conversation):
        conversation.body()
        running.set()
        conversation.until_gone()

    transport = open_transport(scripted(work))
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(transport.send, GetInfo())
        assert running.wait(HANG_S)
        transport.close()
        assert isinstance(answer.exception(HANG_S), RequestCancelledError)


def test_a_closed_transport_sends_nothing(scripted, open_transport):
    server = scripted(done)
    transport = open_transport(server)
    transport.close()
    transport.close()
    with pytest.raises(ServiceUnavailableError, match="was closed"):
        transport.send(GetInfo())
    assert server.heads == []


def test_closing_from_a_callback_ends_the_request(scripted, open_transport):
    def work(conversation):
        conversation.body()
        conversation.stream(Waiting(n_ahead=0))
        conversation.until_gone()

    transport = open_transport(scripted(work))
    with pytest.raises(RequestCancelledError):
        transport.send(GetInfo(), on_frame=lambda frame: transport.close())


def test_proxies_of_the_environment_are_not_asked_for_this_machine(scripted, open_transport, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert open_transport(scripted(done)).send(GetInfo()) == DONE.result


def test_proxies_of_the_environment_are_asked_for_another_machine(scripted, open_transport, monkeypatch):
    proxy = scripted(done)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert open_transport("http://gpu.invalid:8765").send(GetInfo()) == DONE.result
    assert proxy.heads[0].startswith("POST http://gpu.invalid:8765/v1/requests ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("ALL_PROXY", "socks4://127.0.0.1:1080"),
        ("HTTPS_PROXY", "http://proxy:port"),
        ("NO_PROXY", "fe80::/10"),
    ],
)
def test_proxies_that_cannot_be_used_are_an_error_that_names_the_variable(open_transport, monkeypatch, name, value):
    monkeypatch.setitem(sys.modules, "socksio", None)  # not installed
    monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match=name):
        open_transport("http://gpu.invalid:8765").send(GetInfo())


@pytest.mark.parametrize(("level", "compression"), [(0, "zstd"), (None, "none")])
def test_images_go_compressed_to_another_machine_where_it_pays(
    scripted, open_transport, monkeypatch, level, compression
):
    noise = np.random.default_rng(0).integers(0, 2**16, (300, 400), np.uint16)
    image = Image.from_array(noise if level is None else np.full_like(noise, level))
    got = []

    def keep(conversation):
        got.append(conversation.request())
        conversation.answer(encode_frame(Reply(result=ImageKept(image_id="a"))))

    server = scripted(keep)
    for name in ("HTTP_PROXY", "http_proxy"):  # stands for the other machine
        monkeypatch.setenv(name, server.url)
    open_transport("http://gpu.invalid:8765").send(convert.image_data(image))
    open_transport(server).send(convert.image_data(image))
    far, near = got
    assert (far.pixels.compression, near.pixels.compression) == (compression, "none")
    np.testing.assert_array_equal(convert.image_of(far).pixels, image.pixels)


def test_a_connection_that_others_can_read_is_warned_about(open_transport, caplog):
    with caplog.at_level(logging.WARNING):
        open_transport("http://127.0.0.1:1")
        open_transport("https://gpu.invalid")
        assert not caplog.records
        open_transport("http://gpu.invalid")
    assert "not encrypted" in caplog.text
    assert TOKEN not in caplog.text


@pytest.fixture
def encryption(certificate):
    """Return what encrypts a server's connections."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


def test_encrypted_requests_share_a_connection(scripted, open_transport, certificate, encryption):
    server = scripted(done, encryption=encryption)
    transport = open_transport(server, verify=certificate[0])
    assert transport.send(GetInfo()) == transport.send(GetInfo()) == DONE.result
    assert server.n_connections == 1


def test_an_unknown_certificate_is_an_error_that_says_what_to_do(scripted, open_transport, encryption):
    server = scripted(done, encryption=encryption)
    with pytest.raises(ServiceUnavailableError, match="SSL_CERT_FILE"):
        open_transport(server).send(GetInfo())
    assert server.n_connections == 1  # not tried again
    assert server.heads == []


def test_the_environment_can_name_a_certificate(scripted, open_transport, certificate, encryption, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert open_transport(scripted(done, encryption=encryption)).send(GetInfo()) == DONE.result


def test_a_certificate_that_is_not_checked_is_warned_about(scripted, open_transport, encryption, caplog):
    transport = open_transport(scripted(done, encryption=encryption), verify=False)
    assert transport.send(GetInfo()) == DONE.result
    assert "is not checked" in caplog.text


def test_closing_ends_what_is_under_way_on_an_encrypted_connection(scripted, open_transport, certificate, encryption):
    running = threading.Event()

    def work(conversation):
        conversation.body()
        running.set()
        conversation.until_gone()

    transport = open_transport(scripted(work, encryption=encryption), verify=certificate[0])
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(transport.send, GetInfo())
        assert running.wait(HANG_S)
        transport.close()
        assert isinstance(answer.exception(HANG_S), RequestCancelledError)


def test_a_certificate_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "ca.pem").write_text("once upon a time")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(OptionError, match=name):
            HttpTransport("https://gpu.invalid", TOKEN, verify=tmp_path / name)


@pytest.mark.parametrize("name", ["ca.pem", "missing.pem"])
def test_a_certificate_of_the_environment_that_cannot_be_read_is_an_error(tmp_path, monkeypatch, name):
    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
    with pytest.raises(OptionError, match=f"{name}.*SSL_CERT_FILE"):
        HttpTransport("https://gpu.invalid", TOKEN)


@pytest.mark.parametrize("token", ["", "two words", "line\nfeed", "schlüssel"])
def test_what_cannot_be_a_token_is_refused_and_not_repeated(token):
    with pytest.raises(AuthenticationError, match="the token is empty or") as refused:
        HttpTransport("http://127.0.0.1:1", token)
    assert not token or token not in str(refused.value)


@pytest.mark.parametrize("timeouts", [{"connect_s": 0}, {"idle_s": -1}, {"total_s": 0}, {"idle_s": float("nan")}])
def test_a_time_out_without_time_is_refused(timeouts):
    with pytest.raises(OptionError, match="time-out"):
        Timeouts(**timeouts)


@pytest.mark.parametrize("retries", [-1, 5])
def test_a_number_of_retries_out_of_range_is_refused(retries):
    with pytest.raises(OptionError, match=f"retries is {retries}"):
        HttpTransport("http://127.0.0.1:1", TOKEN, retries=retries)
