"""What the tests of the service share: a server that answers as a script says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

HANG_S = 60  # after which a test that hangs fails


class Conversation:
    """One request on a connection, as the server sees it."""

    def __init__(self, connection: socket.socket, head: bytes, released: threading.Event):
        self._connection = connection
        self.head = head.decode()
        self.released = released
        self.is_over = False

    def body(self) -> bytes:
        """Read the body."""
        lines = [line.partition(":") for line in self.head.splitlines()]
        length = next(int(value) for name, _, value in lines if name.lower() == "content-length")
        body = b""
        while len(body) < length and (part := self._connection.recv(min(2**16, length - len(body)))):
            body += part
        return body

    def request(self):
        """Read and decode the request."""
        return self.envelope()[1]

    def envelope(self):
        """Read and decode the envelope and the request in it."""
        from napari_cellsam.service.codec import decode_envelope, decode_request

        envelope = decode_envelope(self.body())
        return envelope, decode_request(envelope)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def answer(self, content: bytes, *, status: str = "200 OK", kind: str = "application/x-msgpack") -> None:
        """Send a whole answer."""
        self.send(_head(status, kind, f"Content-Length: {len(content)}") + content)

    def stream(self, *frames) -> None:
        """Send frames of an answer that may go on."""
        from napari_cellsam.service.codec import encode_frame

        if not self.is_over:
            self.is_over = True  # no second answer on this connection
            self.send(_head("200 OK", "application/x-msgpack", "Transfer-Encoding: chunked"))
        for frame in frames:
            data = encode_frame(frame)
            self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def reply(self, *frames) -> None:
        """Read the request, then send frames of which the last ends the answer."""
        from napari_cellsam.service.codec import encode_frame

        self.body()
        self.answer(b"".join(map(encode_frame, frames)))

    def hang_up(self) -> None:
        """Send nothing any more."""
        self.is_over = True

    def until_gone(self) -> None:
        """Wait until the client closes the connection."""
        self._connection.settimeout(HANG_S)
        with suppress(OSError):
            while self._connection.recv(2**16):
                pass
        self.is_over = True

    def freeze(self) -> None:
        """Do nothing until the test is over, or lets go."""
        self.released.wait(HANG_S)
        self.is_over = True


def _head(status: str, kind: str, length: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()


Script = Callable[[Conversation], None]


class ScriptedServer:
    """Answers each request by the next of its scripts, and the rest by the last."""

    def __init__(self, scripts: tuple[Script, ...]):
        self._scripts = list(scripts)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()
        self.released = threading.Event()
        self.heads: list[str] = []
        self.n_connections = 0
        self.errors: list[Exception] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self.released.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(HANG_S)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.n_connections += 1
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                while (head := self._read_head(connection)) is not None:
                    conversation = Conversation(connection, head, self.released)
                    self._next_script(conversation.head)(conversation)
                    if conversation.is_over:
                        return
        except OSError:
            pass  # the client has gone
        except Exception as error:  # noqa: BLE001 - shown by the fixture
            self.errors.append(error)

    def _next_script(self, head: str) -> Script:
        with self._lock:
            self.heads.append(head)
            return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]

    @staticmethod
    def _read_head(connection: socket.socket) -> bytes | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return None
            head += byte
        return head


@pytest.fixture
def scripted():
    """Return a function that starts a server which answers as scripts say."""
    servers = []

    def start(*scripts: Script) -> ScriptedServer:
        servers.append(ScriptedServer(scripts))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    assert [error for server in servers for error in server.errors] == []
