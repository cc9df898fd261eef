"""Take the docs' screenshots from the running program.

Usage: xvfb-run -s "-screen 0 1400x900x24" python scripts/take_screenshots.py docs/images
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_cellsam.widgets._actions import find_action, run_action
from napari_cellsam.widgets.segment_dock import SegmentDock

_APART = "apart"
_PATIENCE_S = 120.0
_MINUTES = 0.7  # of training
_SIZE = (1280, 800)


class Photographer:
    """Works with the dock as a person does, and takes pictures of the window."""

    def __init__(self, viewer: napari.Viewer, dock: SegmentDock, folder: Path) -> None:
        self.dock, self.session = dock, dock.session
        self._viewer, self._folder = viewer, folder

    def do(self, action_id: str) -> None:
        """Do an action, and wait until it is done."""
        run_action(self.session, find_action(action_id))
        self.settle()

    def open_sections(self, *names: str) -> None:
        """Open these sections of the dock, and no other."""
        for name, section in self.dock.sections.items():
            section.set_open(name in names)

    def settle(self) -> None:
        """Wait until nothing is under way."""
        session = self.session
        wait_until(lambda: not (session.jobs.n_running or session.automatic.running or session.writing))
        pause(1)

    def take(self, name: str) -> None:
        """Save what is seen."""
        self.settle()
        self._viewer.screenshot(str(self._folder / f"{name}.png"), canvas_only=False)


def main(folder: Path) -> None:
    """Open a sample, and take a picture of each way to work on it."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*_SIZE)
    viewer.open_sample("napari-cellsam", "fluorescent_nuclei")
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellsam", "Segment cells")
    person = Photographer(viewer, dock, folder)
    wait_until(lambda: person.session.connection.state == "ready")
    take_clicks(person)
    take_automatic(person)
    take_selection(person)
    take_review(person)
    take_boxes(person)
    take_training(person)
    dock.close()
    viewer.close()


def take_clicks(person: Photographer) -> None:
    """Click two cells."""
    person.settle()
    person.do("toggle_click_mode")
    for place in ((120, 250), (275, 303)):
        person.session.prompting.click(*place)
        person.settle()
    person.take("clicks")
    person.do("toggle_click_mode")


def take_automatic(person: Photographer) -> None:
    """Find the rest, coloured by where cells come from."""
    person.do("segment_image")
    person.dock.sections["cell"].colour.choose("origin")
    person.take("automatic")
    person.dock.sections["cell"].colour.choose("label")


def take_selection(person: Photographer) -> None:
    """Select some cells."""
    person.open_sections("correct")
    session = person.session
    for record in sorted(session.cells, key=lambda record: record.label)[:40:4]:
        y, x = np.argwhere(session.target.layer.data == record.label)[10]
        session.selection.toggle(float(y), float(x))
    person.take("selection")
    session.selection.clear()


def take_review(person: Photographer) -> None:
    """Review some cells, in a view that is complete."""
    person.open_sections("review")
    person.do("next_cell")
    for _ in range(3):
        person.do("approve_cell")
    person.do("verify_view")
    person.do("toggle_verified")
    person.take("review")
    person.do("toggle_verified")
    person.do("stop_review")


def take_boxes(person: Photographer) -> None:
    """Show the detector's boxes."""
    person.session.viewer.reset_view()
    person.open_sections("find", "boxes")
    person.do("toggle_boxes")
    person.take("boxes")


def take_training(person: Photographer) -> None:
    """Let the model learn from the picture for a moment, and decide nothing yet."""
    training, section = person.session.training, person.dock.sections["train"]
    person.session.prefer(training_minutes=_MINUTES, use_better=False)
    person.do("toggle_boxes")
    person.do("verify_image")
    person.open_sections("train")
    person.do("train_model")
    wait_until(lambda: training.record is not None)
    person.settle()
    person.dock.findChild(QScrollArea).ensureWidgetVisible(section.result, 0, 0)
    person.take("training")


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


def run_apart(folder: str) -> None:
    """Run this program where nothing of the user's is seen, or written: napari finds its settings when it starts."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own:
        places = {
            f"NAPARI_CELLSAM_{kind}_DIR": f"{own}/{kind}" for kind in ("CONFIG", "JOURNALS", "MODELS", "TRAINING")
        }
        places["NAPARI_CONFIG"] = f"{own}/napari.yaml"
        subprocess.run([sys.executable, __file__, folder, _APART], env=os.environ | places, check=True)


if __name__ == "__main__":
    if sys.argv[2:] == [_APART]:
        main(Path(sys.argv[1]))
    else:
        run_apart(sys.argv[1])
