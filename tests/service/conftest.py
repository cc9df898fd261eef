"""What the tests of the service share: a model that sees squares, a service of it, and a server that plays a script."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
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

    def __init__(self, scripts: tuple[Script, ...], encryption: ssl.SSLContext | None = None):
        self._scripts = list(scripts)
        self._encryption = encryption
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
        scheme = "https" if self._encryption else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

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
            if self._encryption:
                connection = self._encryption.wrap_socket(connection, server_side=True)
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

    def start(*scripts: Script, encryption: ssl.SSLContext | None = None) -> ScriptedServer:
        servers.append(ScriptedServer(scripts, encryption))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    assert [error for server in servers for error in server.errors] == []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Return the files of a certificate for this machine, signed by itself, and of its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs the program openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    key, file = folder / "key.pem", folder / "certificate.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file, key


class SquareBackend:
    """Takes everything brighter than half for cells, and can be held up before it encodes."""

    half_pixel = True
    native_zoom = 1.0
    repeats = False
    stride = 1
    nominal_diameter = 16.0
    side = 96
    squashes = False
    n_queries = 1000
    grid_side = 96
    precision = "float32"

    def __init__(self, can_detect: bool = True):
        from napari_cellsam.types import SegmentOptions

        self.can_detect = can_detect
        self.defaults = SegmentOptions(
            box_score=0.5,
            score_rule="fixed",
            diameter="native",
            scaling="tiles",
            clahe=False,
            min_predicted_iou=0.2,
            min_area=0,
            overlap=0.25,
        )
        self.bug: Exception | None = None
        self.n_encoded = 0
        self.prompts = []
        self._turn = threading.Condition()
        self._leave: int | None = None  # how many pictures may still be encoded; any number when None
        self._n_held = 0

    def hold(self) -> None:
        """Let nothing be encoded."""
        with self._turn:
            self._leave = 0

    def let(self, n_pictures: int) -> None:
        """Let some pictures be encoded."""
        with self._turn:
            self._leave = (self._leave or 0) + n_pictures
            self._turn.notify_all()

    def let_all(self) -> None:
        """Let everything be encoded again."""
        with self._turn:
            self._leave = None
            self._turn.notify_all()

    def wait_until_held(self) -> None:
        """Wait until a picture is not let."""
        with self._turn:
            assert self._turn.wait_for(lambda: self._n_held and not self._leave, HANG_S)

    def _wait_for_leave(self) -> None:
        with self._turn:
            self._n_held += 1
            self._turn.notify_all()
            assert self._turn.wait_for(lambda: self._leave is None or self._leave > 0, HANG_S)
            self._n_held -= 1
            self.n_encoded += 1
            if self._leave is not None:
                self._leave -= 1

    def measure(self, prepared):
        return prepared.shape

    def encode(self, prepared, size, shared):
        from scipy import ndimage

        self._wait_for_leave()
        rows, columns = (np.arange(n) * m // n for n, m in zip(size, prepared.shape[1:], strict=True))
        return ndimage.label(prepared[2][rows][:, columns] > 0.5)[0]

    def pack(self, features):
        return {"labels": features.astype(np.float32)}

    def unpack(self, arrays):
        return arrays["labels"].astype(int)

    def n_bytes(self, features):
        return features.nbytes

    def detects_from(self, features):
        return True

    def embedding(self, features):
        return np.broadcast_to(features.astype(np.float32), (256, *features.shape))

    def detect(self, features):
        from scipy import ndimage

        found = ndimage.find_objects(features)[: self.n_queries]
        boxes = [(x.start, y.start, x.stop - 1, y.stop - 1) for y, x in found]
        return np.array(boxes, np.float32).reshape(-1, 4), np.linspace(0.9, 0.6, len(boxes), dtype=np.float32)

    def score_cut(self, scores, options):
        return options.box_score

    outlined_from = score_cut

    def cell_score(self, score, predicted_iou, options):
        return score

    def decode(self, features, prompts, *, whole, threshold):
        if self.bug is not None:
            raise self.bug
        self.prompts.extend(prompts)
        return [self._decode(features, prompt) for prompt in prompts]

    @staticmethod
    def _decode(features, prompt):
        from napari_cellsam.models.backend import Decoded

        height, width = features.shape
        if prompt.box is None:
            x, y = np.rint(prompt.inside[0]).astype(int)
        else:
            x, y = np.rint((prompt.box[:2] + prompt.box[2:]) / 2).astype(int)
        number = features[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
        logits = np.where((features == number) & (number > 0), 8.0, -8.0).astype(np.float32)
        return Decoded(logits, np.array([0, 0, width, height], np.float32), 0.9)


@pytest.fixture
def backend():
    """Return the back end of the service's first model."""
    return SquareBackend()


@pytest.fixture
def model():
    """Return the same model, which no service has."""
    from napari_cellsam.engine import Model

    return Model(SquareBackend(), "squares")


@pytest.fixture
def limits(request):
    """Return the limits of the service; a test may give others."""
    from napari_cellsam.service.limits import Limits

    return getattr(request, "param", Limits(max_prompts=100))


@pytest.fixture
def private(request):
    """Return whether the service belongs to one user; a test may say so."""
    return getattr(request, "param", False)


class Queue:
    """How many requests wait, as the service tells its observer."""

    def __init__(self):
        self._changed = threading.Condition()
        self._length = 0

    def request_done(self, kind, outcome, seconds) -> None:
        pass

    def stage_done(self, stage, seconds) -> None:
        pass

    def cache(self, kind, hit) -> None:
        pass

    def queue_length(self, n) -> None:
        with self._changed:
            self._length = n
            self._changed.notify_all()

    def wait_for(self, n_waiting: int) -> None:
        """Wait until so many requests wait."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._length == n_waiting, HANG_S)


class Recorded:
    """A transport that notes the kinds of requests that it is handed."""

    def __init__(self, transport, kinds):
        self._transport, self._kinds = transport, kinds

    def send(self, request, **options):
        self._kinds.append(type(request))
        return self._transport.send(request, **options)

    def close(self) -> None:
        self._transport.close()


@pytest.fixture
def queue():
    """Return how many requests wait at the service."""
    return Queue()


@pytest.fixture
def queued(queue):
    """Return a function that waits until so many requests wait at the service."""
    return queue.wait_for


@pytest.fixture
def make_service(limits, private, queue, tmp_path, monkeypatch):
    """Return a function that makes a service of two models: one that finds squares, and one for clicks only."""
    from napari_cellsam.engine import Model
    from napari_cellsam.models.frame_features import FrameFeatures
    from napari_cellsam.service.core import Service
    from napari_cellsam.service.model_pool import ModelPool

    made = []

    def make(backend):
        def load(name, device, precision, *, store, feature_bytes):
            used = backend if name == "squares" else SquareBackend(can_detect=False)
            return Model(used, name, weights_id=name, features=FrameFeatures(used, name, store, feature_bytes))

        # a cache of its own: another service must not find what this one has computed
        monkeypatch.setenv("NAPARI_CELLSAM_CACHE_DIR", str(tmp_path / f"cache{len(made)}"))
        pool = ModelPool(("squares", "clicks only"), limits=limits, loader=load)
        made.append(Service(pool, limits, private=private, observer=queue))
        return made[-1]

    yield make
    for service in made:
        service.close(HANG_S)


@pytest.fixture(params=["direct", "http"])
def reach(request):
    """Return a function that makes transports to a service: in this process, or over HTTP."""
    from contextlib import ExitStack

    from napari_cellsam.service.direct import DirectTransport
    from napari_cellsam.service.http_transport import HttpTransport

    with ExitStack() as stack:
        listening = {}

        def direct(service):
            return DirectTransport(service)

        def http(service):
            from napari_cellsam.service.serve import listening as listen

            if service not in listening:
                listening[service] = stack.enter_context(listen(service, tokens=("a-token",)))
            return HttpTransport(listening[service].url, "a-token")

        yield {"direct": direct, "http": http}[request.param]


@pytest.fixture
def kinds():
    """Return the kinds of requests that clients have sent."""
    return []


@pytest.fixture
def sent(kinds):
    """Return a function that tells which kinds of requests clients have sent."""
    return lambda: list(kinds)


@pytest.fixture
def open_client(make_service, reach, backend, kinds):
    """Return a function that connects further clients to the service."""
    from napari_cellsam.service.client import Client

    service = make_service(backend)
    clients = []

    def start(model=""):
        clients.append(Client(Recorded(reach(service), kinds), model))
        return clients[-1]

    yield start
    backend.let_all()
    for client in clients:
        client.close()


@pytest.fixture
def client(open_client):
    """Return a client of the service."""
    return open_client()


@pytest.fixture
def open_service(make_service, reach):
    """Return a function that starts a service of its own and connects to it."""
    from napari_cellsam.service.client import Client

    return lambda: Client(reach(make_service(SquareBackend())))
