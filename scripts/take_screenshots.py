"""Take the docs' screenshots from the running program.

Usage: xvfb-run -s "-screen 0 1400x900x24" python scripts/take_screenshots.py docs/images
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_cellsam.widgets._actions import find_action, run_action

_PATIENCE_S = 120.0
_SIZE = (1280, 800)


def main(folder: Path) -> None:
    """Open a sample, click two cells, find the rest, and save what is seen."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*_SIZE)
    viewer.open_sample("napari-cellsam", "fluorescent_nuclei")
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellsam", "Segment cells")
    session = dock.session
    wait_until(lambda: session.connection.state == "ready")
    wait_until(lambda: not session.jobs.n_running)
    run_action(session, find_action("toggle_click_mode"))
    for place in ((120, 250), (275, 303)):
        session.prompting.click(*place)
        wait_until(lambda: not session.jobs.n_running)
    pause(1)
    viewer.screenshot(str(folder / "clicks.png"), canvas_only=False)
    run_action(session, find_action("segment_image"))
    wait_until(lambda: not session.automatic.running)
    dock.sections["cell"].colour.choose("origin")
    pause(1)
    viewer.screenshot(str(folder / "automatic.png"), canvas_only=False)
    dock.close()
    viewer.close()


def wait_until(true: Callable[[], bool]) -> None:
    """Let the window live until something is true."""
    until = time.monotonic() + _PATIENCE_S
    while not true():
        if time.monotonic() > until:
            raise TimeoutError("the program did not come to what was waited for")
        pause(0.02)


def pause(seconds: float) -> None:
    """Let the window live for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.005)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
