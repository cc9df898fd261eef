"""Load, soak and latency of the model service, each in one run on this machine.

Usage: python benchmarks/service.py load [--seconds 60] [--think 0.5]
       python benchmarks/service.py soak [--minutes 10]
       python benchmarks/service.py latency [--clicks 100]

The service is a process of its own, with the compact model. Pictures are synthetic nuclei. ``load`` and ``soak`` end
with exit code 1 when a request failed, or when memory or open files grew.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import psutil
import typer

from napari_cellsam.data.synthetic import synthesize
from napari_cellsam.errors import CellsamError, RequestCancelledError
from napari_cellsam.service.client import Client
from napari_cellsam.service.home import HomeDecoding
from napari_cellsam.service.http_transport import HttpTransport
from napari_cellsam.service.local import LocalService
from napari_cellsam.service.transport import Call
from napari_cellsam.types import Image, Prompt

_SIDE = 512
_LARGE = 4096
_N_CLIENTS = 8
_LEVEL_BYTES = (
    48 * 2**20
)  # what an allocator may keep after ten minutes; a leak of one 512 x 512 image passes it in 200

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def load(seconds: float = 60.0, think: float = 0.5) -> None:
    """Let 8 clients click on 8 images while a 4096 x 4096 image is segmented; users think for ``think`` seconds."""
    with running() as service:
        pictures = [picture(seed) for seed in range(_N_CLIENTS)]
        for image, _ in pictures:
            with connected(service) as client:
                client.prefetch(image)
        alone = Clicks()
        with connected(service) as client:
            alone.click(client, *pictures[0], until=time.perf_counter() + seconds / 4, think=think)
        alone.show("one client alone")
        together, cells = Clicks(), Clicks()
        until = time.perf_counter() + seconds
        call = Call()
        runner = threading.Thread(target=segment_until, args=(service, until, call, cells))
        clickers = [
            threading.Thread(target=click_until, args=(service, picture_, until, think, together))
            for picture_ in pictures
        ]
        for thread in (runner, *clickers):
            thread.start()
        for thread in clickers:
            thread.join()
        call.cancel()
        runner.join()
        together.show(f"{_N_CLIENTS} clients, automatic run beside them")
        print(
            f"automatic runs of {_LARGE} x {_LARGE}: {cells.answered} whole, {cells.extra} cells, {cells.errors} errors"
        )
        ratio = together.percentile(95) / alone.percentile(95)
        print(f"p95 under load is {ratio:.2f} times the unloaded one")
    raise typer.Exit(bool(alone.errors or together.errors or cells.errors))


@app.command()
def soak(minutes: float = 10.0, report_s: float = 30.0) -> None:
    """Click, detect, segment, cancel, reconnect and send new images all the time; watch memory and open files."""
    with running() as service:
        process = psutil.Process(service.pid)
        until = time.perf_counter() + minutes * 60
        done = Clicks()
        threads = [threading.Thread(target=mix_until, args=(service, seed, until, done)) for seed in range(4)]
        for thread in threads:
            thread.start()
        rows = []
        while any(thread.is_alive() for thread in threads):
            time.sleep(min(report_s, max(until - time.perf_counter(), 1)))
            rows.append((process.memory_info().rss, process.num_fds(), process.num_threads()))
            rss, files, n_threads = rows[-1]
            print(
                f"{rss / 2**20:8.0f} MiB {files:5} files {n_threads:4} threads {done.answered:7} answered", flush=True
            )
        for thread in threads:
            thread.join()
        done.show("soak")
    settled = rows[len(rows) // 3 :]  # caches are filling before
    growth = settled[-1][0] - settled[0][0]
    print(f"memory grew by {growth / 2**20:.0f} MiB in the last two thirds, files by {settled[-1][1] - settled[0][1]}")
    level = growth < _LEVEL_BYTES and settled[-1][1] <= settled[0][1] + 4
    raise typer.Exit(bool(done.errors) or not level)


@app.command()
def latency(clicks: int = 100) -> None:
    """Print the time from a click to its mask on a cached embedding, by the way that the request takes."""
    from napari_cellsam.service.core import Service
    from napari_cellsam.service.direct import DirectTransport
    from napari_cellsam.service.limits import Limits
    from napari_cellsam.service.model_pool import ModelPool

    image, points = picture(0)
    with ExitStack() as stack:
        core = stack.enter_context(Service(ModelPool(("compact",)), Limits(), private=True))
        ways: dict[str, Any] = {"direct": stack.enter_context(Client(DirectTransport(core)))}
        service = stack.enter_context(running())
        ways["local service"] = stack.enter_context(connected(service))
        for trip_ms in (20, 100):
            url = stack.enter_context(delayed(service.url, trip_ms / 1000))
            ways[f"{trip_ms} ms round trip"] = stack.enter_context(Client(HttpTransport(url, service.token)))
            local = stack.enter_context(connected(stack.enter_context(running())))
            both = HomeDecoding(Client(HttpTransport(url, service.token)), local, mode="home")
            ways[f"{trip_ms} ms round trip, decoded at home"] = stack.enter_context(both)
        measure(ways, image, points, clicks)


class Clicks:
    """Seconds of answered requests, and what failed, gathered from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds: list[float] = []
        self.errors = 0
        self.extra = 0

    @property
    def answered(self) -> int:
        """Number of answered requests."""
        return len(self.seconds)

    def time(self, request: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Time a request; count the error if it fails."""
        started = time.perf_counter()
        try:
            answer = request(*arguments, **named)
        except RequestCancelledError:
            return None
        except CellsamError as error:
            print(f"failed: {type(error).__name__}: {error}", flush=True)
            with self._lock:
                self.errors += 1
            return None
        with self._lock:
            self.seconds.append(time.perf_counter() - started)
        return answer

    def click(self, client: Client, image: Image, points: Any, *, until: float, think: float) -> None:
        """Click on one cell after another until a moment, thinking between clicks."""
        rng = np.random.default_rng(len(points))
        while time.perf_counter() < until:
            point = points[rng.integers(len(points))]
            self.time(client.segment_prompts, image, [Prompt(inside=[point])])
            time.sleep(think * rng.uniform(0.5, 1.5))

    def percentile(self, percent: int) -> float:
        """Return a percentile of the seconds."""
        return float(np.percentile(self.seconds, percent))

    def show(self, title: str) -> None:
        """Print the figures."""
        p50, p95, p99 = (1000 * self.percentile(p) for p in (50, 95, 99))
        print(
            f"{title}: {self.answered} answered, {self.errors} errors, p50 {p50:.1f} p95 {p95:.1f} p99 {p99:.1f} ms",
            flush=True,
        )


def measure(ways: dict[str, Any], image: Image, points: Any, clicks: int) -> None:
    """Print the time of clicks once everything is warm; the ways take turns, so that all meet the same disturbances."""
    for client in ways.values():
        client.prefetch(image)
        for point in points[:5]:
            client.segment_prompts(image, [Prompt(inside=[point])])
        if isinstance(client, HomeDecoding):
            client.wait_until_home()
    clicked = {title: Clicks() for title in ways}
    for i in range(clicks):
        for title, client in ways.items():
            clicked[title].time(client.segment_prompts, image, [Prompt(inside=[points[i % len(points)]])])
    print(f"{'way':44}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for title, times in clicked.items():
        print(f"{title:44}" + "".join(f"{1000 * times.percentile(p):9.1f}" for p in (50, 95, 99)), flush=True)


def click_until(service: LocalService, picture_: Any, until: float, think: float, clicks: Clicks) -> None:
    """Click through a connection of one's own."""
    with connected(service) as client:
        clicks.click(client, *picture_, until=until, think=think)


def segment_until(service: LocalService, until: float, call: Call, cells: Clicks) -> None:
    """Segment one large image again and again."""
    tile, _ = picture(99)
    n = _LARGE // _SIDE
    image = Image.from_array(np.tile(tile.pixels, (n, n, 1)))

    def count(found: Any) -> None:
        cells.extra += len(found)

    with connected(service) as client:
        while time.perf_counter() < until and not call.cancelled:
            cells.time(client.segment, image, on_cells=count, call=call)


def mix_until(service: LocalService, seed: int, until: float, done: Clicks) -> None:
    """Do what users do, with a new image and a new connection every so often."""
    rng = np.random.default_rng(seed)
    while time.perf_counter() < until:
        image, points = picture(int(rng.integers(1_000_000)))
        with connected(service) as client:
            for _ in range(20):
                done.time(client.segment_prompts, image, [Prompt(inside=[points[rng.integers(len(points))]])])
            done.time(client.detect, image)
            done.time(client.segment, image)
            call = Call()
            timer = threading.Timer(float(rng.uniform(0, 0.3)), call.cancel)
            timer.start()
            done.time(client.segment, image, call=call)
            timer.join()


def picture(seed: int) -> tuple[Image, Any]:
    """Return an image of nuclei and ``(N, 2)`` points inside them."""
    from scipy import ndimage

    made = synthesize("fluorescent_nuclei", (_SIDE, _SIDE), np.random.default_rng(seed), diameter=24.0)
    n_cells = int(made.labels.max())
    middles = ndimage.center_of_mass(made.labels > 0, made.labels, np.arange(1, n_cells + 1))
    return Image.from_array((made.pixels[..., :1] * 4000).astype(np.uint16)), np.array(middles)


@contextmanager
def running() -> Iterator[LocalService]:
    """Run a service in a process of its own."""
    service = LocalService()
    try:
        service.start()
        service.wait()
        yield service
    finally:
        service.close()


@contextmanager
def connected(service: LocalService) -> Iterator[Client]:
    """Connect to it."""
    with Client(HttpTransport(service.url, service.token, trust_env=False)) as client:
        yield client


@contextmanager
def delayed(url: str, round_trip_s: float) -> Iterator[str]:
    """Put a wire in between on which a round trip takes so long."""
    host, port = url.removeprefix("http://").split(":")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, chunk = await waiting.get()
                await asyncio.sleep(max(due - loop.time(), 0))
                if not chunk:
                    writer.close()
                    return
                writer.write(chunk)
                await writer.drain()

        task = loop.create_task(deliver())
        while chunk := await reader.read(2**16):
            waiting.put_nowait((loop.time() + round_trip_s / 2, chunk))
        waiting.put_nowait((loop.time() + round_trip_s / 2, b""))
        await task

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        with suppress(asyncio.CancelledError):  # the wire was cut
            await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(accept, "127.0.0.1", 0), loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """Cut the wire."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


if __name__ == "__main__":
    app()
