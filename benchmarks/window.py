"""What a person waits for in the window, and how many actions the usual flows take; a real window, model and mouse.

Usage: xvfb-run -s "-screen 0 1400x900x24" python benchmarks/window.py [--sides 512,2048,8192] [--clicks 30]

Every row is a process of its own, with the compact model in another one. Pictures are synthetic nuclei, one tile
repeated. A click is timed from the mouse's event to the end of the frame that is drawn after the labels changed. A gap
is the time between two turns of the event loop; ours is as much of it as functions of ours were on the stack, looked at
from 25 ms on.
Our actions are counted while they are performed; those of other tools were read off their sources and manuals, with the
opening of the tool and its set-up in the first cell.
Everything is by the clock, so nothing else should run. Prints tables in Markdown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

if TYPE_CHECKING:
    import napari
    from tests.widgets.watchdog import Watchdog

_ROOT = Path(__file__).resolve().parents[1]
_PATIENCE_S = 600.0
_PAUSE_S = 0.15  # between clicks, as nobody clicks faster
_SEEN_PX = 480  # of the picture, in the height of the window
_TILE, _DIAMETER = 512, 32.0

PEERS = {  # tool: first cell, each next, whole image, delete one, redo one, save
    "µSAM 1.8.10": ("7", "3", "6", "4, then 1", "about 6", "3"),
    "napari-sam": ("6", "2", "2", "napari's tools", "none", "3"),
    "napari-segment-anything": ("5", "2", "1, overwrites", "napari's tools", "none", "3"),
    "cellSAM's plugin": ("4", "2", "1 (+2 to 4 for channels), overwrites", "napari's tools", "none", "3"),
    "Cellpose 4": ("2 + trace", "2 + trace", "1, deletes what is there", "1", "3", "0 (by itself)"),
    "nnInteractive": ("5, remote 8", "2", "none", "none", "about 6", "3"),
    "QuPath with samapi": ("4", "1", "2", "2", "1", "not counted"),
    "digitalsreeni's": ("4", "2", "1 + review", "1", "2", "a dialog"),
}


def main(
    sides: str = "512,2048,8192",
    clicks: int = 30,
    why: Annotated[bool, typer.Option(help="Show what ran in the longest gaps of ours.")] = False,
    child: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print the tables."""
    if child:
        print(json.dumps(_flows() if child == "flows" else _measure(int(child), clicks, why)))
        return
    print(
        "| side | service ready s | image seen s | first click ms | its longest gap ms | click p50 ms | p95 ms | "
        "longest gap, clicks: ours ms | all ms | longest gap, view found: ours ms | all ms |"
    )
    print("|--:|" + "--:|" * 10)
    for side in sides.split(","):
        row = _in_a_process(side, "--clicks", str(clicks), *(["--why"] if why else []))
        print(
            f"| {side}² | {row['ready']:.1f} | {row['seen']:.1f} | {row['first']:.0f} | "
            f"{row['first_all']:.0f} | {row['p50']:.0f} | "
            f"{row['p95']:.0f} | {row['click_ours']:.0f} | {row['click_all']:.0f} | {row['view_ours']:.0f} | "
            f"{row['view_all']:.0f} |",
            flush=True,
        )
    flows = _in_a_process("flows")
    names = ("first cell", "each next cell", "whole image", "delete one", "redo one", "save", "undo")
    print("\n| tool | " + " | ".join(names) + " |")
    print("|---|" + "--:|" * len(names))
    own = (str(flows[name]) if flows[name] else "0 (by itself)" for name in names)
    print("| **napari-cellsam**, counted | " + " | ".join(own) + " |")
    for tool, figures in PEERS.items():
        print(f"| {tool} | " + " | ".join((*figures, "")) + " |")


def _in_a_process(child: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", child, *options]
    with tempfile.TemporaryDirectory() as folder:
        places = {f"NAPARI_CELLSAM_{name}_DIR": f"{folder}/{name}" for name in ("CACHE", "CONFIG", "JOURNALS")}
        environment = {**os.environ, **places, "PYTHONPATH": str(_ROOT)}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _measure(side: int, n_clicks: int, why: bool) -> dict[str, float]:
    """Measure what one picture lets a person wait for, in milliseconds and seconds."""
    from tests.widgets.watchdog import Watchdog

    pixels, places = picture(side)
    person = Person(pixels)
    row = {"ready": person.open_dock(), "seen": person.settle()}
    person.press("H")
    with Watchdog(profile=False) as watchdog:
        row["first"] = 1000 * person.click(places[0])
    row["first_all"] = 1000 * watchdog.longest_wall_s  # most of it is napari's, which adds the labels layer
    with Watchdog(profile=False) as watchdog:
        times = [1000 * person.click(place) for place in places[1 : n_clicks + 1]]
    row |= {"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))}
    row |= _gaps("click", watchdog, why)
    with Watchdog(profile=False) as watchdog:
        person.press("W")
        person.settle()
    row |= _gaps("view", watchdog, why)
    person.close()
    return row


def _gaps(name: str, watchdog: Watchdog, why: bool) -> dict[str, float]:
    if why:
        print(f"{name}:\n{watchdog.longest_ours_stack()}", file=sys.stderr)
    return {
        f"{name}_ours": 1000 * watchdog.longest_ours_wall_s,
        f"{name}_all": 1000 * watchdog.longest_wall_s,
    }


def _flows() -> dict[str, int]:
    """Count the actions of flows that are carried out; each is checked to have done what it is for."""
    pixels, places = picture(_TILE)
    person, counts = Person(pixels), {}

    def flow(name: str, do: Callable[[], object], true: Callable[[], bool]) -> None:
        before = person.n_actions
        do()
        person.settle()
        _wait_until(true)
        counts[name] = person.n_actions - before

    session: Any = None

    def first() -> None:
        nonlocal session
        person.open_dock()
        session = person.session
        person.settle()
        person.press("H")
        person.click(places[0])

    def n_cells() -> int:
        return len(session.cells)

    flow("first cell", first, lambda: n_cells() == 1)
    flow("each next cell", lambda: person.click(places[1]), lambda: n_cells() == 2)
    flow("whole image", lambda: person.press("G"), lambda: n_cells() > 50)
    n_all = n_cells()
    person.move_to(places[0])
    flow("redo one", lambda: person.press("U"), lambda: len(session.history) == 4)
    flow("delete one", lambda: person.press("K"), lambda: n_cells() == n_all - 1)
    flow("undo", lambda: person.press("Z", control=True), lambda: n_cells() == n_all)
    flow(
        "save", lambda: None, lambda: session.journaling.path is not None and session.journaling.path.stat().st_size > 0
    )
    person.close()
    return counts


class Person:
    """Uses a window with mouse and keys, and counts how often.

    Parameters
    ----------
    pixels
        The picture, which is open already.
    """

    def __init__(self, pixels: Any) -> None:
        import napari

        self.viewer: napari.Viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1280, 800)
        self.n_actions = 0
        self.session: Any = None
        layer = self.viewer.add_image(pixels, name="picture")
        assert layer is not None
        canvas = self.viewer.window._qt_viewer.canvas  # there is no public way to it
        self._native = canvas.native
        self._camera = self.viewer.scene.camera if hasattr(self.viewer, "scene") else self.viewer.camera
        self._begun_s = 0.0
        self._changed = False
        self._drawn_s: float | None = None
        self._n_steps = 0
        canvas._scene_canvas.events.draw.connect(self._on_drawn, position="last")
        pause(1)
        self._look_at(_SEEN_PX / 2, _SEEN_PX / 2)

    def open_dock(self) -> float:
        """Pick the dock in the menu; return the seconds until the service is ready."""
        begun_s = time.perf_counter()
        action = next(a for a in self.viewer.window.plugins_menu.actions() if a.text().startswith("Segment cells"))
        self.n_actions += 1
        action.trigger()
        from napari_cellsam.widgets._sessions import session_of

        self.session = session_of(self.viewer)
        self.session.labels_used.connect(lambda layer: layer.events.paint.connect(self._on_paint))
        _wait_until(lambda: self.session.connection.state == "ready")
        return time.perf_counter() - begun_s

    def settle(self) -> float:
        """Wait until nothing is under way; return the seconds."""
        begun_s, session = time.perf_counter(), self.session
        _wait_until(lambda: not (session.jobs.n_running or session.automatic.running or session.writing))
        return time.perf_counter() - begun_s

    def click(self, place: tuple[float, float]) -> float:
        """Click on a place; return the seconds until its cell is drawn."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        point = self._point(*place)
        self._changed, self._drawn_s, self._n_steps = False, None, self._count_steps()
        self.n_actions += 1
        began_s = time.perf_counter()
        QTest.mouseMove(self._native, point)
        for event in (QTest.mousePress, QTest.mouseRelease):
            event(self._native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
        _wait_until(lambda: self._drawn_s is not None)
        self.settle()
        pause(_PAUSE_S)
        assert self._drawn_s is not None
        return self._drawn_s - began_s

    def move_to(self, place: tuple[float, float]) -> None:
        """Move the mouse to a place."""
        from qtpy.QtTest import QTest

        QTest.mouseMove(self._native, self._point(*place))
        pause(_PAUSE_S)

    def press(self, key: str, *, control: bool = False) -> None:
        """Press a key, in the picture."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        self.n_actions += 1
        self._native.setFocus()
        modifiers = Qt.KeyboardModifier.ControlModifier if control else Qt.KeyboardModifier.NoModifier
        QTest.keyClick(self._native, getattr(Qt.Key, f"Key_{key}"), modifiers)
        pause(_PAUSE_S)

    def close(self) -> None:
        """Close the window."""
        self.session.close()
        self.viewer.close()

    def _look_at(self, y: float, x: float) -> None:
        """Let the window show the part of the picture around a place."""
        self._camera.center = (0, y, x)
        self._camera.zoom = self._native.size().height() / _SEEN_PX
        pause(0.5)

    def _point(self, y: float, x: float) -> Any:
        from qtpy.QtCore import QPoint

        size, (cy, cx) = self._native.size(), self._camera.center[-2:]
        row, column = (y - cy) * self._camera.zoom, (x - cx) * self._camera.zoom
        return QPoint(round(size.width() / 2 + column), round(size.height() / 2 + row))

    def _on_paint(self, event: Any = None) -> None:  # noqa: ARG002 - napari's signature
        self._changed = True

    def _count_steps(self) -> int:
        return len(self.session.history) if self.session.has_target else 0

    def _on_drawn(self, event: Any) -> None:  # noqa: ARG002
        if self._changed and self._drawn_s is None and self._count_steps() > self._n_steps:
            self._drawn_s = time.perf_counter()


def picture(side: int) -> tuple[Any, list[tuple[float, float]]]:
    """Return a picture ``(side, side)`` uint16 of nuclei, and places ``(y, x)`` in those that are seen first."""
    from scipy import ndimage

    from napari_cellsam.data.synthetic import synthesize

    made = synthesize("fluorescent_nuclei", (_TILE, _TILE), np.random.default_rng(4), diameter=_DIAMETER)
    n, rest = divmod(side, _TILE)
    if rest or not n:
        raise typer.BadParameter(f"side is {side}; expected a multiple of {_TILE}")
    pixels = np.tile((made.pixels[..., 0] * 4000).astype(np.uint16), (n, n))
    margin = 24
    numbers = np.unique(made.labels[margin : _SEEN_PX - margin, margin : _SEEN_PX - margin])
    inner = ndimage.distance_transform_edt(np.pad(made.labels > 0, 1))[1:-1, 1:-1]
    places = []
    for number, window in enumerate(ndimage.find_objects(made.labels), start=1):
        depth = np.where(made.labels[window] == number, inner[window], 0)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        place = float(window[0].start + y), float(window[1].start + x)
        if number in numbers and depth.max() > 5 and all(margin < p < _SEEN_PX - margin for p in place):
            places.append(place)
    return pixels, places


def _wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not true():
        if time.monotonic() > until:
            raise TimeoutError("the window did not come to what was waited for")
        pause(0.001)


def pause(seconds: float) -> None:
    """Let the window live for a while."""
    from qtpy.QtWidgets import QApplication

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.0005)


if __name__ == "__main__":
    typer.run(main)
