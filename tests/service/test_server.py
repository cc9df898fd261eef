"""The HTTP face: who is let in, what is refused with which status, and that nobody can hold it up."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
from contextlib import closing

import httpx
import numpy as np
import pytest

from napari_cellsam.data.retraining.pictures import RetrainingPicture
from napari_cellsam.errors import (
    AuthenticationError,
    LimitExceededError,
    OptionError,
    RequestCancelledError,
    ServiceUnavailableError,
)
from napari_cellsam.service import convert
from napari_cellsam.service.client import Client
from napari_cellsam.service.codec import FrameReader, encode_request
from napari_cellsam.service.convert_lessons import lesson_data
from napari_cellsam.service.http_transport import HttpTransport
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.logs import set_up_logs
from napari_cellsam.service.messages import (
    Cancelled,
    Failure,
    GetInfo,
    Progress,
    Reply,
    SegmentImage,
    ServiceInfo,
    TrainModel,
)
from napari_cellsam.service.observing import Metrics
from napari_cellsam.service.serve import ServeOptions, listening
from napari_cellsam.types import Image, Prompt

TOKEN = "a-token-of-the-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
HANG_S = 20.0
SQUARES = np.zeros((90, 90), np.uint8)
SQUARES[10:30, 10:30] = SQUARES[50:80, 40:70] = 200


@pytest.fixture
def service(make_service, backend):
    made = make_service(backend)
    yield made
    backend.let_all()


@pytest.fixture
def server(service):
    with listening(service, (TOKEN,)) as running:
        yield running


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.url, headers=BEARER, timeout=HANG_S, trust_env=False) as client:
        yield client


def frames(response):
    return list(FrameReader(2**30).feed(response.content))


def connect(server):
    return closing(socket.create_connection(("127.0.0.1", server.port), HANG_S))


def until_closed(connection):
    received = b""
    while part := connection.recv(2**16):
        received += part
    return received


def ask_for_info(http):
    return http.post("/v1/requests", content=encode_request(GetInfo(), "c", "r"))


def test_anyone_may_ask_whether_it_is_there(server):
    response = httpx.get(f"{server.url}/healthz", trust_env=False)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_service_whose_device_is_lost_is_not_well(server, service):
    service.broken.set()
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 503


def test_what_it_is_is_told_in_json(http):
    told = http.get("/v1/info").json()
    assert [model["name"] for model in told["models"]] == ["squares", "clicks only"]
    assert told["protocol"] == 1
    assert told["limits"]["max_prompts"] == 100


@pytest.mark.parametrize("path", ["/v1/info", "/v1/requests", "/metrics"])
@pytest.mark.parametrize("shown", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \u00fc"])
def test_nobody_gets_in_without_the_token(service, path, shown):
    with listening(service, (TOKEN,), metrics=Metrics()) as server:
        headers = {} if shown is None else {"authorization": shown.encode("latin-1")}
        method = "POST" if path == "/v1/requests" else "GET"
        response = httpx.request(method, server.url + path, headers=headers, content=b"x" * 9, trust_env=False)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_request_is_answered_by_frames(http):
    [reply] = frames(ask_for_info(http))
    assert isinstance(reply, Reply)
    assert isinstance(reply.result, ServiceInfo)


def test_garbage_is_refused_with_a_reason(http):
    response = http.post("/v1/requests", content=b"\xc1garbage")
    [failure] = frames(response)
    assert (response.status_code, failure.error) == (400, "MessageError")


def test_another_version_is_told_what_to_install(http, monkeypatch):
    monkeypatch.setattr("napari_cellsam.service.codec.PROTOCOL_VERSION", 99)
    body = encode_request(GetInfo(), "c", "r")
    monkeypatch.undo()
    response = http.post("/v1/requests", content=body)
    [failure] = frames(response)
    assert (response.status_code, failure.error) == (426, "VersionMismatchError")
    assert "service's machine: pip install --upgrade napari-cellsam" in failure.message


@pytest.mark.parametrize("limits", [Limits(max_body_bytes=20_000)], indirect=True)
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_refused_and_the_next_request_answered(http, announced, monkeypatch):
    monkeypatch.setattr("napari_cellsam.service.body._DISCARD_S", 3 * HANG_S)  # it does not wait for what has come
    body = b"\0" * 60_000

    def parts():
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    response = http.post("/v1/requests", content=body if announced else parts())
    [failure] = frames(response)
    assert (response.status_code, failure.error) == (413, "LimitExceededError")
    assert "20000" in failure.message
    assert ask_for_info(http).status_code == 200


@pytest.mark.parametrize("limits", [Limits(max_pixels=100)], indirect=True)
def test_an_image_over_the_limit_is_refused(server):
    with Client(HttpTransport(server.url, TOKEN)) as client, pytest.raises(LimitExceededError, match="takes 100"):
        client.prefetch(SQUARES)


@pytest.mark.parametrize("limits", [Limits(body_timeout_s=0.2)], indirect=True)
def test_a_body_that_stops_is_given_up(server, monkeypatch):
    monkeypatch.setattr("napari_cellsam.service.body._DISCARD_S", 3 * HANG_S)  # nor for what does not come
    with connect(server) as connection:
        head = (
            f"POST /v1/requests HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 99\r\n\r\nhalf"
        )
        connection.sendall(head.encode())
        assert b" 408 " in until_closed(connection).split(b"\r\n")[0]


def test_a_body_that_is_cut_off_harms_nobody(server, http, caplog):
    caplog.set_level(logging.INFO, "napari_cellsam")
    with connect(server) as connection:
        head = (
            f"POST /v1/requests HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 99\r\n\r\nhalf"
        )
        connection.sendall(head.encode())
    assert ask_for_info(http).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("limits", [Limits(idle_timeout_s=0.3)], indirect=True)
@pytest.mark.parametrize("said", [b"", b"POST /v1/requests HTTP/1.1\r\nhost: x\r\nx-slow"])
def test_connections_that_say_nothing_are_closed_and_others_answered_meanwhile(server, http, said):
    quiet = [socket.create_connection(("127.0.0.1", server.port), HANG_S) for _ in range(200)]
    try:
        for connection in quiet:
            connection.sendall(said)
        assert ask_for_info(http).status_code == 200
        for connection in quiet:
            assert until_closed(connection) == b""
    finally:
        for connection in quiet:
            connection.close()


@pytest.mark.parametrize("limits", [Limits(max_connections=3)], indirect=True)
def test_more_connections_than_allowed_are_refused(server):
    held = [socket.create_connection(("127.0.0.1", server.port), HANG_S) for _ in range(5)]
    try:
        with httpx.Client(base_url=server.url, headers=BEARER, trust_env=False, timeout=HANG_S) as http:
            assert http.get("/healthz").status_code == 503
    finally:
        for connection in held:
            connection.close()


def test_a_client_that_goes_away_frees_the_device(server, backend, http):
    backend.hold()
    image = Image.from_array(SQUARES)
    client = Client(HttpTransport(server.url, TOKEN))
    thread = threading.Thread(target=_quietly, args=(client.segment, image))
    thread.start()
    backend.wait_until_held()
    client.close()
    thread.join(HANG_S)
    assert not thread.is_alive()
    backend.let(1)  # the step that runs ends, and the work with it
    with Client(HttpTransport(server.url, TOKEN)) as other:
        backend.let_all()
        [mask] = other.segment_prompts(image, [Prompt(inside=[(20, 20)])])
    assert mask.area == 400


class Flood:
    """A service whose answers are longer than anything on the way can hold, and which stops while it is held up."""

    N_FRAMES = 40
    is_training = False

    def __init__(self, idle_timeout_s):
        self.limits = Limits(idle_timeout_s=idle_timeout_s)
        self.n_pauses = 0
        self.cancelled = threading.Event()
        self._going = threading.Event()
        self._going.set()

    def submit(self, envelope, emit):
        self._thread = threading.Thread(target=self._answer, args=(emit,))
        self._thread.start()
        return self

    def _answer(self, emit):
        for number in range(self.N_FRAMES):
            assert self._going.wait(HANG_S)
            if self.cancelled.is_set():
                return
            emit(Progress(stage="x" * 2**20, done=number, total=self.N_FRAMES))
        emit(Reply(result=Cancelled(found=True)))

    def pause(self):
        self.n_pauses += 1
        self._going.clear()

    def resume(self):
        self._going.set()

    def cancel(self):
        self.cancelled.set()
        self._going.set()

    def close(self, grace_s):
        self._thread.join(HANG_S)


def ask_on(connection):
    body = encode_request(GetInfo(), "c", "r")
    head = f"POST /v1/requests HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}"
    connection.sendall(head.encode() + b"\r\nconnection: close\r\n\r\n" + body)


def test_an_answer_that_nobody_reads_holds_the_work_up_and_then_ends_it():
    service = Flood(idle_timeout_s=0.3)
    with listening(service, (TOKEN,)) as server, connect(server) as connection:
        ask_on(connection)
        assert service.cancelled.wait(HANG_S)
    assert service.n_pauses == 1


def test_a_slow_reader_gets_all_of_an_answer_that_is_held_up_for_it():
    service = Flood(idle_timeout_s=HANG_S)
    with listening(service, (TOKEN,)) as server, httpx.Client(trust_env=False, timeout=HANG_S) as http:
        body = encode_request(GetInfo(), "c", "r")
        with http.stream("POST", f"{server.url}/v1/requests", headers=BEARER, content=body) as answer:
            while not service.n_pauses:
                server.wait(0.01)
            reader = FrameReader(2**30)
            got = [frame for part in answer.iter_raw() for frame in reader.feed(part)]
    assert [frame.done for frame in got[:-1]] == list(range(Flood.N_FRAMES))
    assert isinstance(got[-1], Reply)


def test_a_client_that_is_cut_off_before_its_answer_does_not_keep_the_server_from_ending(make_service, backend):
    with listening(make_service(backend), (TOKEN,)) as server, connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no goodbye
        ask_on(connection)
    with httpx.Client(base_url=server.url, trust_env=False) as http, pytest.raises(httpx.ConnectError):
        http.get("/healthz")


@pytest.mark.parametrize("limits", [Limits(max_waiting=1, max_waiting_per_client=1)], indirect=True)
def test_too_much_work_is_refused_with_a_status_of_its_own(server, backend, http, queued):
    backend.hold()
    image = Image.from_array(SQUARES)
    clients = [Client(HttpTransport(server.url, TOKEN)) for _ in range(2)]
    threads = [threading.Thread(target=_quietly, args=(client.segment, image)) for client in clients]
    threads[0].start()
    backend.wait_until_held()
    threads[1].start()
    queued(1)
    response = http.post("/v1/requests", content=encode_request(SegmentImage(image=convert.ref_of(image)), "c", "r"))
    assert (response.status_code, frames(response)[0].error) == (429, "ServiceBusyError")
    for client in clients:
        client.close()
    backend.let_all()
    for thread in threads:
        thread.join(HANG_S)


@pytest.mark.parametrize("private", [True], indirect=True)
@pytest.mark.parametrize(
    "limits", [Limits(max_body_bytes=3 * 2**20, image_bytes=3 * 2**20, body_timeout_s=1.0)], indirect=True
)
def test_a_training_that_waits_keeps_nobodys_images_out(server, backend, http, queued, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CELLSAM_MODELS_DIR", str(tmp_path))
    backend.hold()
    noise = Image.from_array(np.random.default_rng(0).integers(0, 256, (1400, 1400), np.uint8))  # most of the room
    labels, verified = np.zeros(noise.shape, np.uint32), np.ones(noise.shape, bool)
    lesson = lesson_data(RetrainingPicture(noise, labels, verified, "a", "a"))
    clients = [Client(HttpTransport(server.url, TOKEN)) for _ in range(2)]
    threads = [
        threading.Thread(target=_quietly, args=(clients[0].segment, Image.from_array(SQUARES))),
        threading.Thread(target=_quietly, args=(clients[1]._transport.send, TrainModel(name="mine", train=(lesson,)))),
    ]
    threads[0].start()
    backend.wait_until_held()
    threads[1].start()
    queued(1)
    response = http.post("/v1/requests", content=encode_request(convert.image_data(noise), "c", "r"))
    assert response.status_code == 200
    for client in clients:
        client.close()
    backend.let_all()
    for thread in threads:
        thread.join(HANG_S)


def _quietly(work, *arguments):
    """Work until the client is closed."""
    with pytest.raises(RequestCancelledError):
        work(*arguments)


def test_metrics_are_shown_when_asked_for(make_service, backend):
    figures = Metrics()
    service = make_service(backend)
    with listening(service, (TOKEN,), metrics=figures) as server:
        figures.request_done("segment_prompts", "answered", 0.03)
        figures.stage_done("device", 0.02)
        figures.queue_length(2)
        figures.cache("features", True)
        page = httpx.get(f"{server.url}/metrics", headers=BEARER, trust_env=False)
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'napari_cellsam_requests_total{kind="segment_prompts",outcome="answered"} 1.0',
        'napari_cellsam_stage_seconds_count{stage="device"} 1.0',
        "napari_cellsam_waiting_requests 2.0",
        'napari_cellsam_cache_lookups_total{cache="features",result="hit"} 1.0',
    ):
        assert line in page.text
    assert "napari_cellsam_device_memory_bytes" in page.text


def test_there_are_no_metrics_unless_asked_for(http):
    assert http.get("/metrics").status_code == 404


def test_requests_under_way_are_answered_when_it_ends(make_service, backend):
    backend.hold()
    answers = []
    with listening(make_service(backend), (TOKEN,), ServeOptions(grace_s=HANG_S)) as server:
        client = Client(HttpTransport(server.url, TOKEN))
        thread = threading.Thread(target=lambda: answers.append(client.segment(SQUARES).n_cells))
        thread.start()
        backend.wait_until_held()
        threading.Timer(0.2, backend.let_all).start()
    thread.join(HANG_S)
    client.close()
    assert answers == [2]


def test_requests_that_wait_are_refused_when_it_ends_and_come_in_vain_afterwards(make_service, backend, queued):
    backend.hold()
    ended = []
    with listening(make_service(backend), (TOKEN,), ServeOptions(grace_s=HANG_S)) as server:
        clients = [Client(HttpTransport(server.url, TOKEN, retries=0)) for _ in range(2)]

        def ask(client):
            try:
                client.segment(SQUARES)
            except ServiceUnavailableError as error:
                ended.append(str(error))
                backend.let_all()  # the other one is answered after that

        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        threads[0].start()
        backend.wait_until_held()
        threads[1].start()
        queued(1)
    for thread in threads:
        thread.join(HANG_S)
    with pytest.raises(ServiceUnavailableError):
        clients[0].info()
    for client in clients:
        client.close()
    assert len(ended) == 1
    assert "shutting down" in ended[0]


def test_images_go_encrypted_where_there_is_a_certificate(service, certificate):
    file, key = certificate
    with listening(service, (TOKEN,), ServeOptions(certificate=file, key=key)) as server:
        assert server.url.startswith("https://")
        with Client(HttpTransport(server.url, TOKEN, verify=file)) as client:
            assert client.segment(SQUARES).n_cells == 2
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{server.port}/healthz", trust_env=False)


def test_an_address_in_use_is_refused(server, service):
    with (
        pytest.raises(OptionError, match=f"port {server.port}"),
        listening(service, (TOKEN,), ServeOptions(port=server.port)),
    ):
        pass


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.1"])
def test_an_address_of_another_machine_is_refused(service, host):
    with pytest.raises(OptionError, match="choose another --host"), listening(service, (TOKEN,), ServeOptions(host)):
        pass


def test_a_certificate_without_its_key_is_refused(tmp_path):
    file = tmp_path / "c.pem"
    file.write_text("x")
    with pytest.raises(OptionError, match="its key"):
        ServeOptions(certificate=file)
    with pytest.raises(OptionError, match="no file"):
        ServeOptions(certificate=file, key=tmp_path / "none.pem")


def test_a_certificate_that_is_none_is_refused(service, tmp_path):
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("nonsense")
    options = ServeOptions(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    with pytest.raises(OptionError, match="cannot be used"), listening(service, (TOKEN,), options):
        pass


def test_a_server_without_a_token_is_refused(service):
    with pytest.raises(AuthenticationError, match="at least one"), listening(service, ()):
        pass


def test_neither_tokens_nor_pixels_are_logged(server, capsys):
    set_up_logs("json", "DEBUG")
    try:
        with Client(HttpTransport(server.url, TOKEN)) as client:
            client.segment(SQUARES)
        httpx.get(f"{server.url}/v1/info", headers={"authorization": "Bearer wrong-token-shown"}, trust_env=False)
        server.wait(0.1)
    finally:
        logging.getLogger().handlers.clear()
        logging.getLogger("napari_cellsam").setLevel(logging.NOTSET)
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    assert any(line["message"] == "request" and line["status"] == 200 and "seconds" in line for line in lines)
    assert TOKEN not in text
    assert "wrong-token-shown" not in text
    assert max(map(len, text.splitlines())) < 1000


def test_logs_for_people_have_one_line_a_record(capsys):
    set_up_logs("text")
    try:
        logging.getLogger("napari_cellsam.x").info("request", extra={"fields": {"status": 200}})
    finally:
        logging.getLogger().handlers.clear()
        logging.getLogger("napari_cellsam").setLevel(logging.NOTSET)
    assert capsys.readouterr().err.strip().endswith("INFO request status=200")


def test_no_client_can_write_a_line_of_its_own_into_the_logs(server, http, capsys):
    set_up_logs("text")
    try:
        http.post("/v1/requests", content=encode_request(GetInfo(), "\nERROR", "\x1b[31m\u2028"))
        server.wait(0.1)
    finally:
        logging.getLogger().handlers.clear()
        logging.getLogger("napari_cellsam").setLevel(logging.NOTSET)
    [line] = [line for line in capsys.readouterr().err.splitlines() if "INFO request" in line]
    assert r"client=\nERROR request=\x1b[31m\u2028" in line


def test_a_failing_request_is_told_as_a_frame_and_the_next_one_answered(server, backend):
    backend.bug = KeyError("a secret path")
    with Client(HttpTransport(server.url, TOKEN)) as client:
        with pytest.raises(Exception, match="KeyError") as told:
            client.segment(SQUARES)
        assert "secret" not in str(told.value)
        backend.bug = None
        assert client.segment(SQUARES).n_cells == 2


def test_all_errors_have_a_failure_frame(http):
    assert isinstance(frames(http.post("/v1/requests", content=b""))[0], Failure)
    assert http.get("/v1/requests").status_code == 405
    assert http.get("/nowhere").status_code == 404
