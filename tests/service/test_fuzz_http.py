"""Requests over HTTP that nobody should send: no status 500, no internal error, no hang, and memory stays flat.

``NAPARI_CELLSAM_FUZZ_CASES=10000 pytest -s tests/service/test_fuzz_http.py`` runs as many cases of each test, and
prints what came of them; a few hundred otherwise. Memory is measured while all cases are sent once more, because
hypothesis remembers what it has made.
"""

from __future__ import annotations

import socket
from collections import Counter

import httpx
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.service.fuzzing import bodies, expanded, fuzzed, good_bodies, memory

from napari_cellsam.models.compact_backend import CompactBackend
from napari_cellsam.service.codec import FrameReader, encode_request
from napari_cellsam.service.messages import Failure, GetInfo
from napari_cellsam.service.serve import listening

TOKEN = "a-token-of-the-tests"
HANG_S = 20.0
MOST_GROWTH_BYTES = 30 * 2**20


def grown_by(sent, send):
    """Return by how many bytes memory grows while all cases are sent again."""
    before = memory()
    for said in sent:
        send(expanded(said))
    return memory() - before


def tell(what, grown):
    print(f"{what}, memory grew by {grown / 2**20:.1f} MiB")  # noqa: T201 - pytest -s shows it


def test_fuzzed_bodies_are_answered_and_memory_stays_flat(make_service, tiny_compact):
    statuses, answers, sent = Counter(), Counter(), []
    service = make_service(CompactBackend(tiny_compact, torch.device("cpu"), torch.float32))
    headers = {"authorization": f"Bearer {TOKEN}"}
    with (
        listening(service, (TOKEN,)) as server,
        httpx.Client(base_url=server.url, headers=headers, timeout=HANG_S, trust_env=False) as http,
    ):

        def send(body):
            response = http.post("/v1/requests", content=body)
            *_, last = FrameReader(2**30).feed(response.content)
            statuses[response.status_code] += 1
            answers[last.error if isinstance(last, Failure) else "Reply"] += 1

        @fuzzed
        @given(bodies)
        def fuzz(body):
            sent.append(body)
            send(expanded(body))

        for body in good_bodies():  # the image is there then, and the model is loaded
            send(body)
        assert answers["Reply"] >= len(good_bodies()) - 4  # without what only a private service does
        fuzz()
        grown = grown_by(sent, send)
        assert http.post("/v1/requests", content=encode_request(GetInfo(), "c", "r")).status_code == 200
    tell(f"statuses {dict(statuses)}, answers {dict(answers)}", grown)
    assert set(statuses) <= {200, 400, 413, 426}
    assert not answers["ServiceInternalError"]
    assert grown < MOST_GROWTH_BYTES


_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /v1/requests HTTP/1.1",
        b"POST /v1/requests HTTP/9.9",
        b"host: x",
        b"content-length: 5",
        b"content-length: -5",
        b"content-length: 99999999999999999999",
        b"transfer-encoding: chunked",
        b"transfer-encoding: gzip, chunked",
        b"expect: 100-continue",
        b"connection: upgrade",
        b"upgrade: websocket",
        f"authorization: Bearer {TOKEN}".encode(),
        b"authorization: Bearer \xff\xfe",
        b"x: <long line>",
        b"",
        b"5\r\nhello",
        b"ffffffffffffffff",
    ]
)
_SAID = st.lists(st.one_of(_LINES, st.binary(max_size=30)), max_size=8).map(b"\r\n".join)


def test_fuzzed_connections_are_answered_or_closed_and_memory_stays_flat(make_service, backend):
    statuses, sent = Counter(), []
    with listening(make_service(backend), (TOKEN,)) as server:

        def send(said):
            with socket.create_connection(("127.0.0.1", server.port), HANG_S) as connection:
                try:
                    connection.sendall(said + b"\r\n\r\n")
                    connection.shutdown(socket.SHUT_WR)
                    answer = b""
                    while part := connection.recv(2**16):
                        answer += part
                except TimeoutError:  # it hung
                    raise
                except OSError:
                    statuses["cut"] += 1
                    return
            for line in answer.splitlines():
                if line.startswith(b"HTTP/1.1 "):
                    statuses[int(line.split()[1])] += 1

        @fuzzed
        @given(_SAID)
        def fuzz(said):
            sent.append(said)
            send(expanded(said))

        fuzz()
        grown = grown_by(sent, send)
        assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    tell(f"statuses {dict(statuses)}", grown)
    assert not any(isinstance(status, int) and status >= 500 for status in statuses)
    assert grown < MOST_GROWTH_BYTES
