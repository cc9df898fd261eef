"""Requests over HTTP that nobody should send: no status 500, no hang, and memory stays flat."""

from __future__ import annotations

import socket
from collections import Counter

import httpx
from hypothesis import given
from hypothesis import strategies as st
from tests.service.fuzzing import MOST_GROWTH_BYTES, bodies, expanded, fuzzed, memory

from napari_cellsam.service.codec import encode_request
from napari_cellsam.service.messages import GetInfo
from napari_cellsam.service.serve import listening

TOKEN = "a-token-of-the-tests"
HANG_S = 20.0


def test_fuzzed_bodies_are_answered_and_memory_stays_flat(make_service, backend):
    statuses = Counter()
    with listening(make_service(backend), (TOKEN,)) as server:
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=HANG_S, trust_env=False) as http:

            @fuzzed
            @given(bodies)
            def fuzz(body):
                statuses[http.post("/v1/requests", content=expanded(body)).status_code] += 1

            http.post("/v1/requests", content=encode_request(GetInfo(), "c", "r"))
            before = memory()
            fuzz()
            grown = memory() - before
            assert http.post("/v1/requests", content=encode_request(GetInfo(), "c", "r")).status_code == 200
    print(f"statuses {dict(statuses)}, memory grew by {grown / 2**20:.0f} MiB")  # noqa: T201 - pytest -s shows it
    assert set(statuses) <= {200, 400, 413, 426}
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
    statuses = Counter()
    with listening(make_service(backend), (TOKEN,)) as server:

        @fuzzed
        @given(_SAID)
        def fuzz(said):
            with socket.create_connection(("127.0.0.1", server.port), HANG_S) as connection:
                try:
                    connection.sendall(expanded(said) + b"\r\n\r\n")
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

        before = memory()
        fuzz()
        grown = memory() - before
        assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    print(f"statuses {dict(statuses)}, memory grew by {grown / 2**20:.0f} MiB")  # noqa: T201 - pytest -s shows it
    assert not any(isinstance(status, int) and status >= 500 for status in statuses)
    assert grown < MOST_GROWTH_BYTES
